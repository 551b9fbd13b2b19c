"""Opening the database, and the one place where a transaction is committed or rolled back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from accounts.database import AccountSession
from accounts.errors import AccountError
from accounts.keyring import Keyring
from accounts.origin import NOWHERE, Origin
from accounts.rules import Rules

__all__ = ["Database", "open_engine", "sqlite_driver"]

#: How long a statement waits for another writer before the answer is a 503, in milliseconds.
_PATIENCE = 5000


def sqlite_driver() -> ModuleType:
    """The driver with the newest SQLite: below 3.53 a reset of the WAL can corrupt it (DB-03)."""
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415 # there is no wheel for every platform
    except ImportError:
        import sqlite3 as dbapi2  # noqa: PLC0415 # the fallback for those
    driver: ModuleType = dbapi2
    return driver


def open_engine(path: Path, *, patience: int = _PATIENCE) -> Engine:
    """An engine for a SQLite file with the pragmas that keep what was acknowledged (DB-01)."""
    engine = sqlalchemy.create_engine(
        f"sqlite:///{path}",
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
        # written out in `_begin`.
        dbapi.isolation_level = None
        for pragma in (
            f"busy_timeout = {patience}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
        ):
            dbapi.execute(f"PRAGMA {pragma}")

    return engine


class Database:
    """The SQLite file, with one connection held by each thread that uses it.

    Holding it is 20 µs for a request, where taking one from a pool is 39 to 72 µs. The event loop
    holds one that never waits: a busy database then sends the request to a thread that does.
    """

    def __init__(
        self,
        path: Path,
        *,
        keys: Keyring,
        rules: Rules,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._patient = open_engine(path)
        self._impatient = open_engine(path, patience=0)
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._held = threading.local()
        self._all_held: list[Connection] = []

    @contextmanager
    def transaction(
        self, *, writing: bool, waiting: bool = True, origin: Origin = NOWHERE
    ) -> Iterator[AccountSession]:
        """A session in one transaction, committed at the end, or rolled back by an exception.

        Raises:
            sqlalchemy.exc.OperationalError: The database is locked by another writer, or fails.
        """
        session = _Session(
            self._connection(waiting=waiting),
            keys=self._keys,
            rules=self._rules,
            now=self._clock(),
            origin=origin,
            writing=writing,
        )
        try:
            yield session
        except AccountError as refusal:
            if refusal.keep_writes:
                session.finish()
            raise
        else:
            session.finish()
        finally:
            session.abandon()

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        for connection in self._all_held:
            connection.close()
        self._all_held.clear()
        self._patient.dispose()
        self._impatient.dispose()

    def _connection(self, *, waiting: bool) -> Connection:
        name = "waiting" if waiting else "instant"
        held: Connection | None = getattr(self._held, name, None)
        if held is None or held.closed or held.invalidated:
            held = (self._patient if waiting else self._impatient).connect()
            setattr(self._held, name, held)
            self._all_held.append(held)
        return held


class _Session(AccountSession):
    """The session of one transaction at a time over a held connection."""

    def __init__(
        self,
        connection: Connection,
        *,
        keys: Keyring,
        rules: Rules,
        now: datetime,
        origin: Origin,
        writing: bool,
    ) -> None:
        super().__init__(
            bind=connection, join_transaction_mode="control_fully", expire_on_commit=False
        )
        self.core = connection
        self.keys = keys
        self.rules = rules
        self.now = now
        self.origin = origin
        self.observed = []
        self._begin(writing=writing)

    def _begin(self, *, writing: bool) -> None:
        # IMMEDIATE takes the write lock first: a transaction that reads and only then wants to
        # write fails at once, whatever the timeout, if another has written in between (DB-01).
        try:
            self.core.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
        except DBAPIError:
            self.core.rollback()
            raise

    @contextmanager
    def outside_transaction(self) -> Iterator[None]:
        self.finish()
        self.abandon()
        yield
        self._begin(writing=True)

    def finish(self) -> None:
        """Commit what the act has written."""
        if self.in_transaction():
            self.commit()
        if self.core.in_transaction():
            self.core.commit()

    def abandon(self) -> None:
        """Roll back whatever is not committed; after `finish` that is nothing."""
        self.close()
        if self.core.in_transaction():
            self.core.rollback()
