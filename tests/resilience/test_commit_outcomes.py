"""The truth about a commit on PostgreSQL: promotions, crashes and cancelled waits (ADR 37).

Each server is of this module's own, since it is killed or configured for all of its databases.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from accounts.crypto.keyring import Keyring
from accounts.errors import OutcomeUnknown
from accounts.limits import Limits
from accounts.services.events import record_administration
from models import Tenant
from oneself.commands.doctor.server import checks_of_server
from oneself.database import Database, open_engine
from oneself.database.migrations import upgrade
from oneself.database.postgresql import Postgresql
from oneself.runtime.jobs import run_act
from oneself_conformance.http_client import Request
from tests.support.deadlines import patient
from tests.support.in_process import InProcess
from tests.support.postgresql import Databases, Server, databases, direct_connection, standby_of

SECONDS = 30
SERVICE = "service"


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patient(SECONDS)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def _migrated_server() -> Iterator[tuple[Databases, URL, Server]]:
    """Start a durable server with a migrated database, which a plain role may use as well."""
    with databases(durable=True) as made:
        location = made.make()
        engine = open_engine(location)
        upgrade(engine)
        engine.dispose()
        made.execute(f"CREATE ROLE {SERVICE} LOGIN")
        with direct_connection(location) as connection:
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {SERVICE}".encode())
        assert made.server is not None
        yield made, location, made.server


def _configure(made: Databases, name: str, value: str | None) -> None:
    change = f"RESET {name}" if value is None else f"SET {name} = '{value}'"
    made.execute(f"ALTER SYSTEM {change}")
    made.execute("SELECT pg_reload_conf()")


def _add_tenant(session: Any, name: str) -> None:
    session.add(Tenant(id=name, uuid=name, display_name=name, created_at=session.now))
    session.flush()


def _open(location: URL) -> Database:
    return Database(location, keys=Keyring(b"x" * 32), limits=Limits())


def _tenants(location: URL) -> set[str]:
    with direct_connection(location) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM tenant").fetchall()}


def _take_numbers_until(connection: psycopg.Connection[Any], number: int) -> None:
    """Commit transactions until one has this number."""
    while True:
        taken = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        assert taken is not None
        if taken[0] >= number:
            return


def _number_of(connection: Any) -> int:
    return int(connection.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar_one())


@pytest.mark.parametrize("role", ["oneself", pytest.param(SERVICE, marks=pytest.mark.nightly)])
def test_change_lost_by_a_promotion_is_not_acknowledged(role: str) -> None:
    """DB-12, reliability finding 1.

    Another transaction of the new primary gets the number of the lost one, and a session of the
    service's own role on the new primary is older than both.
    """
    with _migrated_server() as (made, location, primary), standby_of(primary) as standby:
        _configure(made, "synchronous_standby_names", "*")
        _configure(made, "synchronous_commit", "remote_apply")
        # Nothing that is not committed reaches the disk.
        _configure(made, "wal_writer_delay", "10s")
        successor = location.set(username=role, port=standby.port)
        both = successor.set(host=None, port=None).update_query_dict(
            {
                "host": [f"127.0.0.1:{server.port}" for server in (primary, standby)],
                "target_session_attrs": "read-write",
                "connect_timeout": "2",
            }
        )
        connections = Postgresql(both, timeout=2000, connections=4)
        with direct_connection(successor) as old_session:
            old_session.execute("SELECT 1")
            database = _open(both)
            # Committed and on the standby, but the answer is lost.
            with database.transaction(writing=True) as session:
                _add_tenant(session, "kept")
                record_administration(session, "kept", "tested")
                kept_event = session.event_id
                kept = session._begun.identity  # noqa: SLF001 # as it is asked for
            attempts: list[str] = []

            def act(session: Any) -> None:
                """Lose the first commit, and find the number taken by another transaction."""
                attempts.append("act")
                _add_tenant(session, "again")
                record_administration(session, "again", "tested")
                if len(attempts) > 1:
                    return
                last.append(_number_of(session.core))
                primary.kill()
                with direct_connection(location.set(port=standby.port)) as operator:
                    operator.execute("SELECT pg_promote()")
                _wait_until(lambda: _is_primary(old_session))
                _take_numbers_until(old_session, max(last))

            last: list[int] = []
            lost = connections.take(blocking=True)
            lost_transaction = connections.begin(lost, writing=True, snapshot=False)
            lost.exec_driver_sql("UPDATE tenant SET display_name = 'lost' WHERE id = 'kept'")
            last.append(_number_of(lost))
            run_act(database, act)
            statuses = [
                row[0]
                for number in last
                for row in old_session.execute(
                    f"SELECT pg_xact_status('{number}'::xid8)".encode()
                ).fetchall()
            ]
            assert statuses == ["committed", "committed"]  # of other transactions
            # Made again, since the event of the first attempt is not there.
            assert attempts == ["act", "act"]
            assert _tenants(successor) == {"kept", "again"}
            assert kept is not None
            assert lost_transaction is not None
            connections.require_committed(kept, kept_event)
            with pytest.raises(OutcomeUnknown) as unknown:
                connections.require_committed(lost_transaction.identity, None)
            assert unknown.value.is_settled
            with pytest.raises(OperationalError):
                connections.roll_back(lost)
        connections.give_back(lost)
        connections.close()
        database.close()


def _is_primary(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT NOT pg_is_in_recovery()").fetchone()
    return row is not None and bool(row[0])


def _accepts_connections(location: URL) -> bool:
    try:
        with direct_connection(location):
            return True
    except psycopg.OperationalError:
        return False


@pytest.fixture(scope="module")
def single() -> Iterator[tuple[Databases, URL, Server]]:
    """One server, with a migrated database."""
    with _migrated_server() as started:
        yield started


@pytest.mark.nightly
def test_crash_that_the_postmaster_survives_is_noticed(single: Any) -> None:
    """DB-12: the server has the same start and address, and may have lost transactions."""
    made, location, _server = single
    connections = Postgresql(location, timeout=2000, connections=2)
    connection = connections.take(blocking=True)
    transaction = connections.begin(connection, writing=True, snapshot=False)
    assert transaction is not None
    connection.exec_driver_sql("SELECT 1")
    with direct_connection(location) as victim:
        started = victim.execute("SELECT pg_postmaster_start_time()").fetchone()
        os.kill(victim.info.backend_pid, signal.SIGKILL)
    with pytest.raises(OperationalError):
        _wait_until(lambda: connection.exec_driver_sql("SELECT 1").scalar() is None)
    _wait_until(lambda: _accepts_connections(location))
    with pytest.raises(OutcomeUnknown) as unknown:
        connections.require_committed(transaction.identity, None)
    assert unknown.value.is_settled
    with direct_connection(location) as later:
        assert later.execute("SELECT pg_postmaster_start_time()").fetchone() == started
    connections.give_back(connection)
    connections.close()
    made.close()  # its own connection broke as well


# Waits for a synchronous standby


@pytest.fixture
def lonely(single: Any) -> Iterator[tuple[Databases, URL]]:
    """The server, which waits for a standby that does not exist."""
    made, location, _server = single
    _configure(made, "synchronous_standby_names", "nobody")
    yield made, location
    _configure(made, "synchronous_standby_names", None)


def _waiting(location: URL) -> list[int]:
    """Return the processes that wait for a standby."""
    with direct_connection(location) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        return [row[0] for row in rows.fetchall()]


def _end_wait(location: URL, function: str) -> None:
    """Cancel the first wait for a standby, or terminate its connection."""
    _wait_until(lambda: bool(_waiting(location)))
    with direct_connection(location) as connection:
        connection.execute(f"SELECT {function}({_waiting(location)[0]})".encode())


@pytest.fixture
def app(single: Any, tmp_path: Any) -> Iterator[InProcess]:
    """The application on the server."""
    made, location, _server = single
    copied = made.make(location)
    application = InProcess(tmp_path, copied)
    yield application
    application.close()
    made.drop(copied)


@pytest.mark.nightly
def test_cancelled_wait_for_a_standby_is_an_unknown_outcome(app: InProcess, single: Any) -> None:
    """DB-12, scale-out P1b: PostgreSQL commits, and only warns that a failover may lose it."""
    made, location, _server = single
    user = app.create_demo_user()
    headers = (
        ("Authorization", f"Bearer {user['session_token']}"),
        ("Content-Type", "application/json"),
    )
    change = Request("PATCH", "/api/v1/me", headers, b'{"locale": "de-DE"}')
    _configure(made, "synchronous_standby_names", "nobody")
    try:
        with ThreadPoolExecutor(1) as thread:
            app.faults.armed = True  # no mail jobs, whose commits would wait as well
            answer = thread.submit(app.ask, change)
            _end_wait(location, "pg_cancel_backend")
            answered = answer.result(patient(SECONDS))
    finally:
        _configure(made, "synchronous_standby_names", None)
    assert answered.status == 504
    assert answered.json()["code"] == "outcome_unknown"


def test_cancelled_wait_of_a_job_is_an_unknown_outcome(lonely: Any) -> None:
    """DB-12, scale-out P1b: also for jobs and commands."""
    _made, location = lonely
    database = _open(location)
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(run_act, database, lambda session: _add_tenant(session, "cancelled"))
        _end_wait(location, "pg_cancel_backend")
        with pytest.raises(OutcomeUnknown) as unknown:
            done.result(patient(SECONDS))
    # It is not begun again: a second attempt would find nothing to do, and wait for no standby.
    assert not unknown.value.is_settled
    database.close()


def test_commit_is_acknowledged_only_after_its_standby_when_the_connection_breaks(
    lonely: Any,
) -> None:
    """DB-12, scale-out P1b: the server knows it as committed, and no standby has it."""
    made, location = lonely
    database = _open(location)
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(run_act, database, lambda session: _add_tenant(session, "broken"))
        _end_wait(location, "pg_terminate_backend")
        _wait_until(lambda: bool(_waiting(location)))  # the question waits instead
        assert not done.done()
        assert "broken" in _tenants(location)
        _configure(made, "synchronous_standby_names", None)
        done.result(patient(SECONDS))
    database.close()


# What `doctor` says of standbys


def _found(location: URL) -> str:
    engine = open_engine(location)
    try:
        return checks_of_server(location)["standbys"](engine).found
    finally:
        engine.dispose()


def test_doctor_reports_that_no_standby_is_attached(lonely: Any) -> None:
    """DB-12, scale-out P1: every write waits."""
    _made, location = lonely
    assert "no synchronous standby is attached" in _found(location)
    assert "no synchronous standby is attached" in _found(location.set(username=SERVICE))


@pytest.mark.nightly
def test_doctor_counts_standbys() -> None:
    """DB-12, scale-out P1: with a single one, its failure stops every write."""
    with _migrated_server() as (made, location, primary), standby_of(primary) as first:
        assert _found(location).startswith("none is required")
        _configure(made, "synchronous_standby_names", "ANY 1 (*)")
        _wait_until(lambda: "only one" in _found(location))
        _wait_until(lambda: "only one" in _found(location.set(username=SERVICE)))
        with standby_of(primary):
            _wait_until(lambda: _found(location).startswith("2 are attached"))
        first.kill()
        _wait_until(lambda: "no synchronous standby" in _found(location))
