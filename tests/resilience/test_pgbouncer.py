"""Behind PgBouncer, which drops the settings that the service sends."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from accounts.crypto.keyring import Keyring
from accounts.limits import Limits
from models import Tenant
from oneself.commands.doctor.server import checks_of_server, report_lost_settings
from oneself.database import Database, is_database_unavailable, open_engine
from oneself.runtime.jobs import run_act
from tests.support.deadlines import patient
from tests.support.ports import free_port
from tests.support.postgresql import direct_connection

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
ROLE = "pooled"
SECONDS = 30

if PROGRAM is None:
    pytest.skip("there is no pgbouncer", allow_module_level=True)
pytestmark = pytest.mark.nightly


@pytest.fixture
def location(servers: Any, tmp_path: Path) -> Iterator[URL]:
    """A database on a server, with a role of the test's own."""
    created = servers.make(tmp_path)
    with direct_connection(created) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}".encode())
    yield created
    with direct_connection(created) as connection:
        connection.execute(f"DROP OWNED BY {ROLE}")
        connection.execute(f"DROP ROLE {ROLE}")
    servers.drop(created)


@contextmanager
def _pooled(location: URL, folder: Path) -> Iterator[URL]:
    """Run PgBouncer in front of a database, as docs/operations.md says."""
    port = free_port()
    users = folder / "users.txt"
    users.write_text(f'"{ROLE}" ""\n')
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"""
[databases]
{location.database} = host=127.0.0.1 port={location.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
ignore_startup_parameters = options
"""
    )
    # It does not run as root.
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": 65_534, "group": 65_534, "extra_groups": []}
        for path in (folder, users, configuration):
            os.chown(path, 65_534, 65_534)
        for parent in folder.parents[:-1]:
            parent.chmod(parent.stat().st_mode | 0o001)
    assert PROGRAM is not None
    process = subprocess.Popen([PROGRAM, configuration], cwd="/", stderr=subprocess.DEVNULL, **user)
    pooled = location.set(port=port, username=ROLE).update_query_dict({"prepare_threshold": "none"})
    try:
        deadline = time.monotonic() + patient(SECONDS)
        while not _accepts_connections(pooled):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield pooled
    finally:
        process.terminate()
        process.wait(patient(SECONDS))


def _accepts_connections(url: URL) -> bool:
    try:
        with direct_connection(url.set(query={})):
            return True
    except psycopg.OperationalError:
        return False


def _check(url: URL) -> Any:
    engine = open_engine(url)
    try:
        return checks_of_server(url)["session_settings"](engine)
    finally:
        engine.dispose()


def test_lost_timeouts_are_reported_with_what_to_do(location, tmp_path, caplog):
    """DB-12, reliability finding 3: by `doctor` and at the start; the statements help."""
    with _pooled(location, tmp_path) as url:
        lost = _check(url)
        assert not lost.ok
        names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        assert all(f"ALTER ROLE {ROLE} SET {name} = '" in lost.to_do for name in names)
        report_lost_settings(url)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        statements, _, _ = lost.to_do.removeprefix("Run: ").partition("; then ")
        with direct_connection(location.set(username=ROLE)) as connection:
            connection.execute(statements.encode())  # a role may configure itself
    caplog.clear()
    with _pooled(location, tmp_path) as url:
        assert _check(url).ok
        report_lost_settings(url)
        assert caplog.records == []
        _assert_waits_end(url, location)


def _assert_waits_end(url: URL, location: URL) -> None:
    database = Database(url, keys=Keyring(b"x" * 32), limits=Limits())
    with direct_connection(location) as connection, connection.transaction():
        connection.execute("LOCK TABLE tenant")
        with pytest.raises(Exception, match="lock timeout") as ended:  # see below
            run_act(database, lambda session: session.get(Tenant, "tnt_1"))
        assert is_database_unavailable(ended.value)
    database.close()
