"""The chain over the security events."""

import logging
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

from accounts.crypto.keyring import Keyring, Purpose
from accounts.jobs.event_chain import chain_events, holds_head, verify_chain
from models import SecurityEvent, metadata
from oneself.database import Database
from tests.unit.conftest import explained

OLD, NEW = b"x" * 32, b"y" * 32

#: For each column of an event another value that the database takes, and one that nothing reads.
OTHER_VALUES = {
    "id": ("'0190'", "x'00'"),
    "kind": ("'session_logout'", "x'00'"),
    "tenant_id": ("'tnt_2'", "NULL"),
    "user_id": ("'usr_2'", "NULL"),
    "occurred_at": ("'2026-04-05 10:00:00.000001'", "'never'"),
    "request_id": ("'req_2'", "NULL"),
    "source": ("'192.0.2.8'", "''"),
    "credential_kind": ("'pat'", "NULL"),
    "credential_id": ("'ses_2'", "NULL"),
    "details": ("""'{"a": 1}'""", "'{'"),
}
OTHER_LINK_VALUES = {
    "sequence": ("10", "'ten'"),
    "event_id": ("'0190'", "x'00'"),
    "chain_digest": (f"x'{bytes(32).hex()}'", "'never'"),
    "key_id": ("'00000000'", "x'00'"),
    "chained_at": ("'2026-04-05 10:00:00.000001'", "'never'"),
}


def _id_at(moment):
    """An id as one that is made at a moment."""
    digits = f"{int(moment.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7{secrets.token_hex(2)[1:]}-8000-{secrets.token_hex(6)}"


def _happen(env, moment=None, *, event_id=None, **others):
    """One more event, now or at a moment; its id."""
    moment = moment or env.clock.now
    values = {
        "kind": "session_created",
        "tenant_id": "tnt_1",
        "user_id": "usr_1",
        "request_id": "req_1",
        "source": "192.0.2.7",
        "credential_kind": "session",
        "credential_id": "ses_1",
        "details": {"a": 1},
        **others,
    }
    row = SecurityEvent(id=event_id or _id_at(moment), occurred_at=moment, **values)
    with env.database.transaction(writing=True) as session:
        session.add(row)
        return row.id


def _links(env):
    return sorted(env.rows("event_link"), key=lambda row: row["sequence"])


def _report(env):
    with env.database.transaction(writing=False, snapshot=True) as session:
        return verify_chain(session)


def _problems(env):
    return list(_report(env).problems)


@pytest.fixture
def seven(env, clock):
    """The ids of seven events in a chain that is whole."""
    ids = [_happen(env, clock.move(seconds=1)) for _ in range(7)]
    assert env.act(chain_events) == 7
    assert _problems(env) == []
    return ids


@pytest.fixture
def unguarded(env, seven):
    """The same for somebody who has the database: without triggers, nor what SQLite looks after."""
    for table in ("security_event", "event_link"):
        for verb in ("update", "delete"):
            env.drop_trigger(table, verb)
    return seven


@pytest.fixture
def open_with(env, clock):
    """Opens the same database with other root secrets."""
    opened = []

    def open_with(*roots, **named):
        opened.append(
            Database(env.location, keys=Keyring(*roots, **named), limits=env.limits, clock=clock)
        )
        return opened[-1]

    yield open_with
    for database in opened:
        database.close()


def _chain(database, **named):
    with database.transaction(writing=True) as session:
        return chain_events(session, **named)


def _verify(database):
    with database.transaction(writing=False, snapshot=True) as session:
        return verify_chain(session)


# The chain as it grows


def test_nothing_makes_no_chain(env):
    """LO-04: it is whole, and has no head."""
    assert env.act(chain_events) == 0
    report = _report(env)
    assert (report.checked, report.unchained, report.head, report.problems) == (0, 0, None, ())


def test_the_chain_grows_run_by_run(env, clock):
    """LO-04: each run goes on where the one before ended, and one without events adds nothing."""
    ids = []
    for events in (2, 0, 3, 1):
        ids += [_happen(env, clock.move(seconds=1)) for _ in range(events)]
        assert env.act(chain_events) == events
    links = _links(env)
    assert [link["sequence"] for link in links] == [1, 2, 3, 4, 5, 6]
    assert [link["event_id"] for link in links] == ids
    report = _report(env)
    assert (report.checked, report.unchained, report.problems) == (6, 0, ())
    assert report.head == links[-1]["chain_digest"].hex()


def test_every_link_has_a_digest_of_its_own(env, seven):
    """LO-04: 32 bytes under the present root, made when the job ran."""
    links = _links(env)
    assert {len(link["chain_digest"]) for link in links} == {32}
    assert len({link["chain_digest"] for link in links}) == len(seven)
    assert {link["key_id"] for link in links} == {env.keys.key_id}


def test_a_backlog_is_chained_in_parts(env, clock):
    """LO-04: a service that was down for days does not chain everything in one transaction."""
    ids = [_happen(env, clock.move(days=1)) for _ in range(7)]
    assert [env.act(chain_events, at_most=3) for _ in range(4)] == [3, 3, 1, 0]
    assert [link["event_id"] for link in _links(env)] == ids
    assert _problems(env) == []


def test_events_of_one_moment_are_chained_in_the_order_of_their_ids(env, clock):
    """LO-04: so every replica would chain them alike."""
    ids = sorted(_happen(env, clock.now) for _ in range(3))
    env.act(chain_events)
    assert [link["event_id"] for link in _links(env)] == ids
    assert _problems(env) == []


def test_events_are_chained_in_the_order_of_their_moments(env, clock):
    """LO-04: an id is made after the moment, and two of them may be the other way round."""
    later, earlier = sorted([_id_at(clock.now) for _ in range(2)])
    _happen(env, clock.now + timedelta(milliseconds=2), event_id=later)
    _happen(env, clock.now + timedelta(milliseconds=1), event_id=earlier)
    env.act(chain_events)
    assert [link["event_id"] for link in _links(env)] == [earlier, later]


def test_an_event_that_is_committed_late_is_chained_late(env, clock):
    """LO-04: its moment is before those of the chain; its place is where it was found."""
    begun = clock.now
    _happen(env, clock.move(minutes=5))
    env.act(chain_events)
    late = _happen(env, begun)
    assert env.act(chain_events) == 1
    assert _links(env)[-1]["event_id"] == late
    _happen(env, clock.move(minutes=1))
    assert env.act(chain_events) == 1
    assert _problems(env) == []


def test_an_event_of_this_transaction_is_chained_too(env):
    """LO-04: rows that are not written yet are written before they are looked for."""
    with env.database.transaction(writing=True) as session:
        session.add(SecurityEvent(id="0190", kind="a", occurred_at=session.now, details={}))
        assert chain_events(session) == 1
        session.add(SecurityEvent(id="0191", kind="a", occurred_at=session.now, details={}))
        assert verify_chain(session).unchained == 1
        digest = verify_chain(session).head
        assert holds_head(session, bytes.fromhex(digest))


def test_only_the_newest_end_of_the_table_is_looked_through(env, seven):
    """LO-04: the job costs as much with a million of old events as with none."""
    asked = []
    with env.database.transaction(writing=True) as session:

        def remember(_connection, _cursor, statement, parameters, *_rest):
            asked.append((statement, parameters))

        event.listen(session.core, "before_cursor_execute", remember)
        chain_events(session)
        event.remove(session.core, "before_cursor_execute", remember)
        _newest, (statement, parameters) = asked
        steps = explained(session, statement, parameters)
    if env.on_sqlite:
        assert "SEARCH security_event USING INDEX sqlite_autoindex_security_event_1 (id>?)" in steps
        assert not [step for step in steps if step.startswith("SCAN")]
        first = parameters[0]
    else:
        first = parameters["first"]
        assert [step for step in steps if "Index Scan" in step and "pk_security_event" in step]
        assert f"Index Cond: ((id)::text >= '{first}'::text)" in steps
        assert not [step for step in steps if "Seq Scan" in step]
    assert first > _id_at(env.clock.now - timedelta(hours=2))
    assert first < seven[0]


def test_an_event_that_was_put_in_long_after_its_time_is_reported_and_not_chained(env, clock):
    """LO-04: a forged past does not become part of the chain by itself."""
    _happen(env, clock.now)
    env.act(chain_events)
    forged = _happen(env, clock.now - timedelta(minutes=61))
    assert env.act(chain_events) == 0
    report = _report(env)
    assert report.unchained == 1
    assert report.problems == (f"event {forged} is older than ten minutes and has no link",)


def test_an_id_from_the_future_hides_nothing(env, clock):
    """LO-04: a clock that was wrong once does not stop the chain until it is right."""
    _happen(env, event_id=_id_at(clock.now + timedelta(days=900)))
    env.act(chain_events)
    _happen(env, clock.move(minutes=1))
    assert env.act(chain_events) == 1


def test_an_id_that_is_none_hides_nothing(env, clock):
    """LO-04: then the whole table is looked through, until the next link."""
    _happen(env, event_id="never")
    env.act(chain_events)
    _happen(env, clock.now - timedelta(days=900))
    assert env.act(chain_events) == 1


# Several at once


def test_two_services_chain_in_turns(env, clock, open_with):
    """LO-04: whoever runs next goes on with the same chain."""
    databases = [env.database, open_with(OLD)]
    for turn in range(6):
        _happen(env, clock.move(seconds=1))
        assert _chain(databases[turn % 2]) == 1
    assert _report(env).checked == 6
    assert _problems(env) == []


def test_services_that_chain_at_once_make_one_chain(env, clock, open_with):
    """LO-04: each event has one link, whoever made it, while events are still being written."""
    chainers = 3
    databases = [open_with(OLD) for _ in range(chainers)]
    ready = threading.Barrier(chainers + 1)
    moments = [clock.now + timedelta(seconds=step) for step in range(40)]

    def chain(database):
        ready.wait(30)
        return sum(_chain(database, at_most=2) for _ in range(30))

    def write():
        ready.wait(30)
        return [_happen(env, moment) for moment in moments]

    with ThreadPoolExecutor(chainers + 1) as threads:
        writing = threads.submit(write)
        chained = sum(threads.map(chain, databases))
        ids = writing.result(30)
    chained += env.act(chain_events)
    assert chained == len(ids)
    assert {link["event_id"] for link in _links(env)} == {*ids}
    assert [link["sequence"] for link in _links(env)] == list(range(1, len(ids) + 1))
    assert _problems(env) == []


@pytest.mark.only_on("sqlite")  # on PostgreSQL they really meet, in the test that follows
def test_who_loses_the_race_appends_nothing(env, clock, caplog):
    """LO-04: the primary key lets one win; the other's transaction is still good for its end."""
    for _ in range(2):
        _happen(env, clock.move(seconds=1))
    # What another replica does between the reading and the writing, on a database that lets it.
    env.execute(
        "CREATE TRIGGER another BEFORE INSERT ON event_link WHEN NEW.sequence = 2 BEGIN"
        " INSERT INTO event_link VALUES (2, 'another', x'00', '00000000', '2026-04-05'); END"
    )
    with caplog.at_level(logging.DEBUG, "accounts.jobs.event_chain"):
        assert env.act(chain_events) == 0
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert env.count("event_link") == 0
    env.execute("DROP TRIGGER another")
    assert env.act(chain_events) == 2


# The head


def test_the_head_is_logged_once_it_is_committed(env, clock, caplog):
    """LO-04: who keeps the log elsewhere can tell a chain whose end was cut off."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    for _ in range(2):
        _happen(env, clock.move(seconds=1))
    with env.database.transaction(writing=True) as session:
        chain_events(session)
        assert caplog.records == []
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("accounts.jobs.event_chain", "INFO")
    assert (record.sequence, record.head) == (2, _report(env).head)


def test_a_head_that_was_not_committed_is_not_logged(env, caplog):
    """LO-04: it would look as if the chain had been cut."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    _happen(env)

    def fail(session):
        chain_events(session)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 # it is raised in the line above
        env.act(fail)
    assert env.act(chain_events) == 1
    assert env.act(chain_events) == 0
    assert len(caplog.records) == 1


def test_every_head_that_was_logged_is_in_the_chain(env, clock, caplog):
    """LO-04: not only the last one."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    for _ in range(3):
        _happen(env, clock.move(seconds=1))
        env.act(chain_events)
    heads = [bytes.fromhex(record.head) for record in caplog.records]
    assert [env.act(holds_head, head) for head in [*heads, bytes(32)]] == [True] * 3 + [False]


def test_a_chain_whose_end_was_cut_off_looks_whole_and_lacks_its_head(env, unguarded):
    """LO-04: the chain alone cannot show it, and the log does."""
    head = bytes.fromhex(_report(env).head)
    for table, name in (("security_event", "id"), ("event_link", "event_id")):
        for event_id in unguarded[5:]:
            env.execute(f"DELETE FROM {table} WHERE {name} = ?", event_id)  # noqa: S608 # ours
    assert _problems(env) == []
    assert not env.act(holds_head, head)


def test_an_end_that_was_chained_anew_lacks_its_head(env, unguarded, clock):
    """LO-04: the service itself would chain what somebody changed; the log does not agree."""
    head = bytes.fromhex(_report(env).head)
    env.execute("DELETE FROM event_link WHERE sequence > 5")
    env.execute("UPDATE security_event SET source = '192.0.2.9' WHERE id = ?", unguarded[6])
    clock.move(minutes=1)
    assert env.act(chain_events) == 2
    assert _problems(env) == []
    assert not env.act(holds_head, head)


# What is found


@pytest.mark.parametrize("table", ["security_event", "event_link"])
def test_the_triggers_refuse_every_change(env, seven, table):  # noqa: ARG001 # they are the rows
    """LO-04: rows are only ever added, whoever asks."""
    before = env.rows(table)
    for column in OTHER_VALUES if table == "security_event" else OTHER_LINK_VALUES:
        with pytest.raises(IntegrityError, match="only ever added"):
            env.execute(f"UPDATE {table} SET {column} = {column}")  # noqa: S608 # ours
    with pytest.raises(IntegrityError, match="only ever added"):
        env.execute(f"DELETE FROM {table}")  # noqa: S608 # ours
    assert env.rows(table) == before


def test_every_column_is_tried():
    """LO-04: one that is added has to be thought of here, and in what a digest is of."""
    assert [*OTHER_VALUES] == metadata.tables["security_event"].columns.keys()
    assert [*OTHER_LINK_VALUES] == metadata.tables["event_link"].columns.keys()


@contextmanager
def _refused_by_its_type(env, which):
    """What a column of PostgreSQL does not take cannot be put there by anybody."""
    try:
        yield
    except DBAPIError:
        if which == 0 or env.on_sqlite:
            raise
        pytest.skip("the column takes no such value")


@pytest.mark.parametrize("which", [0, 1], ids=["another", "unreadable"])
@pytest.mark.parametrize("column", OTHER_VALUES)
def test_an_altered_event_is_found(env, unguarded, column, which):
    """LO-04: whichever column it is, and whatever it says now."""
    altered = unguarded[3]
    value = OTHER_VALUES[column][which]
    with _refused_by_its_type(env, which):
        env.execute(f"UPDATE security_event SET {column} = {value} WHERE id = ?", altered)  # noqa: S608 # ours
    problem = f"link 4 or its event {altered} was altered"
    if column == "id":
        problem = f"event {altered} of link 4 is missing"
    assert _problems(env)[:1] == [problem]
    # What follows was made over the digest that still stands there.
    assert all("link 5" not in problem for problem in _problems(env))


@pytest.mark.only_on("sqlite")  # a column of PostgreSQL is of one type
def test_bytes_in_the_place_of_a_text_are_found(env, clock):
    """LO-04: also where the text is what the bytes would be shown as."""
    _happen(env, clock.now, kind=repr(b"a"))
    env.act(chain_events)
    env.drop_trigger("security_event", "update")
    env.execute("UPDATE security_event SET kind = CAST('a' AS BLOB)")
    assert len(_problems(env)) == 1


@pytest.mark.parametrize("which", [0, 1], ids=["another", "unreadable"])
@pytest.mark.parametrize("column", OTHER_LINK_VALUES)
def test_an_altered_link_is_found(env, unguarded, column, which):
    """LO-04: whichever column it is, and whatever it says now."""
    value = OTHER_LINK_VALUES[column][which]
    with _refused_by_its_type(env, which):
        env.execute(f"UPDATE event_link SET {column} = {value} WHERE sequence = 4")  # noqa: S608 # ours
    expected = {
        "sequence": "link 4 is missing",
        "event_id": "of link 4 is missing",
        "chain_digest": f"link 4 or its event {unguarded[3]} was altered",
        "key_id": "link 4 was altered, or is under a root secret that is not known here",
        "chained_at": f"link 4 or its event {unguarded[3]} was altered",
    }
    assert expected[column] in _problems(env)[0]


@pytest.mark.only_on("sqlite")  # PostgreSQL takes no text that is none
def test_what_the_driver_cannot_read_ends_the_reading(env, unguarded):
    """LO-04: it is an error of the database, and is not taken for a chain that is whole."""
    env.execute("UPDATE security_event SET kind = CAST(x'ff' AS TEXT) WHERE id = ?", unguarded[3])
    with pytest.raises(DBAPIError):
        _report(env)


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_missing_event_is_found(env, unguarded, number):
    """LO-04: its link still names it."""
    gone = unguarded[number - 1]
    env.execute("DELETE FROM security_event WHERE id = ?", gone)
    assert _problems(env) == [f"event {gone} of link {number} is missing"]


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_missing_link_is_found(env, unguarded, number, clock):
    """LO-04: by the gap, and by the event that has no link."""
    env.execute("DELETE FROM event_link WHERE sequence = ?", number)
    clock.move(minutes=11)
    assert _problems(env) == [
        f"link {number} is missing",
        f"event {unguarded[number - 1]} is older than ten minutes and has no link",
    ]


def test_several_missing_links_are_one_gap(env, unguarded):  # noqa: ARG001 # they are the rows
    """LO-04: from the one to the other."""
    env.execute("DELETE FROM event_link WHERE sequence IN (1, 2, 5, 6)")
    assert _problems(env) == ["links 1 to 2 are missing", "links 5 to 6 are missing"]


def test_an_event_that_is_gone_with_its_link_is_found(env, unguarded):
    """LO-04: by the gap; closing that by new numbers makes every link after it wrong."""
    env.execute("DELETE FROM security_event WHERE id = ?", unguarded[2])
    env.execute("DELETE FROM event_link WHERE sequence = 3")
    assert _problems(env) == ["link 3 is missing"]
    for number in (4, 5, 6, 7):
        env.execute("UPDATE event_link SET sequence = ? WHERE sequence = ?", number - 1, number)
    assert [problem[:6] for problem in _problems(env)] == ["link 3", "link 4", "link 5", "link 6"]


def test_events_that_changed_their_places_are_found(env, unguarded):
    """LO-04: each row is whole, and only their order is not."""
    env.execute("UPDATE event_link SET sequence = 0 WHERE sequence = 3")
    env.execute("UPDATE event_link SET sequence = 3 WHERE sequence = 4")
    env.execute("UPDATE event_link SET sequence = 4 WHERE sequence = 0")
    assert _problems(env) == [
        f"link 3 or its event {unguarded[3]} was altered",
        f"link 4 or its event {unguarded[2]} was altered",
        f"link 5 or its event {unguarded[4]} was altered",
    ]


def test_what_two_events_say_cannot_be_swapped(env, unguarded):
    """LO-04: each digest is of the row with its id."""
    env.execute("UPDATE security_event SET id = 'a' WHERE id = ?", unguarded[1])
    env.execute("UPDATE security_event SET id = ? WHERE id = ?", unguarded[1], unguarded[2])
    env.execute("UPDATE security_event SET id = ? WHERE id = 'a'", unguarded[2])
    assert _problems(env) == [
        f"link {number} or its event {unguarded[number - 1]} was altered" for number in (2, 3)
    ]


@pytest.mark.parametrize("number", [-1, 0])
def test_a_link_before_the_first_is_found(env, unguarded, number):  # noqa: ARG001 # they are the rows
    """LO-04: it is out of place, and the chain behind it is read all the same."""
    forged = _happen(env)
    env.execute(
        "INSERT INTO event_link SELECT ?, ?, chain_digest, key_id, chained_at FROM event_link"
        " WHERE sequence = 1",
        number,
        forged,
    )
    report = _report(env)
    assert report.problems == (f"link {number} is out of place",)
    assert (report.checked, report.unchained) == (8, 0)


def test_a_link_with_a_number_that_is_taken_is_found(env, unguarded):  # noqa: ARG001 # as above
    """LO-04: also where the table was made anew, without its primary key."""
    env.execute("ALTER TABLE event_link RENAME TO before")
    env.execute("CREATE TABLE event_link AS SELECT * FROM before UNION ALL SELECT * FROM before")
    assert _problems(env) == [f"link {number} is out of place" for number in range(1, 8)]


def test_a_forged_link_at_the_end_is_found(env, unguarded, keys):
    """LO-04: without the root secret nobody makes a digest that fits; other digests do not fit."""
    forged = _happen(env)
    for digest in (
        bytes(32),
        _links(env)[-1]["chain_digest"],
        keys.digest(Purpose.CURSOR, "a"),
        Keyring(NEW).digest(Purpose.EVENT_CHAIN, "a"),
    ):
        env.execute("DELETE FROM event_link WHERE sequence = ?", len(unguarded) + 1)
        env.execute(
            "INSERT INTO event_link VALUES (8, ?, ?, ?, '2026-04-05 10:00:00.000000')",
            forged,
            digest,
            keys.key_id,
        )
        assert _problems(env) == [f"link 8 or its event {forged} was altered"]


def test_an_event_may_be_without_a_link_for_ten_minutes(env, clock):
    """LO-04: after that either the job does not run or somebody has taken the link away."""
    ids = [_happen(env) for _ in range(2)]
    clock.move(minutes=10)
    report = _report(env)
    assert (report.unchained, report.problems) == (2, ())
    clock.move(seconds=1)
    assert _problems(env) == [
        f"event {each} is older than ten minutes and has no link" for each in sorted(ids)
    ]


def test_no_more_than_a_hundred_problems_are_told(env, clock):
    """LO-04: the others are counted, so that a lost root does not fill the memory."""
    for _ in range(103):
        _happen(env)
    clock.move(minutes=11)
    problems = _problems(env)
    assert (len(problems), problems[-1]) == (101, "and 3 more")


def test_a_hostile_id_is_told_as_text(env, clock):
    """LO-05: an id that was put there can be anything, and is shown escaped and cut."""
    # PostgreSQL keeps to the length of the column.
    _happen(env, event_id="\x1b[31m\r\né" + "x" * (1000 if env.on_sqlite else 28))
    clock.move(minutes=11)
    (problem,) = _problems(env)
    assert problem.isprintable()
    assert problem.isascii()
    assert r"\x1b[31m\r\n\xe9xxx" in problem
    assert len(problem) < 120


def test_a_problem_names_no_value(env, unguarded):
    """LO-04: who may see that something is wrong may not see what was said of whom."""
    env.execute("UPDATE security_event SET source = 'canary', user_id = 'canary'")
    env.execute("UPDATE event_link SET key_id = 'canary' WHERE sequence = 2")
    assert len(_problems(env)) == len(unguarded)
    assert "canary" not in str(_report(env))


def test_more_links_than_are_read_at_once_are_one_chain(env, clock):
    """LO-04: the reading goes in batches, and nothing is lost between two."""
    with env.database.transaction(writing=True) as session:
        for _ in range(1203):
            moment = clock.move(seconds=1)
            session.add(SecurityEvent(id=_id_at(moment), kind="a", occurred_at=moment, details={}))
    assert [env.act(chain_events) for _ in range(4)] == [500, 500, 203, 0]
    report = _report(env)
    assert (report.checked, report.unchained, report.problems) == (1203, 0, ())


# Another root secret


def test_a_change_of_the_root_secret_is_no_break(env, clock, open_with):
    """TK-07: a link names its root, and is verified under it."""
    _happen(env)
    env.act(chain_events)
    after = open_with(NEW, OLD)
    _happen(env, clock.move(seconds=1))
    assert _chain(after) == 1
    assert len({link["key_id"] for link in _links(env)}) == 2
    assert _verify(after).problems == ()
    # As one replica that was started with the new root second would see it.
    assert _verify(open_with(OLD, NEW)).problems == ()


def test_links_under_a_retired_root_are_still_verified(env, clock, open_with, unguarded):
    """TK-07: it is kept for that, and for nothing else."""
    after = open_with(NEW, events=[OLD])
    _happen(env, clock.move(seconds=1))
    assert _chain(after) == 1
    assert _verify(after).problems == ()
    env.execute("UPDATE security_event SET kind = 'a' WHERE id = ?", unguarded[0])
    assert [problem[:18] for problem in _verify(after).problems] == ["link 1 or its even"]


def test_links_under_a_root_that_is_not_known_are_told(seven, open_with):
    """TK-07: they cannot be verified, and are not taken for good."""
    report = _verify(open_with(NEW))
    assert len(report.problems) == report.checked == len(seven)
    assert set(report.problems) == {
        f"link {number} was altered, or is under a root secret that is not known here"
        for number in range(1, 8)
    }


def test_a_link_is_good_under_its_own_root_only(env, open_with, unguarded):
    """TK-07: it cannot be said to be under another one that is known as well."""
    after = open_with(NEW, OLD)
    env.execute("UPDATE event_link SET key_id = ? WHERE sequence = 2", Keyring(NEW).key_id)
    assert _verify(after).problems == (f"link 2 or its event {unguarded[1]} was altered",)


def test_a_link_says_the_same_on_every_database(env, keys):
    """LO-04: the text of a digest is fixed for ever, or every old link would look altered."""
    moment = datetime(2026, 4, 5, 10, tzinfo=UTC)
    _happen(env, moment, event_id="0190", credential_kind=None)
    env.act(chain_events)
    text = (
        '{"before":"","event":{"credential_id":"ses_1",'
        '"details":"{\\"a\\":1}","id":"0190","kind":"session_created",'
        '"occurred_at":"2026-04-05 10:00:00.000000","request_id":"req_1","source":"192.0.2.7",'
        '"tenant_id":"tnt_1","user_id":"usr_1"},"link":{"chained_at":"2026-04-05 10:00:00.000000",'
        f'"event_id":"0190","key_id":"{keys.key_id}","sequence":1}}}}'
    )
    assert _links(env)[0]["chain_digest"] == keys.digest(Purpose.EVENT_CHAIN, text)
