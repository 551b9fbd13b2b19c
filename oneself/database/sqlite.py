"""A SQLite file, with one connection per thread."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import orjson
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from accounts.errors import Unavailable
from oneself.database.file_health import FileHealth
from oneself.database.pipelining import Transaction
from oneself.database.prepared import Prepared, PreparedStatements, Statement, driver_of


def sqlite_driver() -> ModuleType:
    """Return the driver with the newest SQLite.

    Below 3.53, a reset of the WAL can corrupt the file (DB-03).
    """
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415 # there is no wheel for every platform
    except ImportError:
        import sqlite3 as dbapi2  # noqa: PLC0415 # the fallback for those
    driver: ModuleType = dbapi2
    return driver


def open_file(
    path: Path, *, timeout: int, cache_kib: int = 2000, read_only: bool = False
) -> Engine:
    """Return an engine for an existing SQLite file, with pragmas for durable commits (DB-01).

    `timeout` is how long a statement waits for another writer, in milliseconds; `cache_kib` is how
    much of the file a connection keeps in memory, in KiB. With `read_only` no statement changes the
    file, and it keeps its journal mode.
    """
    engine = sqlalchemy.create_engine(
        # An absolute URI: text after a ? would be options, and the data would go to another file
        # than the one that was created for its owner alone and is backed up. With mode=rw, SQLite
        # never creates a file in place of one that is gone.
        URL.create(
            "sqlite", database=path.absolute().as_uri(), query={"mode": "rw", "uri": "true"}
        ),
        module=sqlite_driver(),
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        # `Sqlite` keeps a connection per thread; the pool only opens and closes them.
        poolclass=sqlalchemy.NullPool,
        connect_args={"check_same_thread": False},
        # The parameters of a failed statement would be logged.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(dbapi: Any, _record: object) -> None:
        # The driver's own BEGIN is deferred and comes late, and loses updates silently;
        # `Sqlite.begin` sends ours.
        dbapi.isolation_level = None
        for pragma in (
            f"busy_timeout = {timeout}",
            "query_only = ON" if read_only else "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            f"cache_size = {-cache_kib}",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    return engine


#: Size of a write-ahead log, in bytes, from which it is truncated. SQLite itself copies it back at
#: a quarter of that, if there are no readers.
_MAX_WAL_BYTES = 16 * 1024 * 1024
#: How long writers may have to wait for that, in milliseconds.
_TRUNCATE_TIMEOUT = 200


class Sqlite:
    """Connections to a SQLite file.

    Keeping one costs a request 20 µs; taking one from a pool costs 39 to 72 µs. The event loop has
    a nonblocking one: if the database is busy, the request moves to a thread.
    """

    is_nonblocking = True

    def __init__(self, path: Path, *, timeout: int, read_only: bool = False) -> None:
        self._path = path
        self._health = FileHealth(path)
        self._blocking_engine = open_file(path, timeout=timeout, read_only=read_only)
        # There are few connections of event loops, and most requests use them: with more of the
        # indexes in memory, a million users cost less.
        self._nonblocking_engine = open_file(path, timeout=0, cache_kib=8000, read_only=read_only)
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._timeout = timeout / 1000
        self._write_lock = threading.Lock()
        self._group_connections: dict[bool, Connection] = {}
        self._driver_error: type[Exception] = sqlite_driver().Error
        self.statements = PreparedStatements(Prepared, self._driver_error)

    def take(self, *, blocking: bool, writing: bool = True) -> Connection:  # noqa: ARG002 # each thread has one
        """Return the connection of this thread, which waits for other writers or does not."""
        name = "blocking" if blocking else "nonblocking"
        connection: Connection | None = getattr(self._local, name, None)
        if connection is None or connection.closed or connection.invalidated:
            connection = self._connect(blocking=blocking)
            setattr(self._local, name, connection)
        return connection

    def _connect(self, *, blocking: bool) -> Connection:
        engine = self._blocking_engine if blocking else self._nonblocking_engine
        if all(each.closed or each.invalidated for each in self._connections):
            self._health.note_closed()  # as SQLite deletes the log with the last connection
        self._health.require_in_place()
        connection = engine.connect()
        try:
            self._health.note_opened()
        except Unavailable:
            connection.close()
            raise
        self._connections.append(connection)
        return connection

    def give_back(self, connection: Connection) -> None:  # noqa: ARG002 # the thread keeps it
        """Release the write lock, if this thread has it."""
        if getattr(self._local, "writes", False):
            self._local.writes = False
            self._write_lock.release()

    def begin(self, connection: Connection, *, writing: bool, snapshot: bool) -> Transaction | None:  # noqa: ARG002 # a transaction is a snapshot
        """Begin a transaction.

        IMMEDIATE takes the write lock first: a transaction that reads and only then writes fails at
        once, without the timeout, if another has written in between (DB-01). SQLite has no queue
        for that lock: it sleeps and polls, at growing intervals. Threads of one process therefore
        queue for a lock of our own, and only wait in SQLite for other processes.

        Raises:
            Unavailable: Other threads were writing for too long, or the file is gone.
            sqlalchemy.exc.OperationalError: Another process was.
        """
        if not writing:
            try:
                driver_of(connection).execute("BEGIN")
            except self._driver_error:
                connection.exec_driver_sql("BEGIN")  # raises SQLAlchemy's own error
            return None
        self._health.require_in_place()
        if connection is not getattr(self._local, "nonblocking", None):
            self._wait_for_writers()
            self._local.writes = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return None  # SQLite has no id to ask for later

    def _wait_for_writers(self) -> None:
        """Take the write lock of this process, unless others have it for too long."""
        if not self._write_lock.acquire(timeout=self._timeout):
            raise Unavailable

    def begin_group(self, *, blocking: bool) -> Connection | None:
        """Begin the transaction of a group on a connection of its own; None if that would block.

        Raises:
            Unavailable: Other threads were writing for too long, or the file is gone.
            sqlalchemy.exc.OperationalError: Another process was, or the database fails.
        """
        self._health.require_in_place()
        if blocking:
            self._wait_for_writers()
        elif not self._write_lock.acquire(blocking=False):
            return None
        connection = self._group_connections.get(blocking)
        try:
            if connection is None or connection.closed or connection.invalidated:
                connection = self._group_connections[blocking] = self._connect(blocking=blocking)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException as error:
            self.end_group(connection)
            if blocking or not isinstance(error, OperationalError):
                raise
            return None
        return connection

    def end_group(self, connection: Connection | None) -> None:
        """Roll back what is not committed, and release the write lock."""
        try:
            if connection is not None:
                self.roll_back(connection)
        finally:
            self._write_lock.release()

    def roll_back(self, connection: Connection) -> None:
        """End the transaction of a connection.

        After a failed commit SQLAlchemy reports no transaction, and expects this call, but leaves
        the database's own transaction open: no other thread could write.
        """
        connection.rollback()
        if not (connection.closed or connection.invalidated):
            driver = driver_of(connection)
            if driver.in_transaction:
                driver.rollback()

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Return the rows of a prepared statement."""
        return self.statements.rows(connection, statement, parameters)

    def require_sound(self, connection: Connection) -> None:
        """Accept any transaction: a failed statement is undone, and the rest can be committed."""

    def require_acknowledged(self, connection: Connection) -> None:
        """Accept any commit: SQLite has no warnings."""

    def require_committed(self, _transaction: str, _event_id: str | None) -> NoReturn:
        """Fail: a commit in a file has an outcome, and no connection that breaks."""
        raise AssertionError("a transaction on SQLite has no number to ask for")

    def find_degradation(self, _connection: Connection) -> None:
        """Return None: a commit waits for nothing but the disk."""

    def note_failure(self, error: DBAPIError) -> None:
        """Remember a full disk, for `unready_reason`."""
        self._health.note_failure(error.orig)

    def unready_reason(self) -> str | None:
        """Return why no change can be stored; None if there is no such reason."""
        return self._health.unready_reason()

    def maintain(self) -> None:
        """Look for space on a full disk, and truncate a long write-ahead log."""
        self._health.check_space()
        if self._health.unready_reason() is None:
            self._truncate_wal()

    def _truncate_wal(self) -> None:
        """Copy the write-ahead log back into the file and truncate it, if it is long (DB-07).

        SQLite restarts the log only at a moment without readers. Under load that may never come,
        and the log would grow until the disk is full. This waits for readers, while writers wait
        for it. A reader that takes longer than the timeout, such as a backup, lets the log grow
        until the next time.
        """
        log = Path(f"{self._path}-wal")
        if not log.exists() or log.stat().st_size <= _MAX_WAL_BYTES:
            return
        engine = open_file(self._path, timeout=_TRUNCATE_TIMEOUT)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._health.note_closed()
        self._blocking_engine.dispose()
        self._nonblocking_engine.dispose()
