"""The hash chain over security events."""

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
from accounts.jobs.event_verification import contains_head, verify_chain
from models import SecurityEvent, metadata
from tests.support.chain import chain_pending
from tests.support.deadlines import patient
from tests.unit.conftest import explain_query

OLD, NEW = b"x" * 32, b"y" * 32

#: For each column of an event a different valid value, and one that cannot be read.
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


def _id_at(time):
    """Return an id as if it were made at `time`."""
    digits = f"{int(time.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7{secrets.token_hex(2)[1:]}-8000-{secrets.token_hex(6)}"


def _add_event(env, time=None, *, event_id=None, **overrides):
    """Add an event, now or at `time`, and return its id."""
    time = time or env.clock.now
    values = {
        "kind": "session_created",
        "tenant_id": "tnt_1",
        "user_id": "usr_1",
        "request_id": "req_1",
        "source": "192.0.2.7",
        "credential_kind": "session",
        "credential_id": "ses_1",
        "details": {"a": 1},
        **overrides,
    }
    row = SecurityEvent(id=event_id or _id_at(time), occurred_at=time, **values)
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
def seven_ids(env, clock):
    """The ids of seven events in an intact chain."""
    ids = [_add_event(env, clock.move(seconds=1)) for _ in range(7)]
    assert env.act(chain_pending) == 7
    assert _problems(env) == []
    return ids


@pytest.fixture
def unprotected_ids(env, seven_ids):
    """The same without triggers, for an attacker with access to the database."""
    for table in ("security_event", "event_link"):
        for verb in ("update", "delete"):
            env.drop_trigger(table, verb)
    return seven_ids


def _chain(database, **options):
    with database.transaction(writing=True) as session:
        return chain_pending(session, **options)


def _verify(database):
    with database.transaction(writing=False, snapshot=True) as session:
        return verify_chain(session)


# Growth of the chain


def test_empty_chain_is_intact(env):
    """LO-04: it is intact, and has no head."""
    assert env.act(chain_pending) == 0
    report = _report(env)
    assert (report.checked, report.unchained, report.head, report.problems) == (0, 0, None, ())


def test_chain_grows_with_each_run(env, clock):
    """LO-04: each run continues where the last one ended."""
    ids = []
    for events in (2, 0, 3, 1):
        ids += [_add_event(env, clock.move(seconds=1)) for _ in range(events)]
        assert env.act(chain_pending) == events
    links = _links(env)
    assert [link["sequence"] for link in links] == [1, 2, 3, 4, 5, 6]
    assert [link["event_id"] for link in links] == ids
    report = _report(env)
    assert (report.checked, report.unchained, report.problems) == (6, 0, ())
    assert report.head == links[-1]["chain_digest"].hex()


def test_every_link_has_its_own_digest(env, seven_ids):
    """LO-04: 32 bytes under the current root."""
    links = _links(env)
    assert {len(link["chain_digest"]) for link in links} == {32}
    assert len({link["chain_digest"] for link in links}) == len(seven_ids)
    assert {link["key_id"] for link in links} == {env.keys.key_id}


def test_backlog_is_chained_in_batches(env, clock):
    """LO-04: after days of downtime not everything is chained in one transaction."""
    ids = [_add_event(env, clock.move(days=1)) for _ in range(7)]
    assert [env.act(chain_pending, at_most=3) for _ in range(4)] == [3, 3, 1, 0]
    assert [link["event_id"] for link in _links(env)] == ids
    assert _problems(env) == []


def test_events_of_the_same_time_are_chained_by_id(env, clock):
    """LO-04: every replica chains them alike."""
    ids = sorted(_add_event(env, clock.now) for _ in range(3))
    env.act(chain_pending)
    assert [link["event_id"] for link in _links(env)] == ids
    assert _problems(env) == []


def test_events_are_chained_by_time(env, clock):
    """LO-04: ids are made after the time of the event, and may be in another order."""
    later, earlier = sorted([_id_at(clock.now) for _ in range(2)])
    _add_event(env, clock.now + timedelta(milliseconds=2), event_id=later)
    _add_event(env, clock.now + timedelta(milliseconds=1), event_id=earlier)
    env.act(chain_pending)
    assert [link["event_id"] for link in _links(env)] == [earlier, later]


def test_event_committed_late_is_chained_late(env, clock):
    """LO-04: its time is before the end of the chain, and its place is where it was found."""
    start = clock.now
    _add_event(env, clock.move(minutes=5))
    env.act(chain_pending)
    late_id = _add_event(env, start)
    assert env.act(chain_pending) == 1
    assert _links(env)[-1]["event_id"] == late_id
    _add_event(env, clock.move(minutes=1))
    assert env.act(chain_pending) == 1
    assert _problems(env) == []


def test_pending_event_of_the_transaction_is_chained(env):
    """LO-04: an act sees the events that it has just recorded."""
    with env.database.transaction(writing=True) as session:
        session.add(SecurityEvent(id="0190", kind="a", occurred_at=session.now, details={}))
        assert chain_pending(session) == 1
        session.add(SecurityEvent(id="0191", kind="a", occurred_at=session.now, details={}))
        assert verify_chain(session).unchained == 1
        digest = verify_chain(session).head
        assert contains_head(session, bytes.fromhex(digest))


def test_only_the_newest_events_are_searched(env, seven_ids):
    """LO-04: the cost of the job does not depend on the number of old events."""
    statements = []
    with env.database.transaction(writing=True) as session:

        def record(_connection, _cursor, statement, parameters, *_rest):
            statements.append((statement, parameters))

        event.listen(session.core, "before_cursor_execute", record)
        chain_pending(session)
        event.remove(session.core, "before_cursor_execute", record)
        _newest, (statement, parameters) = statements
        steps = explain_query(session, statement, parameters)
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
    assert first < seven_ids[0]


def test_backdated_event_is_reported_and_not_chained(env, clock):
    """LO-04: a forged past does not become part of the chain."""
    _add_event(env, clock.now)
    env.act(chain_pending)
    forged_id = _add_event(env, clock.now - timedelta(minutes=61))
    assert env.act(chain_pending) == 0
    report = _report(env)
    assert report.unchained == 1
    assert report.problems == (f"event {forged_id} is older than ten minutes and has no link",)


def test_id_from_the_future_does_not_hide_events(env, clock):
    """LO-04: a clock that was wrong once does not stop the chain."""
    _add_event(env, event_id=_id_at(clock.now + timedelta(days=900)))
    env.act(chain_pending)
    _add_event(env, clock.move(minutes=1))
    assert env.act(chain_pending) == 1


def test_malformed_id_does_not_hide_events(env, clock):
    """LO-04: then the whole table is searched, until the next link."""
    _add_event(env, event_id="never")
    env.act(chain_pending)
    _add_event(env, clock.now - timedelta(days=900))
    assert env.act(chain_pending) == 1


# Concurrency


def test_two_services_continue_one_chain(env, clock, open_with):
    """LO-04: each continues the same chain."""
    databases = [env.database, open_with(OLD)]
    for turn in range(6):
        _add_event(env, clock.move(seconds=1))
        assert _chain(databases[turn % 2]) == 1
    assert _report(env).checked == 6
    assert _problems(env) == []


def test_concurrent_services_make_one_chain(env, clock, open_with):
    """LO-04: each event has one link, while more events are being written."""
    chainers = 3
    databases = [open_with(OLD) for _ in range(chainers)]
    ready = threading.Barrier(chainers + 1)
    times = [clock.now + timedelta(seconds=step) for step in range(40)]

    def chain(database):
        ready.wait(patient(30))
        return sum(_chain(database, at_most=2) for _ in range(30))

    def write():
        ready.wait(patient(30))
        return [_add_event(env, time) for time in times]

    with ThreadPoolExecutor(chainers + 1) as threads:
        writing = threads.submit(write)
        count = sum(threads.map(chain, databases))
        ids = writing.result(30)
    count += env.act(chain_pending)
    assert count == len(ids)
    assert {link["event_id"] for link in _links(env)} == {*ids}
    assert [link["sequence"] for link in _links(env)] == list(range(1, len(ids) + 1))
    assert _problems(env) == []


@pytest.mark.only_on("sqlite")  # on PostgreSQL they really race, in the test above
def test_loser_of_a_race_appends_nothing(env, clock, caplog):
    """LO-04: the primary key lets one win; the other one's transaction can still end normally."""
    for _ in range(2):
        _add_event(env, clock.move(seconds=1))
    # Simulates another replica between the read and the write.
    env.execute(
        "CREATE TRIGGER another BEFORE INSERT ON event_link WHEN NEW.sequence = 2 BEGIN"
        " INSERT INTO event_link VALUES (2, 'another', x'00', '00000000', '2026-04-05'); END"
    )
    with caplog.at_level(logging.DEBUG, "accounts.jobs.event_chain"):
        assert env.act(chain_pending) == 0
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert env.count("event_link") == 0
    env.execute("DROP TRIGGER another")
    assert env.act(chain_pending) == 2


# Head


def test_head_is_logged_after_commit(env, clock, caplog):
    """LO-04: a log kept elsewhere detects a chain whose end was cut off."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    for _ in range(2):
        _add_event(env, clock.move(seconds=1))
    with env.database.transaction(writing=True) as session:
        chain_pending(session)
        assert caplog.records == []
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("accounts.jobs.event_chain", "INFO")
    assert (record.sequence, record.head) == (2, _report(env).head)


def test_uncommitted_head_is_not_logged(env, caplog):
    """LO-04: it would look as if the chain had been cut."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    _add_event(env)

    def fail(session):
        chain_pending(session)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 # it is raised in the line above
        env.act(fail)
    assert env.act(chain_pending) == 1
    assert env.act(chain_pending) == 0
    assert len(caplog.records) == 1


def test_every_logged_head_is_in_the_chain(env, clock, caplog):
    """LO-04: not only the last one."""
    caplog.set_level(logging.INFO, "accounts.jobs.event_chain")
    for _ in range(3):
        _add_event(env, clock.move(seconds=1))
        env.act(chain_pending)
    heads = [bytes.fromhex(record.head) for record in caplog.records]
    assert [env.act(contains_head, head) for head in [*heads, bytes(32)]] == [True] * 3 + [False]


def test_truncated_chain_lacks_its_head(env, unprotected_ids):
    """LO-04: the chain alone cannot show it, but the log can."""
    head = bytes.fromhex(_report(env).head)
    for table, name in (("security_event", "id"), ("event_link", "event_id")):
        for event_id in unprotected_ids[5:]:
            env.execute(f"DELETE FROM {table} WHERE {name} = ?", event_id)  # noqa: S608 # ours
    assert _problems(env) == []
    assert not env.act(contains_head, head)


def test_rechained_end_lacks_its_head(env, unprotected_ids, clock):
    """LO-04: the service would chain altered events again; the log disagrees."""
    head = bytes.fromhex(_report(env).head)
    env.execute("DELETE FROM event_link WHERE sequence > 5")
    env.execute("UPDATE security_event SET source = '192.0.2.9' WHERE id = ?", unprotected_ids[6])
    clock.move(minutes=1)
    assert env.act(chain_pending) == 2
    assert _problems(env) == []
    assert not env.act(contains_head, head)


# Detection


@pytest.mark.parametrize("table", ["security_event", "event_link"])
def test_triggers_reject_every_change(env, seven_ids, table):  # noqa: ARG001 # they are the rows
    """LO-04: rows are append-only."""
    rows_before = env.rows(table)
    for column in OTHER_VALUES if table == "security_event" else OTHER_LINK_VALUES:
        with pytest.raises(IntegrityError, match="only ever added"):
            env.execute(f"UPDATE {table} SET {column} = {column}")  # noqa: S608 # ours
    with pytest.raises(IntegrityError, match="only ever added"):
        env.execute(f"DELETE FROM {table}")  # noqa: S608 # ours
    assert env.rows(table) == rows_before


def test_every_column_is_covered():
    """LO-04: a new column must be added here, and to the digest."""
    assert [*OTHER_VALUES] == metadata.tables["security_event"].columns.keys()
    assert [*OTHER_LINK_VALUES] == metadata.tables["event_link"].columns.keys()


@contextmanager
def _skip_if_type_rejects(env, which):
    """Skip the test if a column of PostgreSQL does not accept the value."""
    try:
        yield
    except DBAPIError:
        if which == 0 or env.on_sqlite:
            raise
        pytest.skip("the column takes no such value")


@pytest.mark.parametrize("which", [0, 1], ids=["another", "unreadable"])
@pytest.mark.parametrize("column", OTHER_VALUES)
def test_altered_event_is_detected(env, unprotected_ids, column, which):
    """LO-04: in any column, with any value."""
    altered_id = unprotected_ids[3]
    value = OTHER_VALUES[column][which]
    with _skip_if_type_rejects(env, which):
        env.execute(f"UPDATE security_event SET {column} = {value} WHERE id = ?", altered_id)  # noqa: S608 # ours
    problem = f"link 4 or its event {altered_id} was altered"
    if column == "id":
        problem = f"event {altered_id} of link 4 is missing"
    assert _problems(env)[:1] == [problem]
    # The following links are over the digest, which is unchanged.
    assert all("link 5" not in problem for problem in _problems(env))


@pytest.mark.only_on("sqlite")  # a column of PostgreSQL has one type
def test_bytes_in_place_of_text_are_detected(env, clock):
    """LO-04: even if the text equals the representation of the bytes."""
    _add_event(env, clock.now, kind=repr(b"a"))
    env.act(chain_pending)
    env.drop_trigger("security_event", "update")
    env.execute("UPDATE security_event SET kind = CAST('a' AS BLOB)")
    assert len(_problems(env)) == 1


@pytest.mark.parametrize("which", [0, 1], ids=["another", "unreadable"])
@pytest.mark.parametrize("column", OTHER_LINK_VALUES)
def test_altered_link_is_detected(env, unprotected_ids, column, which):
    """LO-04: in any column, with any value."""
    value = OTHER_LINK_VALUES[column][which]
    with _skip_if_type_rejects(env, which):
        env.execute(f"UPDATE event_link SET {column} = {value} WHERE sequence = 4")  # noqa: S608 # ours
    expected = {
        "sequence": "link 4 is missing",
        "event_id": "of link 4 is missing",
        "chain_digest": f"link 4 or its event {unprotected_ids[3]} was altered",
        "key_id": "link 4 was altered, or is under a root secret that is not known here",
        "chained_at": f"link 4 or its event {unprotected_ids[3]} was altered",
    }
    assert expected[column] in _problems(env)[0]


@pytest.mark.only_on("sqlite")  # PostgreSQL rejects malformed text
def test_unreadable_text_raises_an_error(env, unprotected_ids):
    """LO-04: a database error must not pass for an intact chain."""
    env.execute(
        "UPDATE security_event SET kind = CAST(x'ff' AS TEXT) WHERE id = ?", unprotected_ids[3]
    )
    with pytest.raises(DBAPIError):
        _report(env)


@pytest.mark.parametrize("number", [1, 4, 6])
def test_missing_event_is_detected(env, unprotected_ids, number):
    """LO-04: its link still names it."""
    missing_id = unprotected_ids[number - 1]
    env.execute("DELETE FROM security_event WHERE id = ?", missing_id)
    assert _problems(env) == [f"event {missing_id} of link {number} is missing"]


@pytest.mark.parametrize("number", [1, 4, 6])
def test_missing_link_is_detected(env, unprotected_ids, number, clock):
    """LO-04: by the gap, and by the event without a link."""
    env.execute("DELETE FROM event_link WHERE sequence = ?", number)
    clock.move(minutes=11)
    assert _problems(env) == [
        f"link {number} is missing",
        f"event {unprotected_ids[number - 1]} is older than ten minutes and has no link",
    ]


def test_missing_links_are_reported_as_gaps(env, unprotected_ids):  # noqa: ARG001 # they are the rows
    """LO-04: reported by its first and last number."""
    env.execute("DELETE FROM event_link WHERE sequence IN (1, 2, 5, 6)")
    assert _problems(env) == ["links 1 to 2 are missing", "links 5 to 6 are missing"]


def test_missing_event_and_link_are_detected(env, unprotected_ids):
    """LO-04: by the gap; renumbering breaks every later link."""
    env.execute("DELETE FROM security_event WHERE id = ?", unprotected_ids[2])
    env.execute("DELETE FROM event_link WHERE sequence = 3")
    assert _problems(env) == ["link 3 is missing"]
    for number in (4, 5, 6, 7):
        env.execute("UPDATE event_link SET sequence = ? WHERE sequence = ?", number - 1, number)
    assert [problem[:6] for problem in _problems(env)] == ["link 3", "link 4", "link 5", "link 6"]


def test_reordered_events_are_detected(env, unprotected_ids):
    """LO-04: each row is intact, only the order is not."""
    env.execute("UPDATE event_link SET sequence = 0 WHERE sequence = 3")
    env.execute("UPDATE event_link SET sequence = 3 WHERE sequence = 4")
    env.execute("UPDATE event_link SET sequence = 4 WHERE sequence = 0")
    assert _problems(env) == [
        f"link 3 or its event {unprotected_ids[3]} was altered",
        f"link 4 or its event {unprotected_ids[2]} was altered",
        f"link 5 or its event {unprotected_ids[4]} was altered",
    ]


def test_swapped_events_are_detected(env, unprotected_ids):
    """LO-04: each digest covers the row with its id."""
    env.execute("UPDATE security_event SET id = 'a' WHERE id = ?", unprotected_ids[1])
    env.execute(
        "UPDATE security_event SET id = ? WHERE id = ?", unprotected_ids[1], unprotected_ids[2]
    )
    env.execute("UPDATE security_event SET id = ? WHERE id = 'a'", unprotected_ids[2])
    assert _problems(env) == [
        f"link {number} or its event {unprotected_ids[number - 1]} was altered" for number in (2, 3)
    ]


@pytest.mark.parametrize("number", [-1, 0])
def test_link_before_the_first_is_detected(env, unprotected_ids, number):  # noqa: ARG001 # they are the rows
    """LO-04: it is out of place, and the rest of the chain is still verified."""
    forged_id = _add_event(env)
    env.execute(
        "INSERT INTO event_link SELECT ?, ?, chain_digest, key_id, chained_at FROM event_link"
        " WHERE sequence = 1",
        number,
        forged_id,
    )
    report = _report(env)
    assert report.problems == (f"link {number} is out of place",)
    assert (report.checked, report.unchained) == (8, 0)


def test_duplicate_link_is_detected(env, unprotected_ids):  # noqa: ARG001 # as above
    """LO-04: also if the table was created again without its primary key."""
    env.execute("ALTER TABLE event_link RENAME TO before")
    env.execute("CREATE TABLE event_link AS SELECT * FROM before UNION ALL SELECT * FROM before")
    assert _problems(env) == [f"link {number} is out of place" for number in range(1, 8)]


def test_forged_link_at_the_end_is_detected(env, unprotected_ids, keys):
    """LO-04: a matching digest needs the root secret, and other digests do not match."""
    forged_id = _add_event(env)
    for digest in (
        bytes(32),
        _links(env)[-1]["chain_digest"],
        keys.digest(Purpose.CURSOR, "a"),
        Keyring(NEW).digest(Purpose.EVENT_CHAIN, "a"),
    ):
        env.execute("DELETE FROM event_link WHERE sequence = ?", len(unprotected_ids) + 1)
        env.execute(
            "INSERT INTO event_link VALUES (8, ?, ?, ?, '2026-04-05 10:00:00.000000')",
            forged_id,
            digest,
            keys.key_id,
        )
        assert _problems(env) == [f"link 8 or its event {forged_id} was altered"]


def test_event_may_be_unchained_for_ten_minutes(env, clock):
    """LO-04: after that, either the job does not run or the link was deleted."""
    ids = [_add_event(env) for _ in range(2)]
    clock.move(minutes=10)
    report = _report(env)
    assert (report.unchained, report.problems) == (2, ())
    clock.move(seconds=1)
    assert _problems(env) == [
        f"event {event_id} is older than ten minutes and has no link" for event_id in sorted(ids)
    ]


def test_at_most_a_hundred_problems_are_reported(env, clock):
    """LO-04: the rest is counted, so that a lost root does not fill the memory."""
    for _ in range(103):
        _add_event(env)
    clock.move(minutes=11)
    problems = _problems(env)
    assert (len(problems), problems[-1]) == (101, "and 3 more")


def test_hostile_id_is_escaped(env, clock):
    """LO-05: a forged id can be any text; it is escaped and cut."""
    # PostgreSQL enforces the length of the column.
    _add_event(env, event_id="\x1b[31m\r\né" + "x" * (1000 if env.on_sqlite else 28))
    clock.move(minutes=11)
    (problem,) = _problems(env)
    assert problem.isprintable()
    assert problem.isascii()
    assert r"\x1b[31m\r\n\xe9xxx" in problem
    assert len(problem) < 120


def test_problems_contain_no_values(env, unprotected_ids):
    """LO-04: a report reveals nothing that the events say."""
    env.execute("UPDATE security_event SET source = 'canary', user_id = 'canary'")
    env.execute("UPDATE event_link SET key_id = 'canary' WHERE sequence = 2")
    assert len(_problems(env)) == len(unprotected_ids)
    assert "canary" not in str(_report(env))


def test_chain_may_exceed_a_batch(env, clock):
    """LO-04: verification reads in batches, and loses nothing between them."""
    with env.database.transaction(writing=True) as session:
        for _ in range(1203):
            time = clock.move(seconds=1)
            session.add(SecurityEvent(id=_id_at(time), kind="a", occurred_at=time, details={}))
    assert [env.act(chain_pending) for _ in range(2)] == [1203, 0]
    report = _report(env)
    assert (report.checked, report.unchained, report.problems) == (1203, 0, ())


# Rotation of the root secret


def test_chain_survives_key_rotation(env, clock, open_with):
    """TK-07: a link names its root, and is verified under it."""
    _add_event(env)
    env.act(chain_pending)
    rotated = open_with(NEW, OLD)
    _add_event(env, clock.move(seconds=1))
    assert _chain(rotated) == 1
    assert len({link["key_id"] for link in _links(env)}) == 2
    assert _verify(rotated).problems == ()
    # A replica that was started with the new root second sees the same.
    assert _verify(open_with(OLD, NEW)).problems == ()


def test_links_under_a_retired_root_are_verified(env, clock, open_with, unprotected_ids):
    """TK-07: the retired root is kept for this only."""
    rotated = open_with(NEW, events=[OLD])
    _add_event(env, clock.move(seconds=1))
    assert _chain(rotated) == 1
    assert _verify(rotated).problems == ()
    env.execute("UPDATE security_event SET kind = 'a' WHERE id = ?", unprotected_ids[0])
    assert [problem[:18] for problem in _verify(rotated).problems] == ["link 1 or its even"]


def test_links_under_an_unknown_root_are_reported(seven_ids, open_with):
    """TK-07: they cannot be verified, and do not count as intact."""
    report = _verify(open_with(NEW))
    assert len(report.problems) == report.checked == len(seven_ids)
    assert set(report.problems) == {
        f"link {number} was altered, or is under a root secret that is not known here"
        for number in range(1, 8)
    }


def test_link_is_valid_under_its_own_root_only(env, open_with, unprotected_ids):
    """TK-07: naming another known root does not help."""
    rotated = open_with(NEW, OLD)
    env.execute("UPDATE event_link SET key_id = ? WHERE sequence = 2", Keyring(NEW).key_id)
    assert _verify(rotated).problems == (f"link 2 or its event {unprotected_ids[1]} was altered",)


def test_digest_is_the_same_on_every_database(env, keys):
    """LO-04: the digested text must never change, or all old links would look altered."""
    time = datetime(2026, 4, 5, 10, tzinfo=UTC)
    _add_event(env, time, event_id="0190", credential_kind=None)
    env.act(chain_pending)
    text = (
        '{"before":"","event":{"credential_id":"ses_1",'
        '"details":"{\\"a\\":1}","id":"0190","kind":"session_created",'
        '"occurred_at":"2026-04-05 10:00:00.000000","request_id":"req_1","source":"192.0.2.7",'
        '"tenant_id":"tnt_1","user_id":"usr_1"},"link":{"chained_at":"2026-04-05 10:00:00.000000",'
        f'"event_id":"0190","key_id":"{keys.key_id}","sequence":1}}}}'
    )
    assert _links(env)[0]["chain_digest"] == keys.digest(Purpose.EVENT_CHAIN, text)
