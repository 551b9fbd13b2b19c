"""What is PostgreSQL's own: connections, waits, deadlocks, and connections that break.

DB-13: the other tests are run on it by `--database postgresql`; these are whatever was chosen.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from traceback import format_exception

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import select

from accounts.crypto.keyring import Keyring
from accounts.errors import EmailTaken, NotFound, Unavailable
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import Limits
from accounts.services.signing_keys import ensure_signing_key
from models import Tenant
from oneself.database import Database, OutcomeUnknown, does_not_answer, open_engine
from oneself.database.failures import can_retry
from oneself.database.migrations import differences, present_revision, upgrade
from oneself.database.postgresql import Postgresql
from oneself.http.request.errors import Internal
from oneself.http.response.error_handler import refusal_of
from oneself.runtime.jobs import run_act, run_alone
from oneself.runtime.key_file import UnknownRootKey, check_root_key

SOON = 300  # milliseconds, for what has to wait in vain


@pytest.fixture
def location(servers, tmp_path):
    """Whatever the other tests run on, this is about PostgreSQL."""
    made = servers.make(tmp_path)
    yield made
    servers.drop(made)


@pytest.fixture
def opened(location, keys, clock):
    """Opens the database with settings of the test's choice."""
    databases = []

    def opened(where=location, **named):
        limits = Limits(password_cost=4)
        databases.append(Database(where, keys=keys, limits=limits, clock=clock, **named))
        return databases[-1]

    yield opened
    for database in databases:
        database.close()


@pytest.fixture
def server(location):
    """Asks the server, over a connection that is nobody's."""
    engine = open_engine(location)
    with engine.connect() as connection:
        yield lambda statement: connection.exec_driver_sql(statement).scalar()
    engine.dispose()


def _ask(database, statement, *, writing=False):
    with database.transaction(writing=writing) as session:
        return session.core.exec_driver_sql(statement).scalar()


def _tenant(session, name):
    session.add(Tenant(id=name, uuid=name, display_name="0", created_at=session.now))
    session.flush()


def _add_one(session, name):
    """Read, add and write, as whoever does not think of others."""
    row = session.get_one(Tenant, name)
    row.display_name = str(int(row.display_name) + 1)
    session.flush()


def _count(env, name):
    return next(int(row["display_name"]) for row in env.rows("tenant") if row["id"] == name)


# How a connection is set up


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lock_timeout", "5s"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("TimeZone", "UTC"),
        ("transaction_isolation", "read committed"),
        ("application_name", "oneself"),
    ],
)
def test_every_connection_has_its_limits(database, elsewhere, name, expected):
    """DB-12: the first and each further one, reading and writing."""
    for writing in (False, True):
        assert _ask(database, f"SHOW {name}", writing=writing) == expected
        assert elsewhere(_ask, database, f"SHOW {name}", writing=writing) == expected


def test_an_operator_may_say_otherwise(opened, location):
    """DB-12: what stands in the URL counts, and the rest stays."""
    options = {"options": "-c statement_timeout=77s", "application_name": "mine"}
    database = opened(location.update_query_dict(options))
    assert _ask(database, "SHOW statement_timeout") == "77s"
    assert _ask(database, "SHOW lock_timeout") == "5s"
    assert _ask(database, "SHOW application_name") == "mine"


@pytest.mark.parametrize(("written", "meant"), [("none", None), ("0", 0), ("7", 7)])
def test_it_is_said_when_a_statement_is_prepared(opened, location, written, meant):
    """In the driver's own terms, for a pooler whose connections are everybody's."""
    database = opened(location.update_query_dict({"prepare_threshold": written}))
    with database.transaction(writing=False) as session:
        assert session.connection().connection.dbapi_connection.prepare_threshold == meant
    for _ in range(10):
        kept = _ask(database, "SELECT count(*) FROM pg_prepared_statements")
    assert bool(kept) == (meant is not None)


def test_nothing_waits_in_the_event_loop(database):
    """DB-11: a server may take its time, so a thread asks it."""
    assert database.is_nonblocking is False


# How many connections there are


def test_there_are_no_more_connections_than_allowed(opened, server):
    """DB-11: eight threads take turns at two."""
    database = opened(connections=2)
    ready = threading.Barrier(8)

    def ask(_):
        ready.wait(30)
        return [_ask(database, "SELECT pg_backend_pid()") for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        used = {pid for pids in threads.map(ask, range(8)) for pid in pids}
    assert len(used) <= 2
    assert server("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") <= 3


def test_who_waits_too_long_for_a_connection_is_refused(opened, elsewhere):
    """DB-11: by a 503, and whoever comes later gets the connection."""
    database = opened(connections=1, timeout=SOON)
    with database.transaction(writing=False), pytest.raises(Unavailable):
        elsewhere(_ask, database, "SELECT 1")
    assert elsewhere(_ask, database, "SELECT 1") == 1


def test_no_connection_is_kept_for_slow_work(opened, elsewhere):
    """DB-11: the one that there is serves somebody else meanwhile."""
    database = opened(connections=1, timeout=SOON)
    with database.transaction(writing=True) as session:
        with session.outside_transaction():
            assert elsewhere(_ask, database, "SELECT 1", writing=True) == 1
        with pytest.raises(Unavailable):
            elsewhere(_ask, database, "SELECT 1")


def test_a_server_that_is_not_there_takes_no_place(opened, location):
    """DB-12: each of many fails by itself, and at once."""
    database = opened(location.set(port=1), connections=1, timeout=SOON)
    for _ in range(3):
        with pytest.raises(OperationalError) as refused:
            _ask(database, "SELECT 1")
        assert does_not_answer(refused.value)


# How transactions begin and end


def test_reading_begins_no_transaction(database, server):
    """Each statement is one by itself, and so is a round trip less, twice."""
    with database.transaction(writing=False) as session:
        session.core.exec_driver_sql("SELECT 1")
        state = "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
        assert server(f"{state} AND pid <> pg_backend_pid()") == "idle"


def test_a_snapshot_is_of_one_moment(env, elsewhere):
    """DB-18: what is written meanwhile is not in it, and nothing can be written in it."""
    with env.database.transaction(writing=False, snapshot=True) as session:
        assert session.exec(select(Tenant)).all() == []
        elsewhere(env.act, _tenant, "tnt_1")
        assert session.exec(select(Tenant)).all() == []
    with (
        pytest.raises(DBAPIError, match="read-only"),
        env.database.transaction(writing=False, snapshot=True) as session,
    ):
        session.core.exec_driver_sql("DELETE FROM tenant")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tenant (id) VALUES ('canary')",
        "INSERT INTO tenant VALUES ('tnt_1', 'uuid', 'canary', now())",
        "INSERT INTO tenant VALUES ('tnt_2', 'uuid-2', 'A', 'canary')",
        "SELECT 'canary'::int",
        "SELECT to_date('canary', 'YYYY')",
        "INSERT INTO client SELECT 'cli_1', 'canary', 'A', '', '', '[]', now()",
    ],
)
def test_what_the_server_says_of_a_failure_shows_no_value(env, statement):
    """LO-01: its own words have the whole row that it refused."""
    env.execute("INSERT INTO tenant VALUES ('tnt_1', 'uuid', 'A', now())")
    with pytest.raises(DBAPIError) as failed:
        env.execute(statement)
    said = "".join(format_exception(failed.value))
    assert "canary" not in said.replace(statement, "")


def test_a_failure_that_somebody_hid_is_none_the_less_one(env):
    """DB-04: the server would answer to the COMMIT, keep nothing, and call it a success."""

    def hide(session):
        _tenant(session, "tnt_1")
        with pytest.raises(DBAPIError):
            session.core.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="a statement failed"):
        env.act(hide)
    assert env.count("tenant") == 0
    env.act(_tenant, "tnt_1")


# Who waits for whom


def test_a_name_is_held_until_the_end(opened, elsewhere):
    """DB-02: and by one at a time; another name is nobody's."""
    database = opened(timeout=SOON)

    def lock(name):
        with database.transaction(writing=True) as session:
            session.lock(name)
            session.lock(name)
            return True

    with database.transaction(writing=True) as session:
        session.lock("a")
        assert elsewhere(lock, "b")
        with pytest.raises(OperationalError) as refused:
            elsewhere(lock, "a")
        assert isinstance(refusal_of(refused.value), Unavailable)
    assert elsewhere(lock, "a")


def test_slow_work_lets_go_of_what_was_held(database, elsewhere):
    """DB-11: and it has to be held again after it."""

    def lock():
        with database.transaction(writing=True) as session:
            return session.try_lock("a")

    with database.transaction(writing=True) as session:
        session.lock("a")
        assert elsewhere(lock) is False
        with session.outside_transaction():
            assert elsewhere(lock) is True
        assert elsewhere(lock) is True
        session.lock("a")
        assert elsewhere(lock) is False


def test_a_job_is_done_by_one_replica_at_a_time(database, opened):
    """The other one leaves it, and does it the next time."""
    done = []

    def job(session):
        done.append(session)
        if len(done) == 1:
            run_alone(opened(), "a job", job)

    run_alone(database, "a job", job)
    assert len(done) == 1
    run_alone(database, "a job", job)
    assert len(done) == 2


def test_whoever_reads_waits_for_nobody(opened, elsewhere):
    """DB-01: reading sees what was committed, and holds nothing."""
    database = opened(timeout=SOON)
    with database.transaction(writing=True) as session:
        session.lock("a")
        _tenant(session, "tnt_1")
        assert elsewhere(_ask, database, "SELECT count(*) FROM tenant") == 0
    assert elsewhere(_ask, database, "SELECT count(*) FROM tenant") == 1


# What is tried again


def _one_after_the_other(first, second, met):
    """Write to two rows, in this order, once both have written to their first."""

    def add_one(session, name):
        session.core.exec_driver_sql(
            "UPDATE tenant SET display_name = display_name::int + 1 WHERE id = %s", (name,)
        )

    def act(session):
        add_one(session, first)
        with suppress(threading.BrokenBarrierError):  # the second time it is alone
            met.wait(5)
        met.abort()
        add_one(session, second)

    return act


def test_a_deadlock_is_tried_again(env):
    """DB-10: of two who wait for each other both succeed, one of them later."""
    for name in ("tnt_1", "tnt_2"):
        env.act(_tenant, name)
    met = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        for each in [
            threads.submit(run_act, env.database, _one_after_the_other(*names, met))
            for names in (("tnt_1", "tnt_2"), ("tnt_2", "tnt_1"))
        ]:
            each.result(30)
    assert (_count(env, "tnt_1"), _count(env, "tnt_2")) == (2, 2)


def test_a_failure_to_serialise_is_tried_again(env, opened, location):
    """DB-10: four threads add one thirty times each, where the server lets only some of them."""
    env.act(_tenant, "tnt_1")
    options = {"options": r"-c default_transaction_isolation=serializable"}
    database = opened(location.update_query_dict(options))
    threads, rounds, failures = 4, 30, []
    ready = threading.Barrier(threads)

    def act(session):
        try:
            _add_one(session, "tnt_1")
        except DBAPIError as error:
            failures.append(error.orig.sqlstate)
            raise

    def add(_):
        ready.wait(30)
        done = 0
        while done < rounds:
            try:
                run_act(database, act)
            except OperationalError:  # too often, which a client would hear as a 503
                continue
            done += 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(threads)))
    assert set(failures) == {"40001"}
    assert _count(env, "tnt_1") == threads * rounds


def test_there_is_an_end_to_trying(env):
    """DB-10: who is always in the way is a 503 after five times."""
    times = []

    def act(session):
        times.append(session)
        session.core.exec_driver_sql(
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$"
        )

    with pytest.raises(OperationalError) as failed:
        run_act(env.database, act)
    assert len(times) == 5
    assert isinstance(refusal_of(failed.value), Unavailable)


@pytest.mark.parametrize("error", [NotFound, ValueError])
def test_what_is_our_own_is_not_tried_again(env, error):
    """DB-10: a refusal is an answer, and a defect stays one."""
    times = []

    def act(session):
        times.append(session)
        raise error

    with pytest.raises(error):
        run_act(env.database, act)
    assert len(times) == 1


# What the server does


def _cut_off(server):
    server(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize("writing", [True, False])
def test_connections_that_a_restart_broke_cost_nobody_anything(opened, server, writing):
    """DB-12: the first to notice begins again, and takes all that were idle along."""
    database = opened()
    with ThreadPoolExecutor(4) as threads:
        ready = threading.Barrier(4)

        def ask(_):
            with database.transaction(writing=False) as session:
                ready.wait(30)
                return session.core.exec_driver_sql("SELECT 1").scalar()

        list(threads.map(ask, range(4)))
    _cut_off(server)
    tried = []

    def work():
        tried.append(1)
        return _ask(database, "SELECT 1", writing=writing)

    assert database.attempt(work) == 1
    assert len(tried) == 2
    assert database.attempt(work) == 1
    assert len(tried) == 3


def test_a_connection_that_breaks_half_way_is_begun_again(env, server):
    """DB-12: nothing of the first time is left."""
    times = []

    def act(session):
        times.append(session)
        _tenant(session, f"tnt_{len(times)}")
        if len(times) == 1:
            _cut_off(server)
        session.core.exec_driver_sql("SELECT 1")

    run_act(env.database, act)
    assert [row["id"] for row in env.rows("tenant")] == ["tnt_2"]


def test_a_transaction_whose_connection_broke_at_the_end_is_told_truly(env, server):
    """DB-12: the server knows that it was not committed, and it is begun again."""
    times = []

    def act(session):
        times.append(session)
        _tenant(session, f"tnt_{len(times)}")
        if len(times) == 1:
            _cut_off(server)

    run_act(env.database, act)
    assert [row["id"] for row in env.rows("tenant")] == ["tnt_2"]


@pytest.fixture
def connections(location):
    """The connections of a database, as its transactions have them."""
    made = Postgresql(location, timeout=SOON, connections=2)
    yield made
    made.close()


def _begun(connections):
    connection = connections.take(blocking=True)
    return connection, connections.begin(connection, writing=True, snapshot=False)


def test_how_a_commit_has_ended_can_be_asked_for(connections):
    """DB-12: of one that was made nothing is to be done, and one that was not is begun again."""
    connection, made = _begun(connections)
    connection.commit()
    connections.give_back(connection)
    connections.require_committed(made)
    connection, undone = _begun(connections)
    connection.rollback()
    connections.give_back(connection)
    with pytest.raises(OperationalError) as failed:
        connections.require_committed(undone)
    assert can_retry(failed.value)


def test_a_server_that_may_have_crashed_is_not_believed(connections):
    """DB-12: it would give the number of a transaction that it has lost to somebody else's."""
    connection, made = _begun(connections)
    connection.commit()
    connections.give_back(connection)
    connections.require_committed(made)
    number, _, _ = made.partition(" ")
    with pytest.raises(OutcomeUnknown):  # nobody was connected then who still is
        connections.require_committed(f"{number} 2000-01-01 00:00:00+00")


def test_a_commit_that_is_still_being_made_is_waited_for(connections):
    """DB-12: the server may be at it yet, when its client is told that the connection broke."""
    connection, made = _begun(connections)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(connections.require_committed, made)
        time.sleep(0.1)
        assert not asked.done()
        connection.commit()
        asked.result(30)
    connections.give_back(connection)


def test_a_commit_that_nobody_knows_of_is_not_begun_again(connections):
    """DB-12: it may be done already, so whoever asked hears of a failure, and of no second try."""
    with pytest.raises(OutcomeUnknown) as unknown:
        connections.require_committed("99999999999 2026-04-05 10:00:00+00")
    assert isinstance(refusal_of(unknown.value), Internal)


def test_statements_end(opened):
    """DB-12: one that takes too long is a 503, and its connection is good for the next."""
    database = opened(timeout=SOON)
    began = time.monotonic()
    with pytest.raises(OperationalError) as ended:
        _ask(database, "SELECT pg_sleep(30)")
    assert time.monotonic() - began < 20
    assert isinstance(refusal_of(ended.value), Unavailable)
    assert _ask(database, "SELECT 1") == 1


def test_a_transaction_in_which_nobody_says_anything_ends(opened):
    """DB-12: what it holds is free again, and whoever fell asleep is refused."""
    database = opened(timeout=100)

    def sleep():
        with database.transaction(writing=True) as session:
            time.sleep(1)
            session.core.exec_driver_sql("SELECT 1")

    with pytest.raises(DBAPIError) as ended:
        sleep()
    assert does_not_answer(ended.value)


def test_a_server_that_only_reads_is_a_503(env):
    """DB-06: as a standby is, until it takes over."""

    def write(session):
        session.core.exec_driver_sql("SET TRANSACTION READ ONLY")
        _tenant(session, "tnt_1")

    with pytest.raises(DBAPIError) as refused:
        env.act(write)
    assert isinstance(refusal_of(refused.value), Unavailable)


def test_a_database_without_tables_is_a_503(env):
    """DB-15: it is about to be migrated or restored."""
    with pytest.raises(DBAPIError) as refused:
        _ask(env.database, "SELECT * FROM nowhere")
    assert isinstance(refusal_of(refused.value), Unavailable)


@pytest.mark.parametrize("table", ["security_event", "event_link"])
def test_events_cannot_be_truncated(env, table):
    """LO-04: it asks no trigger of a row, and so one of its own."""
    with pytest.raises(IntegrityError, match="only ever added"):
        env.execute(f"TRUNCATE {table}")


# Several at once


def test_of_several_migrations_at_once_one_is_done(servers):
    """DB-15: the others find the tables there."""
    location = servers.blank()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: _migrate(location), range(3)))
    engine = open_engine(location)
    assert differences(engine) == []
    engine.dispose()
    servers.discard(location)


def _migrate(location):
    engine = open_engine(location)
    upgrade(engine)
    assert present_revision(engine) is not None
    engine.dispose()


def test_of_several_first_starts_at_once_one_makes_the_signing_key(env, opened):
    """JW-08: two keys would both sign, and nobody has asked for the second."""
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: run_act(opened(), ensure_signing_key), range(3)))
    assert env.count("signing_key") == 1


@pytest.mark.parametrize("same", [True, False])
def test_of_several_first_starts_at_once_one_decides_on_the_root(env, location, same):
    """PW-17: with another secret it is refused, with the same one none is."""
    roots = [b"a" * 32] * 3 if same else [letter * 32 for letter in (b"a", b"b", b"c")]
    ready = threading.Barrier(3)

    def start(root):
        database = Database(location, keys=Keyring(root), limits=env.limits)
        ready.wait(30)
        try:
            check_root_key(database)
        except UnknownRootKey:
            return False
        finally:
            database.close()
        return True

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(start, roots)) == (3 if same else 1)
    assert env.count("root_key") == 1


def test_of_two_who_sign_up_with_one_address_one_has_it(env):
    """UN-01: the other hears that it is taken, and not that the service has failed."""
    ready = threading.Barrier(4)

    def sign(number):
        ready.wait(30)
        try:
            env.act(
                sign_up,
                email="alice@example.com",
                password=f"Violet tangent 47 harbour {number}",
                display_name="A",
                tenant_name="B",
                user_agent=None,
            )
        except EmailTaken:
            return 0
        return 1

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(sign, range(4))) == 1
    assert (env.count("user"), env.count("tenant")) == (1, 1)


def test_of_two_with_one_name_at_two_hosts_both_get_a_user_name(env):
    """UN-02: and each its own."""
    ready = threading.Barrier(4)

    def sign(number):
        ready.wait(30)
        env.act(
            sign_up,
            email=f"alice@{number}.example.com",
            password=f"Violet tangent 47 harbour {number}",
            display_name="A",
            tenant_name="B",
            user_agent=None,
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(sign, range(4)))
    assert len({row["username"] for row in env.rows("user")}) == 4
