"""PostgreSQL: connections, waits, deadlocks, and connections that break.

DB-13: the other tests run on it with `--database postgresql`; these always do.
"""

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from traceback import format_exception

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import select

from accounts.crypto.keyring import Keyring
from accounts.errors import EmailTaken, NotFound, OutcomeUnknown, Unavailable
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import Limits
from accounts.services.events import record_administration
from accounts.services.signing_keys import ensure_signing_key
from models import Tenant
from oneself.database import Database, is_database_unavailable, open_engine, outcomes
from oneself.database.failures import can_retry
from oneself.database.migrations import differences, present_revision, upgrade
from oneself.database.postgresql import Postgresql
from oneself.http.response.error_handler import refusal_of
from oneself.runtime.jobs import run_act, run_alone
from oneself.runtime.key_file import UnknownRootKey, check_root_key
from tests.support.deadlines import patient
from tests.support.postgresql import direct_connection

LONG_AGO = "2000-01-01 00:00:00+00"
SHORT_TIMEOUT = 300  # milliseconds, for waits that must time out


@pytest.fixture
def location(server_location):
    """A PostgreSQL database, regardless of the one chosen for the other tests."""
    return server_location


@pytest.fixture
def open_database(location, keys, clock, monkeypatch):
    """Opens the database with options of the test's choice.

    No connection is set aside, as one would be for a thread that a busy machine does not run.
    """
    monkeypatch.setattr("oneself.database.connection_slots._SLOW_SECONDS", 1000.0)
    databases = []

    def open_database(url=location, **options):
        limits = Limits(password_cost=4)
        databases.append(Database(url, keys=keys, limits=limits, clock=clock, **options))
        return databases[-1]

    yield open_database
    for database in databases:
        database.close()


@pytest.fixture
def server(location):
    """Runs a statement on the server, over a connection of its own."""
    engine = open_engine(location)
    with engine.connect() as connection:
        yield lambda statement: connection.exec_driver_sql(statement).scalar()
    engine.dispose()


def _query(database, statement, *, writing=False):
    with database.transaction(writing=writing) as session:
        return session.core.exec_driver_sql(statement).scalar()


def _tenant(session, name):
    session.add(Tenant(id=name, uuid=name, display_name="0", created_at=session.now))
    session.flush()


def _add_one(session, name):
    """Read, add and write without a lock."""
    row = session.get_one(Tenant, name)
    row.display_name = str(int(row.display_name) + 1)
    session.flush()


def _count(env, name):
    return next(int(row["display_name"]) for row in env.rows("tenant") if row["id"] == name)


# Connection settings


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
def test_every_connection_has_timeouts(database, run_in_thread, name, expected):
    """DB-12: the first and each further one, reading and writing."""
    for writing in (False, True):
        assert _query(database, f"SHOW {name}", writing=writing) == expected
        assert run_in_thread(_query, database, f"SHOW {name}", writing=writing) == expected


def test_options_of_the_url_override_ours(open_database, location):
    """DB-12: only those that the URL names."""
    options = {"options": "-c statement_timeout=77s", "application_name": "mine"}
    database = open_database(location.update_query_dict(options))
    assert _query(database, "SHOW statement_timeout") == "77s"
    assert _query(database, "SHOW lock_timeout") == "5s"
    assert _query(database, "SHOW application_name") == "mine"


@pytest.mark.parametrize(("text", "threshold"), [("none", None), ("0", 0), ("7", 7)])
def test_prepare_threshold_is_passed_to_the_driver(open_database, location, text, threshold):
    """For poolers that share connections."""
    database = open_database(location.update_query_dict({"prepare_threshold": text}))
    with database.transaction(writing=False) as session:
        assert session.connection().connection.dbapi_connection.prepare_threshold == threshold
    for _ in range(10):
        prepared = _query(database, "SELECT count(*) FROM pg_prepared_statements")
    assert bool(prepared) == (threshold is not None)


def test_no_transaction_is_nonblocking(database):
    """DB-11: a server may take its time, so only threads use it."""
    assert database.is_nonblocking is False


# Number of connections


def test_number_of_connections_is_bounded(open_database, server):
    """DB-11: eight threads take turns with two connections, and with one more that only reads."""
    database = open_database(connections=2)
    ready = threading.Barrier(8)

    def ask(_):
        ready.wait(patient(30))
        return [_query(database, "SELECT pg_backend_pid()") for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        used = {pid for pids in threads.map(ask, range(8)) for pid in pids}
    assert len(used) <= 3
    assert server("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") <= 4


def test_waiting_for_a_connection_times_out(open_database, run_in_thread):
    """DB-11: with a 503; later transactions get the connection."""
    database = open_database(connections=1, timeout=SHORT_TIMEOUT)
    with database.transaction(writing=True), pytest.raises(Unavailable):
        run_in_thread(_query, database, "SELECT 1", writing=True)
    with (
        database.transaction(writing=False),
        database.transaction(writing=False),
        pytest.raises(Unavailable),
    ):
        run_in_thread(_query, database, "SELECT 1")
    assert run_in_thread(_query, database, "SELECT 1", writing=True) == 1


def test_slow_work_holds_no_connection(open_database, run_in_thread):
    """DB-11: another thread can use it meanwhile."""
    database = open_database(connections=1, timeout=SHORT_TIMEOUT)
    with database.transaction(writing=True) as session:
        with session.outside_transaction():
            assert run_in_thread(_query, database, "SELECT 1", writing=True) == 1
        with pytest.raises(Unavailable):
            run_in_thread(_query, database, "SELECT 1", writing=True)


def test_failed_connection_attempt_frees_its_slot(open_database, location):
    """DB-12."""
    database = open_database(location.set(port=1), connections=1, timeout=SHORT_TIMEOUT)
    for _ in range(3):
        with pytest.raises(OperationalError) as refused:
            _query(database, "SELECT 1")
        assert is_database_unavailable(refused.value)


# Begin and end of a transaction


def test_read_begins_no_transaction(database, server):
    """It saves two round trips."""
    with database.transaction(writing=False) as session:
        session.core.exec_driver_sql("SELECT 1")
        state = "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
        assert server(f"{state} AND pid <> pg_backend_pid()") == "idle"


def test_snapshot_sees_one_moment_and_is_read_only(env, run_in_thread):
    """DB-18."""
    with env.database.transaction(writing=False, snapshot=True) as session:
        assert session.exec(select(Tenant)).all() == []
        run_in_thread(env.act, _tenant, "tnt_1")
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
def test_server_error_shows_no_value(env, statement):
    """LO-01: the server's own message has the whole rejected row."""
    env.execute("INSERT INTO tenant VALUES ('tnt_1', 'uuid', 'A', now())")
    with pytest.raises(DBAPIError) as failed:
        env.execute(statement)
    text = "".join(format_exception(failed.value))
    assert "canary" not in text.replace(statement, "")


def test_suppressed_statement_failure_prevents_the_commit(env):
    """DB-04: the server would accept COMMIT, roll back, and report success."""

    def suppress_failure(session):
        _tenant(session, "tnt_1")
        with pytest.raises(DBAPIError):
            session.core.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="a statement failed"):
        env.act(suppress_failure)
    assert env.count("tenant") == 0
    env.act(_tenant, "tnt_1")


# Locks


def test_lock_is_held_until_the_end_of_the_transaction(database, open_database, run_in_thread):
    """DB-02: by one transaction at a time; other names are free."""
    impatient = open_database(timeout=SHORT_TIMEOUT)

    def lock(name):
        with impatient.transaction(writing=True) as session:
            session.lock(name)
            session.lock(name)
            session.core.exec_driver_sql("SELECT 1")
            return True

    with database.transaction(writing=True) as session:
        session.lock("a")
        session.core.exec_driver_sql("SELECT 1")
        assert run_in_thread(lock, "b")
        with pytest.raises(OperationalError) as refused:
            run_in_thread(lock, "a")
        assert isinstance(refusal_of(refused.value), Unavailable)
    assert run_in_thread(lock, "a")


def test_slow_work_releases_locks(database, run_in_thread):
    """DB-11: they have to be taken again afterwards."""

    def lock():
        with database.transaction(writing=True) as session:
            return session.try_lock("a")

    with database.transaction(writing=True) as session:
        session.lock("a")
        session.core.exec_driver_sql("SELECT 1")
        assert run_in_thread(lock) is False
        with session.outside_transaction():
            assert run_in_thread(lock) is True
        assert run_in_thread(lock) is True
        session.lock("a")
        session.core.exec_driver_sql("SELECT 1")
        assert run_in_thread(lock) is False


def test_job_is_run_by_one_replica_at_a_time(database, open_database):
    """The other replica skips it until the next time."""
    runs = []

    def job(session):
        runs.append(session)
        if len(runs) == 1:
            run_alone(open_database(), "a job", job)

    run_alone(database, "a job", job)
    assert len(runs) == 1
    run_alone(database, "a job", job)
    assert len(runs) == 2


def test_readers_do_not_wait(database, run_in_thread):
    """DB-01: they see what was committed, and hold no lock."""
    with database.transaction(writing=True) as session:
        session.lock("a")
        _tenant(session, "tnt_1")
        assert run_in_thread(_query, database, "SELECT count(*) FROM tenant") == 0
    assert run_in_thread(_query, database, "SELECT count(*) FROM tenant") == 1


# Retries


def _update_in_order(first, second, met):
    """Update two rows, in this order, once both transactions have updated their first."""

    def add_one(session, name):
        session.core.exec_driver_sql(
            "UPDATE tenant SET display_name = display_name::int + 1 WHERE id = %s", (name,)
        )

    def act(session):
        add_one(session, first)
        with suppress(threading.BrokenBarrierError):  # at the retry it is alone
            met.wait(patient(5))
        met.abort()
        add_one(session, second)

    return act


def test_deadlock_is_retried(env):
    """DB-10: both transactions succeed, one of them later."""
    for name in ("tnt_1", "tnt_2"):
        env.act(_tenant, name)
    met = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        for update in [
            threads.submit(run_act, env.database, _update_in_order(*names, met))
            for names in (("tnt_1", "tnt_2"), ("tnt_2", "tnt_1"))
        ]:
            update.result(30)
    assert (_count(env, "tnt_1"), _count(env, "tnt_2")) == (2, 2)


def test_serialization_failure_is_retried(env, open_database, location):
    """DB-10: four threads add one thirty times each, and the server rejects some of them."""
    env.act(_tenant, "tnt_1")
    options = {"options": r"-c default_transaction_isolation=serializable"}
    database = open_database(location.update_query_dict(options))
    threads, rounds, failures = 4, 30, []
    ready = threading.Barrier(threads)

    def act(session):
        try:
            _add_one(session, "tnt_1")
        except DBAPIError as error:
            failures.append(error.orig.sqlstate)
            raise

    def add(_):
        ready.wait(patient(30))
        done = 0
        while done < rounds:
            try:
                run_act(database, act)
            except OperationalError:  # retried too often; a client would get a 503
                continue
            done += 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(threads)))
    assert set(failures) == {"40001"}
    assert _count(env, "tnt_1") == threads * rounds


def test_retries_are_bounded(env):
    """DB-10: the response is a 503 after five attempts."""
    attempts = []

    def act(session):
        attempts.append(session)
        session.core.exec_driver_sql(
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$"
        )

    with pytest.raises(OperationalError) as failed:
        run_act(env.database, act)
    assert len(attempts) == 5
    assert isinstance(refusal_of(failed.value), Unavailable)


@pytest.mark.parametrize("error", [NotFound, ValueError])
def test_own_errors_are_not_retried(env, error):
    """DB-10: neither refusals nor unexpected errors."""
    attempts = []

    def act(session):
        attempts.append(session)
        raise error

    with pytest.raises(error):
        run_act(env.database, act)
    assert len(attempts) == 1


# Failures of the server


def _break_connections(server):
    server(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize("writing", [True, False])
def test_connections_broken_by_a_restart_cost_one_retry(open_database, server, writing):
    """DB-12: the first to notice retries, and closes all idle ones."""
    database = open_database()
    with ThreadPoolExecutor(4) as threads:
        ready = threading.Barrier(4)

        def use_connection(_):
            with database.transaction(writing=False) as session:
                ready.wait(patient(30))
                return session.core.exec_driver_sql("SELECT 1").scalar()

        list(threads.map(use_connection, range(4)))
    _break_connections(server)
    attempts = []

    def work():
        attempts.append(1)
        return _query(database, "SELECT 1", writing=writing)

    assert database.attempt(work) == 1
    assert len(attempts) == 2
    assert database.attempt(work) == 1
    assert len(attempts) == 3


def test_act_is_retried_when_its_connection_breaks_half_way(env, server):
    """DB-12: nothing of the first attempt is left."""
    attempts = []

    def act(session):
        attempts.append(session)
        _tenant(session, f"tnt_{len(attempts)}")
        if len(attempts) == 1:
            _break_connections(server)
        session.core.exec_driver_sql("SELECT 1")

    run_act(env.database, act)
    assert [row["id"] for row in env.rows("tenant")] == ["tnt_2"]


def test_write_leaves_a_server_that_became_read_only(open_database, location):
    """DB-12, scale-out P2: after a switchover the idle connections still lead to the old leader."""
    change = f'ALTER DATABASE "{location.database}"'
    with direct_connection(location) as operator:
        operator.execute(f"{change} SET default_transaction_read_only = on".encode())
        database = open_database()
        ready = threading.Barrier(2)

        def read():
            with database.transaction(writing=False) as session:
                ready.wait(30)
                return session.core.exec_driver_sql("SHOW transaction_read_only").scalar()

        with ThreadPoolExecutor(2) as threads:
            reads = [threads.submit(read) for _ in range(2)]
        assert [each.result() for each in reads] == ["on", "on"]
        operator.execute(f"{change} RESET default_transaction_read_only".encode())
    attempts = []

    def act(session):
        attempts.append(session)
        _tenant(session, "tnt_1")

    run_act(database, act)
    assert len(attempts) == 2  # the second idle connection is closed unused
    assert _query(database, "SHOW transaction_read_only") == "off"


def test_act_is_retried_when_its_connection_breaks_before_the_commit(env, server):
    """DB-12: the server knows that it was not committed."""
    attempts = []

    def act(session):
        attempts.append(session)
        _tenant(session, f"tnt_{len(attempts)}")
        if len(attempts) == 1:
            _break_connections(server)

    run_act(env.database, act)
    assert [row["id"] for row in env.rows("tenant")] == ["tnt_2"]


@pytest.fixture
def connections(location):
    """The connections of a database, as its transactions use them."""
    opened = Postgresql(location, timeout=SHORT_TIMEOUT, connections=2)
    yield opened
    opened.close()


def _begin_writing(connections):
    connection = connections.take(blocking=True)
    begun = connections.begin(connection, writing=True, snapshot=False)
    connection.exec_driver_sql("SELECT 1")
    return connection, begun.identity


def _commit(connections):
    """Commit a transaction that writes nothing; return what is asked for."""
    connection, transaction = _begin_writing(connections)
    connection.commit()
    connections.give_back(connection)
    return transaction


def test_connection_can_be_taken_while_it_is_given_back(connections, monkeypatch):
    """DB-11: another thread takes it as soon as it is idle."""
    taken = []

    class Idle(deque):
        def append(self, connection):
            super().append(connection)
            taken.append(connections.take(blocking=False))

    connection = connections.take(blocking=False)
    with monkeypatch.context() as patch:
        patch.setattr(connections, "_idle", Idle())
        connections.give_back(connection)
    assert taken == [connection]
    connections.give_back(connection)
    in_use = [connections.take(blocking=False) for _ in range(2)]
    for each in in_use:
        connections.give_back(each)


def test_outcome_of_a_commit_can_be_asked_for(connections):
    """DB-12: after a commit nothing is to be done; after a rollback the act is retried."""
    connections.require_committed(_commit(connections), None)
    connection, rolled_back = _begin_writing(connections)
    connection.rollback()
    connections.give_back(connection)
    with pytest.raises(OperationalError) as failed:
        connections.require_committed(rolled_back, None)
    assert can_retry(failed.value)


@pytest.mark.parametrize(
    "failure",
    [
        psycopg.OperationalError("cannot exit pipeline mode while busy"),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
    ],
    ids=repr,
)
def test_commit_is_in_doubt_before_the_end_of_the_connection_is_seen(connections, failure):
    """DB-12: a shutdown is announced first, and the COMMIT of a pipeline may have been done."""
    connection, _identity = _begin_writing(connections)
    driver = connection.connection.dbapi_connection
    driver.defer("SELECT 1")
    driver.fail_next(failure)
    with pytest.raises(OperationalError) as failed:
        connection.commit()
    assert failed.value.connection_invalidated
    connections.roll_back(connection)
    connections.give_back(connection)


@pytest.mark.parametrize("part", ["time", "server"])
def test_outcome_is_unknown_when_the_server_may_have_lost_it(connections, part, caplog):
    """DB-12: it has crashed since, or is another, and gives the number to another transaction."""
    number, began_at, started_at = _commit(connections).split("|")
    if part == "time":
        began_at = LONG_AGO  # before the last reset of the statistics
    else:
        started_at = LONG_AGO
    with pytest.raises(OutcomeUnknown) as unknown:
        connections.require_committed(f"{number}|{began_at}|{started_at}", None)
    assert unknown.value.is_settled
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_event_decides_when_the_server_may_have_lost_the_transaction(env, connections):
    """DB-12: an event is never deleted, so without it there is no transaction."""
    number, _, _ = _commit(connections).split("|")
    elsewhere = f"{number}|{LONG_AGO}|{LONG_AGO}"
    with env.database.transaction(writing=True) as session:
        _tenant(session, "tnt_1")
        record_administration(session, "tnt_1", "tested")
        written = session.event_id
    assert written is not None
    connections.require_committed(elsewhere, written)
    with pytest.raises(OperationalError) as failed:
        connections.require_committed(elsewhere, "0" * len(written))
    assert can_retry(failed.value)


def test_commit_in_progress_is_waited_for(connections):
    """DB-12: the server may still be committing when the connection breaks."""
    connection, transaction = _begin_writing(connections)
    with ThreadPoolExecutor(1) as thread:
        outcome = thread.submit(connections.require_committed, transaction, None)
        time.sleep(0.1)
        assert not outcome.done()
        connection.commit()
        outcome.result(30)
    connections.give_back(connection)


def test_commit_that_does_not_end_is_unknown(connections, monkeypatch):
    """DB-12: nor is it retried, since it may still end either way."""
    monkeypatch.setattr(outcomes, "_ASK_SECONDS", 0)
    connection, transaction = _begin_writing(connections)
    with pytest.raises(OutcomeUnknown) as unknown:
        connections.require_committed(transaction, None)
    connections.roll_back(connection)
    connections.give_back(connection)
    assert not unknown.value.is_settled
    assert unknown.value.reason == "in progress"


def test_outcome_is_unknown_when_no_server_answers(location, monkeypatch):
    """DB-12."""
    monkeypatch.setattr(outcomes, "_ASK_SECONDS", 0)
    gone = Postgresql(location.set(port=1), timeout=SHORT_TIMEOUT, connections=1)
    with pytest.raises(OutcomeUnknown) as unknown:
        gone.require_committed(f"1|{LONG_AGO}|{LONG_AGO}", None)
    gone.close()
    assert not unknown.value.is_settled


def test_slow_statement_times_out(open_database):
    """DB-12: with a 503, and the connection stays usable."""
    database = open_database(timeout=SHORT_TIMEOUT)
    start = time.monotonic()
    with pytest.raises(OperationalError) as ended:
        _query(database, "SELECT pg_sleep(30)")
    assert time.monotonic() - start < patient(20)
    assert isinstance(refusal_of(ended.value), Unavailable)
    assert _query(database, "SELECT 1") == 1


def test_idle_transaction_times_out(open_database):
    """DB-12: its locks are released, and its next statement fails."""
    database = open_database(timeout=100)

    def sleep():
        with database.transaction(writing=True) as session:
            session.core.exec_driver_sql("SELECT 1")
            time.sleep(1)
            session.core.exec_driver_sql("SELECT 1")

    with pytest.raises(DBAPIError) as ended:
        sleep()
    assert is_database_unavailable(ended.value)


def test_read_only_server_returns_503(env):
    """DB-06: as a standby is, until it takes over."""

    def write(session):
        session.core.exec_driver_sql("SET TRANSACTION READ ONLY")
        _tenant(session, "tnt_1")

    with pytest.raises(DBAPIError) as refused:
        env.act(write)
    assert isinstance(refusal_of(refused.value), Unavailable)


def test_database_without_tables_returns_503(env):
    """DB-15: it is about to be migrated or restored."""
    with pytest.raises(DBAPIError) as refused:
        _query(env.database, "SELECT * FROM nowhere")
    assert isinstance(refusal_of(refused.value), Unavailable)


@pytest.mark.parametrize("table", ["security_event", "event_link", "event_seal"])
def test_events_cannot_be_truncated(env, table):
    """LO-04: TRUNCATE fires no row trigger, and so has a trigger of its own."""
    with pytest.raises(IntegrityError, match="only ever added"):
        env.execute(f"TRUNCATE {table}")


# Concurrent starts


def test_concurrent_migrations_run_once(servers):
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


def test_concurrent_first_starts_create_one_signing_key(env, open_database):
    """JW-08: two keys would both sign."""
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: run_act(open_database(), ensure_signing_key), range(3)))
    assert env.count("signing_key") == 1


@pytest.mark.parametrize("is_same", [True, False])
def test_concurrent_first_starts_accept_one_root_secret(env, location, is_same):
    """PW-17: another secret is rejected, the same one is accepted."""
    roots = [b"a" * 32] * 3 if is_same else [letter * 32 for letter in (b"a", b"b", b"c")]
    ready = threading.Barrier(3)

    def start(root):
        database = Database(location, keys=Keyring(root), limits=env.limits)
        ready.wait(patient(30))
        try:
            check_root_key(database)
        except UnknownRootKey:
            return False
        finally:
            database.close()
        return True

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(start, roots)) == (3 if is_same else 1)
    assert env.count("root_key") == 1


def test_concurrent_signups_with_one_address_create_one_account(env):
    """UN-01: the others are refused, and get no 500."""
    ready = threading.Barrier(4)

    def sign_up_as(number):
        ready.wait(patient(30))
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
        assert sum(threads.map(sign_up_as, range(4))) == 1
    assert (env.count("user"), env.count("tenant")) == (1, 1)


def test_concurrent_signups_with_one_local_part_get_different_usernames(env):
    """UN-02."""
    ready = threading.Barrier(4)

    def sign_up_at(number):
        ready.wait(patient(30))
        env.act(
            sign_up,
            email=f"alice@{number}.example.com",
            password=f"Violet tangent 47 harbour {number}",
            display_name="A",
            tenant_name="B",
            user_agent=None,
        )

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(sign_up_at, range(4)))
    assert len({row["username"] for row in env.rows("user")}) == 4
