"""Transactions: what is kept, what is not, and who waits for whom."""

import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
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
from tests.support.refusals import CountedAttempt

#: One writer at a time, and connections of threads; test_postgresql.py has what is there instead.
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


def _beginnings(database):
    """A transaction over each kind of connection, again and again."""
    for blocking in (True, False, True, False):
        yield database.transaction(writing=False, blocking=blocking)


def test_what_an_act_wrote_is_kept(env, elsewhere):
    """Another connection sees it at once."""
    env.act(_tenant)
    assert elsewhere(env.count, "tenant") == 1


@pytest.mark.parametrize("error", [NotFound, ValueError, KeyboardInterrupt, IntegrityError])
def test_an_exception_leaves_no_row(env, elsewhere, error):
    """Rows of the session and of the connection below it are gone alike (DB-04)."""
    arguments = ("", {}, Exception()) if error is IntegrityError else ()

    def fail(session):
        _tenant(session)
        session.core.exec_driver_sql(
            "INSERT INTO tenant SELECT 'tnt_2', 'uuid-2', 'B', created_at, NULL FROM tenant"
        )
        raise error(*arguments)

    with pytest.raises(error):
        env.act(fail)
    assert elsewhere(env.count, "tenant") == env.count("tenant") == 0
    env.act(_tenant)


def test_a_refusal_that_says_so_keeps_what_was_written(env, elsewhere):
    """A counter counts although the act refused (LG-04)."""

    def refuse(session):
        _tenant(session)
        session.add(Tenant(id="tnt_2", uuid="uuid-2", display_name="B", created_at=session.now))
        raise CountedAttempt

    with pytest.raises(CountedAttempt):
        env.act(refuse)
    assert elsewhere(env.count, "tenant") == 2


def test_what_cannot_be_written_at_the_end_leaves_nothing(env):
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
def test_a_commit_that_fails_keeps_nobody_waiting(env, elsewhere):
    """DB-04: SQLite leaves the transaction open then, and everybody else without the write lock."""

    def orphan(session):
        session.core.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        session.core.exec_driver_sql(
            "INSERT INTO user_settings VALUES ('nobody', '{}', '2026-04-05')"
        )

    with pytest.raises(IntegrityError):
        env.act(orphan)
    elsewhere(env.act, _tenant, 1)
    env.act(_tenant, 2)
    assert (env.count("tenant"), env.count("user_settings")) == (2, 0)


def test_a_row_without_its_owner_is_refused(env):
    """Foreign keys are on, which SQLite has off (DB-01)."""

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
def test_every_connection_is_prepared(database):
    """Each thread's, waiting or not, the first and the tenth (DB-01)."""

    def check(_):
        for transaction in _beginnings(database):
            with transaction as session:
                found = _pragmas(session)
            assert found.pop("busy_timeout") in {0, 5000}
            assert found == {
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
def test_only_the_connection_that_may_wait_does(database, blocking, milliseconds):
    """The event loop's must not (DB-01)."""
    with database.transaction(writing=False, blocking=blocking) as session:
        assert _pragmas(session)["busy_timeout"] == milliseconds


@only_on_sqlite
def test_the_library_has_no_bug_that_corrupts_the_file(database):
    """Below 3.53 a reset of the write-ahead log can (DB-03)."""
    with database.transaction(writing=False) as session:
        used = session.core.exec_driver_sql("SELECT sqlite_version()").scalar()
    assert used == sqlite_driver().sqlite_version
    assert tuple(map(int, used.split("."))) >= (3, 53)


def test_the_standard_librarys_driver_stands_in(monkeypatch):
    """Where there is no wheel of the newer one, the service still starts (DB-03)."""
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    assert sqlite_driver() is sqlite3


@only_on_sqlite
def test_a_thread_keeps_its_connection(database, elsewhere):
    """And another thread has another; so have reading that waits and that does not."""

    def connections():
        found = []
        for transaction in _beginnings(database):
            with transaction as session:
                found.append(session.core)
        return found

    first, second = connections(), connections()
    assert first == second
    assert len(set(first)) == 2
    assert set(first).isdisjoint(elsewhere(connections))


def test_a_connection_that_was_closed_is_opened_again(database):
    """Whatever closed it, the next transaction has one."""
    with database.transaction(writing=False) as session:
        lost = session.core
    lost.close()
    with database.transaction(writing=False) as session:
        assert session.core is not lost
        assert session.core.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_connection_that_broke_is_opened_again(database):
    """It is not asked a second time."""
    with database.transaction(writing=False) as session:
        broken = session.core
    broken.invalidate()
    with database.transaction(writing=False) as session:
        assert session.core is not broken


def test_closing_closes_the_connections_of_every_thread(database, elsewhere):
    """The file is nobody's after it."""

    def connection():
        with database.transaction(writing=True) as session:
            return session.core

    held = [connection(), elsewhere(connection)]
    database.close()
    assert all(each.closed for each in held)


def test_an_act_has_one_moment(env, clock):
    """However long it takes, it is all written at once (DB-18)."""
    with env.database.transaction(writing=False) as session:
        began = clock.now
        clock.move(seconds=5)
        assert session.now == began
    with env.database.transaction(writing=False) as session:
        assert session.now == clock.now


def test_the_clock_is_utcs(location):
    """Unless a test moves it (DB-18)."""
    database = Database(location, keys=Keyring(b"x" * 32), limits=Limits())
    with database.transaction(writing=False) as session:
        assert session.now.tzinfo is UTC
        assert abs(session.now - datetime.now(UTC)) < timedelta(minutes=1)
    database.close()


def test_a_moment_without_an_offset_is_not_stored(env):
    """Nobody could tell which moment it was (DB-18)."""

    def add(session):
        naive = session.now.replace(tzinfo=None)
        session.add(Tenant(id="tnt_1", uuid="uuid-1", display_name="A", created_at=naive))

    with pytest.raises(StatementError, match="without an offset"):
        env.act(add)
    assert env.count("tenant") == 0


def test_a_failed_statement_does_not_show_its_parameters(env):
    """They would stand in the log (LO-01)."""
    secret = "canary" * 2  # a traceback shows the lines of this test
    with pytest.raises(DBAPIError) as failed:
        env.execute("UPDATE nowhere SET password = ?", secret)
    assert secret not in "".join(format_exception(failed.value))
    with pytest.raises(IntegrityError) as failed:
        env.execute("INSERT INTO tenant (id) VALUES (?)", secret)
    assert secret not in "".join(format_exception(failed.value))


@only_on_sqlite
def test_whoever_writes_locks_out_other_writers(database, elsewhere):
    """The lock is taken at the beginning, before anything is read (DB-01)."""

    def write():
        with database.transaction(writing=True, blocking=False):
            return True

    with database.transaction(writing=True), pytest.raises(OperationalError, match="locked"):
        elsewhere(write)
    with database.transaction(writing=False):
        assert elsewhere(write)


def test_whoever_reads_is_not_locked_out(env, elsewhere):
    """Readers see what was there before (DB-01)."""

    def read():
        with env.database.transaction(writing=False, blocking=False) as session:
            return len(session.exec(select(Tenant)).all())

    with env.database.transaction(writing=True) as session:
        _tenant(session)
        assert elsewhere(read) == 0
    assert elsewhere(read) == 1


@only_on_sqlite
def test_whoever_does_not_wait_is_refused_at_once(database, elsewhere):
    """And can begin again on the same connection when the lock is gone (DB-05)."""

    def write():
        began = time.perf_counter()
        with pytest.raises(OperationalError), database.transaction(writing=True, blocking=False):
            pass
        return time.perf_counter() - began

    def write_again():
        with database.transaction(writing=True, blocking=False) as session:
            return session.core

    before = elsewhere(write_again)
    with database.transaction(writing=True):
        assert elsewhere(write) < 0.5
        assert not before.in_transaction()
    assert elsewhere(write_again) is before


@only_on_sqlite
def test_whoever_waits_is_refused_when_their_patience_ends(location):
    """It is bounded, and in milliseconds (DB-05)."""
    holder, waiter = open_engine(location), open_engine(location, timeout=200)
    with holder.connect() as held, waiter.connect() as blocking:
        held.exec_driver_sql("BEGIN IMMEDIATE")
        began = time.perf_counter()
        with pytest.raises(OperationalError, match="locked"):
            blocking.exec_driver_sql("BEGIN IMMEDIATE")
        assert 0.15 < time.perf_counter() - began < 3


@only_on_sqlite
def test_whoever_waits_goes_on_when_the_lock_is_gone(env, elsewhere):
    """A writer that comes second is late, and not refused (DB-05)."""
    with ThreadPoolExecutor(1) as thread:
        with env.database.transaction(writing=True) as session:
            _tenant(session, 1)
            second = thread.submit(env.act, _tenant, 2)
            time.sleep(0.05)
            assert not second.done()
        second.result(10)
    assert elsewhere(env.count, "tenant") == 2


def test_no_update_is_lost(env):
    """Four threads read, add one and write fifty times each (DB-02)."""
    tenant = env.act(_tenant)
    env.execute("UPDATE tenant SET display_name = '0'")
    threads, rounds = 4, 50
    ready = threading.Barrier(threads)

    def count(_):
        ready.wait(30)
        for _ in range(rounds):
            with env.database.transaction(writing=True) as session:
                session.lock("count")
                row = session.get_one(Tenant, tenant.id)
                row.display_name = str(int(row.display_name) + 1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(threads)))
    assert env.rows("tenant")[0]["display_name"] == str(threads * rounds)


@pytest.mark.parametrize("writing", [True, False])
def test_slow_work_holds_no_lock(env, elsewhere, writing):
    """While it is done another thread writes, and it is seen afterwards (DB-11)."""
    with env.database.transaction(writing=writing, blocking=False) as session:
        assert session.exec(select(Tenant)).all() == []
        with session.outside_transaction():
            assert not session.core.in_transaction()
            elsewhere(env.act, _tenant, 1)
        assert len(session.exec(select(Tenant)).all()) == 1
        _tenant(session, 2)
    assert elsewhere(env.count, "tenant") == 2


@only_on_sqlite
def test_what_follows_slow_work_is_a_writing_transaction(database, elsewhere):
    """Whatever it was before (DB-01)."""

    def write():
        with database.transaction(writing=True, blocking=False):
            pass

    with database.transaction(writing=False) as session:
        with session.outside_transaction():
            elsewhere(write)
        with pytest.raises(OperationalError):
            elsewhere(write)


def test_slow_work_that_fails_leaves_nothing_behind(env, elsewhere):
    """There is no transaction to end, and the next one begins as ever."""

    def fail(session):
        with session.outside_transaction():
            raise NotFound

    with pytest.raises(NotFound):
        env.act(fail)
    elsewhere(env.act, _tenant)
    assert env.count("tenant") == 1


def test_a_refusal_during_slow_work_commits_nothing_of_whoever_has_the_connection_by_then(env):
    """DB-04: although it says that what was written is kept, which is committed already."""

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
def test_a_lock_that_is_held_after_slow_work_is_a_failure(database):
    """Whoever may not wait is refused there too (DB-05)."""
    other = open_engine(database_of(database), timeout=0)
    with other.connect() as held:
        with (
            pytest.raises(OperationalError, match="locked"),
            database.transaction(writing=False, blocking=False) as session,
            session.outside_transaction(),
        ):
            held.exec_driver_sql("BEGIN IMMEDIATE")
        held.rollback()
    with database.transaction(writing=True, blocking=False):
        pass


def database_of(database):
    """The file that a database is in."""
    with database.transaction(writing=False) as session:
        return Path(session.core.engine.url.database)


def test_a_refusal_after_slow_work_leaves_no_row(env):
    """Both halves of the act are one to whoever asked (DB-04)."""

    def refuse(session):
        with session.outside_transaction():
            pass
        _tenant(session)
        raise NotFound

    with pytest.raises(NotFound):
        env.act(refuse)
    assert env.count("tenant") == 0


def _impatient(env):
    """The same database, of somebody who waits for others no longer than half a second."""
    keys, limits = Keyring(bytes(range(32))), Limits()
    return Database(env.location, keys=keys, limits=limits, timeout=500)


@only_on_sqlite
def test_threads_that_write_have_their_turn_however_the_one_before_ended(env, elsewhere):
    """Whoever failed, or found the file locked by another process, keeps nobody waiting (DB-05)."""
    database = _impatient(env)

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
    assert elsewhere(write) == 0
    database.close()


@only_on_sqlite
def test_a_thread_that_waits_for_another_one_to_write_gives_up_some_time(env, elsewhere):
    """What another thread keeps locked is as much as what another process does (DB-05)."""
    database = _impatient(env)

    def write():
        with database.transaction(writing=True):
            pass

    with database.transaction(writing=True), pytest.raises(Unavailable):
        elsewhere(write)
    assert elsewhere(write) is None
    database.close()


def test_a_single_reading_leaves_nothing_open(env):
    """Whichever way it goes to the database: one that is listened to, or fails, by SQLAlchemy."""
    opened = sql_select(table("tenant", column("id")).c.id)
    env.act(_tenant)

    def begun(_connection, _cursor, statement, *_rest):
        heard.append(statement)

    heard = []
    for listening in (False, True):
        if listening:
            event.listen(Engine, "before_cursor_execute", begun)
        with env.database.reading() as reading:
            assert [list(row) for row in reading.rows(opened, {})] == [["tnt_000000000001"]]
            assert reading.observed == []
            reading.observed.append("seen")
        with pytest.raises(DBAPIError), env.database.reading() as reading:
            reading.rows(sql_select(column("nothing")), {})
    event.remove(Engine, "before_cursor_execute", begun)
    assert len(heard) == 2
    # Nobody has to wait for it.
    env.act(_tenant, 2)
    assert env.count("tenant") == 2


def test_what_an_act_did_in_its_session_is_in_no_other(env):
    """A session that an act had is not used again: who knows what is left in it (DB-04)."""

    def fail(session):
        session.add(Tenant(id="tnt_1", uuid="1", display_name="A", created_at=session.now))
        event.listen(session, "after_commit", done.append, once=True)
        raise NotFound

    done = []
    with pytest.raises(NotFound):
        env.act(fail)
    assert env.act(list) == []
    assert env.count("tenant") == 0
    assert done == []


def test_a_prepared_statement_reads_what_any_other_reads(env, alice):
    """Moments, lists and truths come out of it as their columns have them."""
    statement = (
        sql_select(*USER_VIEW_COLUMNS, col(User.created_at))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(col(User.email) == bindparam("email"), col(User.created_at) <= bindparam("now"))
    )

    def read(session):
        given = {"email": "alice@example.com", "now": session.now}
        return [*session.rows(statement, given)], session.core.execute(statement, given).all()

    [ours], [theirs] = env.act(read)
    assert tuple(ours) == tuple(theirs)
    assert ours[0] == alice.user_id


@pytest.mark.parametrize("writing", [False, True])
def test_a_prepared_statement_that_fails_is_a_failure_of_the_database(env, writing):
    """Whoever asks hears it as from any other statement: a 503, or a second attempt (DB-05)."""
    statement = sql_select(column("id")).select_from(table("nowhere"))
    with (
        pytest.raises(DBAPIError, match="nowhere"),
        env.database.transaction(writing=writing) as session,
    ):
        session.rows(statement, {})
