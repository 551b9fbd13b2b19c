"""The service writes through PgBouncer as `docs/deploy/pgbouncer.ini` configures it."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.deploy.proxies import FILES
from tests.http.running import open_account, running
from tests.support.databases import PostgresqlStorage
from tests.support.deadlines import patient
from tests.support.ports import free_port
from tests.support.postgresql import direct_connection

pytestmark = pytest.mark.nightly

NOBODY = 65_534


@pytest.fixture
def pooled(servers: PostgresqlStorage) -> Iterator[tuple[str, str]]:
    """The URL of a new database through PgBouncer, and its direct one, of a role of its own."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is missing (Debian: apt-get install pgbouncer)")
    direct, password = servers.blank(), secrets.token_hex(16)
    with direct_connection(direct) as connection:
        connection.execute(f"CREATE ROLE oneself_service LOGIN SUPERUSER PASSWORD '{password}'")
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'oneself_service'"
        ).fetchone()
        assert row is not None
    # It refuses to run as root, so its folder is not pytest's, which only the user can enter.
    folder = Path("/tmp") / f"oneself-pgbouncer-{secrets.token_hex(4)}"  # noqa: S108 # removed below
    folder.mkdir()
    (folder / "userlist.txt").write_text(f'"oneself_service" "{row[0]}"\n')
    port = free_port()
    text = (FILES / "pgbouncer.ini").read_text()
    for old, new in (
        (
            "oneself = host=127.0.0.1 port=5432 dbname=oneself\n",
            f"oneself = host=127.0.0.1 port={direct.port} dbname={direct.database}\n",
        ),
        ("listen_port = 6432", f"listen_port = {port}"),
        ("/etc/pgbouncer/", f"{folder}/"),
        ("/var/log/postgresql/", f"{folder}/"),
        ("/var/run/postgresql", f"{folder}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "pgbouncer.ini").write_text(text)
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    process = subprocess.Popen([program, folder / "pgbouncer.ini"], cwd="/", **as_user)
    login = f"oneself_service:{password}@127.0.0.1"
    try:
        _wait(f"postgresql://{login}:{port}/oneself", process, folder / "pgbouncer.log")
        scheme = "postgresql+psycopg"
        yield (
            f"{scheme}://{login}:{port}/oneself?prepare_threshold=none",
            f"{scheme}://{login}:{direct.port}/{direct.database}",
        )
    finally:
        process.terminate()
        process.wait(patient(20))
        shutil.rmtree(folder)
        servers.discard(direct)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + patient(20)
    while True:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


def test_service_runs_behind_pgbouncer(pooled: tuple[str, str], tmp_path: Path):
    """Reliability finding 3, DB-12: in transaction mode, with more writers than connections."""
    url, direct = pooled
    settings = {"database_url": url, "secret_key": secrets.token_urlsafe(32)}
    migrated = {**os.environ, "ONESELF_DATABASE_URL": direct}
    migrated["ONESELF_SECRET_KEY"] = settings["secret_key"]
    subprocess.run(
        [sys.executable, "-m", "oneself", "db", "upgrade"],
        cwd=FILES.parents[1],
        env=migrated,
        check=True,
        capture_output=True,
    )
    with running(tmp_path, workers=2, **settings) as service:
        alice = open_account(service, "alice@example.com")
        for locale in ("de-DE", "en-GB") * 10:
            body = {"locale": locale}
            changed = service.ask("PATCH", "/api/v1/me", headers=alice.bearer, body=body)
            assert (changed.status, changed.json["locale"]) == (200, locale)
        assert service.ask("POST", "/v1/auth/logout", headers=alice.bearer).status == 200
        assert service.ask("GET", "/v1/me", headers=alice.bearer).status == 401
