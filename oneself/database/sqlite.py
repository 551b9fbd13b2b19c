"""A SQLite file, with a connection held by each thread that uses it."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import OperationalError

from accounts.errors import Unavailable
from oneself.database.failures import OutcomeUnknown
from oneself.database.prepared import PreparedStatements, Statement, driver_of

__all__ = ["Sqlite", "open_file", "sqlite_driver"]


def sqlite_driver() -> ModuleType:
    """The driver with the newest SQLite: below 3.53 a reset of the WAL can corrupt it (DB-03)."""
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415 # there is no wheel for every platform
    except ImportError:
        import sqlite3 as dbapi2  # noqa: PLC0415 # the fallback for those
    driver: ModuleType = dbapi2
    return driver


def open_file(path: Path, *, timeout: int, cached: int = 2000, as_found: bool = False) -> Engine:
    """An engine for a SQLite file with the pragmas that keep what was acknowledged (DB-01).

    `timeout` is how long a statement waits for another writer, in milliseconds; `cached` is how
    much of the file a connection keeps in memory, in KiB. `as_found` is for looking at the file:
    no statement changes it then, and it stays in the mode that it is in.
    """
    engine = sqlalchemy.create_engine(
        # Not as a text that is read: what stands behind a ? would be options, and %20 a blank, and
        # the data in another file than the one that was made for its owner alone and is backed up.
        URL.create("sqlite", database=str(path)),
        module=sqlite_driver(),
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        # Connections are held by their thread; the pool only opens and closes them.
        poolclass=sqlalchemy.NullPool,
        connect_args={"check_same_thread": False},
        # A failed statement's parameters would otherwise stand in the log.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(dbapi: Any, _record: object) -> None:
        # The driver's own BEGIN is deferred and comes late, and loses updates silently; ours is
        # written out in `Sqlite.begin`.
        dbapi.isolation_level = None
        for pragma in (
            f"busy_timeout = {timeout}",
            "query_only = ON" if as_found else "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            f"cache_size = {-cached}",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    return engine


#: How long the log of a file may become before it is emptied, in bytes; SQLite itself copies it
#: back at a quarter of that, if nobody reads.
_LONG_LOG = 16 * 1024 * 1024
#: How long everybody may have to wait for that, in milliseconds.
_SHORT_PATIENCE = 200


class Sqlite:
    """The connections to a SQLite file.

    Holding one is 20 µs for a request, where taking one from a pool is 39 to 72 µs. The event loop
    holds one that never waits: a busy database then sends the request to a thread that does.
    """

    is_nonblocking = True

    def __init__(self, path: Path, *, timeout: int, as_found: bool = False) -> None:
        self._path = path
        self._patient = open_file(path, timeout=timeout, as_found=as_found)
        # Those of the event loop, of which there are few and which nearly everybody asks over: with
        # more of the indexes at hand, a million users cost less.
        self._impatient = open_file(path, timeout=0, cached=8000, as_found=as_found)
        self._held = threading.local()
        self._all_held: list[Connection] = []
        self._timeout = timeout / 1000
        self._writer = threading.Lock()
        self._of_groups: dict[bool, Connection] = {}
        self._driver_error: type[Exception] = sqlite_driver().Error
        self.statements = PreparedStatements(self._driver_error)

    def take(self, *, blocking: bool) -> Connection:
        """The connection of this thread, that waits for other writers or does not."""
        name = "waiting" if blocking else "instant"
        held: Connection | None = getattr(self._held, name, None)
        if held is None or held.closed or held.invalidated:
            held = self._connect(blocking=blocking)
            setattr(self._held, name, held)
        return held

    def _connect(self, *, blocking: bool) -> Connection:
        made = (self._patient if blocking else self._impatient).connect()
        self._all_held.append(made)
        return made

    def give_back(self, connection: Connection) -> None:  # noqa: ARG002 # the thread keeps it
        """Let another thread write, if this one did."""
        if getattr(self._held, "writes", False):
            self._held.writes = False
            self._writer.release()

    def begin(self, connection: Connection, *, writing: bool, snapshot: bool) -> str | None:  # noqa: ARG002 # all that is read in one is of one moment
        """Begin a transaction.

        IMMEDIATE takes the write lock first: a transaction that reads and only then wants to write
        fails at once, whatever the timeout, if another has written in between (DB-01). SQLite has
        no queue before that lock, only naps that grow longer: threads of one process wait for each
        other here, and so nobody naps but for another process.

        Raises:
            Unavailable: Other threads were writing for too long.
            sqlalchemy.exc.OperationalError: Another process was.
        """
        if not writing:
            try:
                driver_of(connection).execute("BEGIN")
            except self._driver_error:
                connection.exec_driver_sql("BEGIN")  # which says in its own words what is wrong
            return None
        if connection is not getattr(self._held, "instant", None):
            self._wait_for_writers()
            self._held.writes = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return None  # it has no name that could be asked for later

    def _wait_for_writers(self) -> None:
        """Have the one place of those who write in this process.

        Raises:
            Unavailable: Others had it for too long.
        """
        if not self._writer.acquire(timeout=self._timeout):
            raise Unavailable

    def begin_group(self, *, blocking: bool) -> Connection | None:
        """Begin a transaction of several acts (`group_commit`); None if it had to be waited for.

        Raises:
            Unavailable: Other threads were writing for too long.
            sqlalchemy.exc.OperationalError: Another process was, or it fails.
        """
        if blocking:
            self._wait_for_writers()
        elif not self._writer.acquire(blocking=False):
            return None
        connection = self._of_groups.get(blocking)
        try:
            if connection is None or connection.closed or connection.invalidated:
                connection = self._of_groups[blocking] = self._connect(blocking=blocking)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException as error:
            self.end_group(connection)
            if blocking or not isinstance(error, OperationalError):
                raise
            return None
        return connection

    def end_group(self, connection: Connection | None) -> None:
        """Roll back what is not committed, and let others write."""
        try:
            if connection is not None:
                self.roll_back(connection)
        finally:
            self._writer.release()

    def roll_back(self, connection: Connection) -> None:
        """End what is open on a connection.

        After a commit that failed SQLAlchemy says that there is no transaction, and waits for this;
        and it leaves the database's own open: nobody else could write.
        """
        connection.rollback()
        if not (connection.closed or connection.invalidated):
            driver = driver_of(connection)
            if driver.in_transaction:
                driver.rollback()

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """What a prepared statement selects.

        Raises:
            sqlalchemy.exc.DBAPIError: It fails.
        """
        return self.statements.rows(connection, statement, parameters, twice=True)

    def require_sound(self, connection: Connection) -> None:
        """Nothing: what failed is undone, and the rest can be committed."""

    def require_committed(self, _transaction: str) -> None:
        """No commit breaks off with its connection: there is nobody at the other end.

        Raises:
            OutcomeUnknown: Always.
        """
        raise OutcomeUnknown

    def shorten_log(self) -> None:
        """Copy the log back into the file, and empty it, if it has become long (DB-07).

        SQLite begins the log anew only in a moment in which nobody reads in it. With many requests
        that may be never, and it would grow until the disk is full. This waits for those who read,
        while others who write wait for it; who reads for longer than that, as for a backup, lets
        the log grow until the next time.
        """
        log = Path(f"{self._path}-wal")
        if not log.exists() or log.stat().st_size <= _LONG_LOG:
            return
        engine = open_file(self._path, timeout=_SHORT_PATIENCE)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        for connection in self._all_held:
            connection.close()
        self._all_held.clear()
        self._patient.dispose()
        self._impatient.dispose()
