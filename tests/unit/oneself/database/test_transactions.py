"""Transactions: what is committed, what is rolled back, and which waits for which."""

import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from traceback import format_exception

import pytest
from sqlalchemy import Engine, bindparam, column, event, table
from sqlalchemy import select as sql_select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError
from sqlmodel import col, select

from accounts.crypto.keyring import Keyring
from accounts.errors import NotFound, Unavailable
from accounts.limits import Limits
from accounts.services.user_views import USER_VIEW_COLUMNS
from models import Tenant, User
from oneself.database import Database, open_engine, sqlite_driver
from tests.support.deadlines import patient
from tests.support.refusals import CountedAttempt

#: One writer at a time, and a connection per thread; PostgreSQL is tested in test_postgresql.py.
only_on_sqlite = pytest.mark.only_on("sqlite")


def _tenant(session, number=1):
    tenant = Tenant(
        id=f"tnt_{number:012}", uuid=f"uuid-{number}", display_name="A", created_at=session.now
    )
    session.add(tenant)
    session.flush()
    return tenant


def _pragmas(session):
    names = ("busy_timeout", "journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    return {name: session.core.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


def _transactions(database):
    """Yield a transaction on each kind of connection, twice."""
    for blocking in (True, False, True, False):
        yield database.transaction(writing=False, blocking=blocking)


def test_writes_of_an_act_are_committed(env, run_in_thread):
    """Another connection sees them at once."""
    env.act(_tenant)
    assert run_in_thread(env.count, "tenant") == 1


@pytest.mark.parametrize("error", [NotFound, ValueError, KeyboardInterrupt, IntegrityError])
def test_exception_rolls_back(env, run_in_thread, error):
    """Rows of the session and of the connection below it alike (DB-04)."""
    arguments = ("", {}, Exception()) if error is IntegrityError else ()

    def fail(session):
        _tenant(session)
        session.core.exec_driver_sql(
            "INSERT INTO tenant SELECT 'tnt_2', 'uuid-2', 'B', created_at, NULL FROM tenant"
        )
        raise error(*arguments)

    with pytest.raises(error):
        env.act(fail)
    assert run_in_thread(env.count, "tenant") == env.count("tenant") == 0
    env.act(_tenant)


def test_refusal_with_keep_writes_commits(env, run_in_thread):
    """Failed attempts are counted although the act is refused (LG-04)."""

    def refuse(session):
        _tenant(session)
        session.add(Tenant(id="tnt_2", uuid="uuid-2", display_name="B", created_at=session.now))
        raise CountedAttempt

    with pytest.raises(CountedAttempt):
        env.act(refuse)
    assert run_in_thread(env.count, "tenant") == 2


def test_failed_flush_at_the_end_rolls_back(env):
    """Rows that were only added are written at the end, all or none (DB-04)."""

    def add(session):
        session.core.exec_driver_sql(
            "INSERT INTO tenant VALUES ('tnt_1', 'uuid-1', 'A', '2026-01-01', NULL)"
        )
        session.add(Tenant(id="tnt_1", uuid="uuid-2", display_name="B", created_at=session.now))

    with pytest.raises(IntegrityError):
        env.act(add)
    assert env.count("tenant") == 0


@only_on_sqlite
def test_failed_commit_releases_the_write_lock(env, run_in_thread):
    """DB-04: SQLite leaves the transaction open, and other writers would wait."""

    def violate_foreign_key(session):
        session.core.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        session.core.exec_driver_sql(
            "INSERT INTO user_settings VALUES ('usr_none', '{}', '2026-04-05')"
        )

    with pytest.raises(IntegrityError):
        env.act(violate_foreign_key)
    run_in_thread(env.act, _tenant, 1)
    env.act(_tenant, 2)
    assert (env.count("tenant"), env.count("user_settings")) == (2, 0)


def test_foreign_keys_are_enforced(env):
    """They are off in SQLite by default (DB-01)."""

    def add(session):
        session.add(
            User(
                id="usr_1",
                uuid="uuid-1",
                external_id="1",
                tenant_id="tnt_1",
                email="a@example.com",
                email_canonical="a@example.com",
                username="a",
                roles=[],
                created_at=session.now,
            )
        )

    with pytest.raises(IntegrityError):
        env.act(add)


@only_on_sqlite
def test_pragmas_are_set_on_every_connection(database):
    """Of each thread, blocking or not (DB-01)."""

    def check(_):
        for transaction in _transactions(database):
            with transaction as session:
                pragmas = _pragmas(session)
            assert pragmas.pop("busy_timeout") in {0, 5000}
            assert pragmas == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "trusted_schema": 0,
            }

    for _ in range(3):
        check(None)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(check, range(8)))


@only_on_sqlite
@pytest.mark.parametrize(("blocking", "milliseconds"), [(True, 5000), (False, 0)])
def test_only_blocking_connections_wait(database, blocking, milliseconds):
    """The event loop must not (DB-01)."""
    with database.transaction(writing=False, blocking=blocking) as session:
        assert _pragmas(session)["busy_timeout"] == milliseconds


@only_on_sqlite
def test_sqlite_version_has_no_corruption_bug(database):
    """Below 3.53 a reset of the write-ahead log can corrupt the file (DB-03)."""
    with database.transaction(writing=False) as session:
        used = session.core.exec_driver_sql("SELECT sqlite_version()").scalar()
    assert used == sqlite_driver().sqlite_version
    assert tuple(map(int, used.split("."))) >= (3, 53)


def test_standard_library_driver_is_the_fallback(monkeypatch):
    """DB-03: on platforms without a wheel of the newer one."""
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    assert sqlite_driver() is sqlite3


@only_on_sqlite
def test_threads_keep_their_connections(database, run_in_thread):
    """Each has a blocking and a nonblocking one."""

    def connections():
        connections_used = []
        for transaction in _transactions(database):
            with transaction as session:
                connections_used.append(session.core)
        return connections_used

    first, second = connections(), connections()
    assert first == second
    assert len(set(first)) == 2
    assert set(first).isdisjoint(run_in_thread(connections))


def test_closed_connection_is_replaced(database):
    with database.transaction(writing=False) as session:
        closed = session.core
    closed.close()
    with database.transaction(writing=False) as session:
        assert session.core is not closed
        assert session.core.exec_driver_sql("SELECT 1").scalar() == 1


def test_broken_connection_is_replaced(database):
    with database.transaction(writing=False) as session:
        broken = session.core
    broken.invalidate()
    with database.transaction(writing=False) as session:
        assert session.core is not broken


def test_close_closes_the_connections_of_every_thread(database, run_in_thread):
    def connection():
        with database.transaction(writing=True) as session:
            return session.core

    connections = [connection(), run_in_thread(connection)]
    database.close()
    assert all(closed.closed for closed in connections)


def test_now_is_constant_within_a_transaction(env, clock):
    """DB-18."""
    with env.database.transaction(writing=False) as session:
        start = clock.now
        clock.move(seconds=5)
        assert session.now == start
    with env.database.transaction(writing=False) as session:
        assert session.now == clock.now


def test_default_clock_is_utc(location):
    """DB-18."""
    database = Database(location, keys=Keyring(b"x" * 32), limits=Limits())
    with database.transaction(writing=False) as session:
        assert session.now.tzinfo is UTC
        assert abs(session.now - datetime.now(UTC)) < timedelta(minutes=1)
    database.close()


def test_naive_datetime_is_rejected(env):
    """DB-18: the moment that it means is ambiguous."""

    def add(session):
        naive = session.now.replace(tzinfo=None)
        session.add(Tenant(id="tnt_1", uuid="uuid-1", display_name="A", created_at=naive))

    with pytest.raises(StatementError, match="without an offset"):
        env.act(add)
    assert env.count("tenant") == 0


def test_error_of_a_failed_statement_hides_its_parameters(env):
    """They would be logged (LO-01)."""
    secret = "canary" * 2  # built here, since a traceback quotes the lines of this test
    with pytest.raises(DBAPIError) as failed:
        env.execute("UPDATE nowhere SET password = ?", secret)
    assert secret not in "".join(format_exception(failed.value))
    with pytest.raises(IntegrityError) as failed:
        env.execute("INSERT INTO tenant (id) VALUES (?)", secret)
    assert secret not in "".join(format_exception(failed.value))


@only_on_sqlite
def test_writer_locks_out_other_writers(database, run_in_thread):
    """From the beginning of the transaction, before it reads (DB-01)."""

    def write():
        with database.transaction(writing=True, blocking=False):
            return True

    with database.transaction(writing=True), pytest.raises(OperationalError, match="locked"):
        run_in_thread(write)
    with database.transaction(writing=False):
        assert run_in_thread(write)


def test_readers_are_not_locked_out(env, run_in_thread):
    """They see the state before the write (DB-01)."""

    def read():
        with env.database.transaction(writing=False, blocking=False) as session:
            return len(session.exec(select(Tenant)).all())

    with env.database.transaction(writing=True) as session:
        _tenant(session)
        assert run_in_thread(read) == 0
    assert run_in_thread(read) == 1


@only_on_sqlite
def test_nonblocking_write_fails_at_once_when_locked(database, run_in_thread):
    """It can begin again on the same connection after that (DB-05)."""

    def write():
        began = time.perf_counter()
        with pytest.raises(OperationalError), database.transaction(writing=True, blocking=False):
            pass
        return time.perf_counter() - began

    def write_again():
        with database.transaction(writing=True, blocking=False) as session:
            return session.core

    before = run_in_thread(write_again)
    with database.transaction(writing=True):
        assert run_in_thread(write) < 0.5
        assert not before.in_transaction()
    assert run_in_thread(write_again) is before


@only_on_sqlite
def test_blocking_write_fails_after_the_timeout(location):
    """DB-05: the timeout is in milliseconds."""
    holder, waiter = open_engine(location), open_engine(location, timeout=200)
    with holder.connect() as locking, waiter.connect() as blocking:
        locking.exec_driver_sql("BEGIN IMMEDIATE")
        start = time.perf_counter()
        with pytest.raises(OperationalError, match="locked"):
            blocking.exec_driver_sql("BEGIN IMMEDIATE")
        assert 0.15 < time.perf_counter() - start < patient(3)


@only_on_sqlite
def test_blocking_write_continues_when_the_lock_is_released(env, run_in_thread):
    """DB-05."""
    with ThreadPoolExecutor(1) as thread:
        with env.database.transaction(writing=True) as session:
            _tenant(session, 1)
            second = thread.submit(env.act, _tenant, 2)
            time.sleep(0.05)
            assert not second.done()
        second.result(10)
    assert run_in_thread(env.count, "tenant") == 2


def test_concurrent_updates_are_not_lost(env):
    """Four threads read, add one and write, fifty times each (DB-02)."""
    tenant = env.act(_tenant)
    env.execute("UPDATE tenant SET display_name = '0'")
    threads, rounds = 4, 50
    ready = threading.Barrier(threads)

    def count(_):
        ready.wait(patient(30))
        for _ in range(rounds):
            with env.database.transaction(writing=True) as session:
                session.lock("count")
                row = session.get_one(Tenant, tenant.id)
                row.display_name = str(int(row.display_name) + 1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(threads)))
    assert env.rows("tenant")[0]["display_name"] == str(threads * rounds)


@pytest.mark.parametrize("writing", [True, False])
def test_slow_work_holds_no_lock(env, run_in_thread, writing):
    """Another thread can write meanwhile, and the act sees it afterwards (DB-11)."""
    with env.database.transaction(writing=writing, blocking=False) as session:
        assert session.exec(select(Tenant)).all() == []
        with session.outside_transaction():
            assert not session.core.in_transaction()
            run_in_thread(env.act, _tenant, 1)
        assert len(session.exec(select(Tenant)).all()) == 1
        _tenant(session, 2)
    assert run_in_thread(env.count, "tenant") == 2


@only_on_sqlite
def test_transaction_after_slow_work_is_a_writing_one(database, run_in_thread):
    """Also if the one before it was not (DB-01)."""

    def write():
        with database.transaction(writing=True, blocking=False):
            pass

    with database.transaction(writing=False) as session:
        with session.outside_transaction():
            run_in_thread(write)
        with pytest.raises(OperationalError):
            run_in_thread(write)


def test_failed_slow_work_leaves_no_open_transaction(env, run_in_thread):
    def fail(session):
        with session.outside_transaction():
            raise NotFound

    with pytest.raises(NotFound):
        env.act(fail)
    run_in_thread(env.act, _tenant)
    assert env.count("tenant") == 1


def test_refusal_during_slow_work_commits_no_other_transaction(env):
    """DB-04: also with `keep_writes`; the connection may be in use by another transaction."""

    def be_refused(others):
        database = env.database
        with database.transaction(writing=True) as session, session.outside_transaction():
            _tenant(others.enter_context(database.transaction(writing=True)))
            raise CountedAttempt

    def go_wrong():
        with ExitStack() as others:
            with pytest.raises(CountedAttempt):
                be_refused(others)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        go_wrong()
    assert env.count("tenant") == 0


@only_on_sqlite
def test_nonblocking_act_fails_when_locked_after_slow_work(database, location):
    """DB-05."""
    other = open_engine(location, timeout=0)
    with other.connect() as locking:
        with (
            pytest.raises(OperationalError, match="locked"),
            database.transaction(writing=False, blocking=False) as session,
            session.outside_transaction(),
        ):
            locking.exec_driver_sql("BEGIN IMMEDIATE")
        locking.rollback()
    with database.transaction(writing=True, blocking=False):
        pass


def test_refusal_after_slow_work_rolls_back(env):
    """DB-04."""

    def refuse(session):
        with session.outside_transaction():
            pass
        _tenant(session)
        raise NotFound

    with pytest.raises(NotFound):
        env.act(refuse)
    assert env.count("tenant") == 0


def _with_short_timeout(env):
    """Open the same database with a timeout of half a second."""
    keys, limits = Keyring(bytes(range(32))), Limits()
    return Database(env.location, keys=keys, limits=limits, timeout=500)


@only_on_sqlite
def test_failed_write_releases_the_write_lock(env, run_in_thread):
    """DB-05: after an exception, and after a timeout behind another process."""
    database = _with_short_timeout(env)

    def write():
        with database.transaction(writing=True) as session:
            return len(session.exec(select(Tenant)).all())

    with (
        env.database.transaction(writing=True),
        pytest.raises(OperationalError, match="locked"),
        database.transaction(writing=True),
    ):
        pass
    with pytest.raises(NotFound), database.transaction(writing=True):
        raise NotFound
    assert run_in_thread(write) == 0
    database.close()


@only_on_sqlite
def test_waiting_for_a_writing_thread_times_out(env, run_in_thread):
    """DB-05: as waiting for another process does."""
    database = _with_short_timeout(env)

    def write():
        with database.transaction(writing=True):
            pass

    with database.transaction(writing=True), pytest.raises(Unavailable):
        run_in_thread(write)
    assert run_in_thread(write) is None
    database.close()


def test_single_reading_leaves_no_open_transaction(env):
    """With statements run by the driver and, with a listener or after a failure, by SQLAlchemy."""
    tenant_ids = sql_select(table("tenant", column("id")).c.id)
    env.act(_tenant)

    def on_execute(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    statements = []
    for listening in (False, True):
        if listening:
            event.listen(Engine, "before_cursor_execute", on_execute)
        with env.database.reading() as reading:
            assert [list(row) for row in reading.rows(tenant_ids, {})] == [["tnt_000000000001"]]
            assert reading.observed == []
            reading.observed.append("seen")
        with pytest.raises(DBAPIError), env.database.reading() as reading:
            reading.rows(sql_select(column("nothing")), {})
    event.remove(Engine, "before_cursor_execute", on_execute)
    assert len(statements) == 2
    # A writer does not have to wait.
    env.act(_tenant, 2)
    assert env.count("tenant") == 2


def test_sessions_are_not_reused(env):
    """DB-04: pending objects and listeners of one session are not in the next."""

    def fail(session):
        session.add(Tenant(id="tnt_1", uuid="1", display_name="A", created_at=session.now))
        event.listen(session, "after_commit", commits.append, once=True)
        raise NotFound

    commits = []
    with pytest.raises(NotFound):
        env.act(fail)
    assert env.act(list) == []
    assert env.count("tenant") == 0
    assert commits == []


def test_prepared_statement_returns_the_same_values_as_sqlalchemy(env, alice):
    """Timestamps, lists and booleans are converted by their columns' types."""
    statement = (
        sql_select(*USER_VIEW_COLUMNS, col(User.created_at))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(col(User.email) == bindparam("email"), col(User.created_at) <= bindparam("now"))
    )

    def read(session):
        parameters = {"email": "alice@example.com", "now": session.now}
        return [*session.rows(statement, parameters)], session.core.execute(
            statement, parameters
        ).all()

    [prepared], [executed] = env.act(read)
    assert tuple(prepared) == tuple(executed)
    assert prepared[0] == alice.user_id


@pytest.mark.parametrize("writing", [False, True])
def test_failed_prepared_statement_raises_sqlalchemys_error(env, writing):
    """So that it is a 503, or retried, as with any other statement (DB-05)."""
    statement = sql_select(column("id")).select_from(table("nowhere"))
    with (
        pytest.raises(DBAPIError, match="nowhere"),
        env.database.transaction(writing=writing) as session,
    ):
        session.rows(statement, {})
