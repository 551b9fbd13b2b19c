"""A database and its transactions."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from accounts.crypto.keyring import Keyring
from accounts.errors import AccountError, OutcomeUnknown
from accounts.limits import Limits
from accounts.origin import NO_ORIGIN, Origin
from accounts.services.database import AccountSession
from oneself.database.failures import can_retry
from oneself.database.group_commit import GroupCommit, RetryAlone
from oneself.database.postgresql import DEFAULT_TIMEOUT, Postgresql, open_server
from oneself.database.sessions import SavepointSession, SingleReading, TransactionSession
from oneself.database.sqlite import Sqlite, open_file

#: A SQLite file, or the URL of a PostgreSQL database.
Location = Path | URL
Outcome = TypeVar("Outcome")

_log = logging.getLogger("oneself.database")

_NOW = partial(datetime.now, UTC)

#: How often work is tried that fails only because of concurrent transactions.
_ATTEMPTS = 5
_MAX_FIRST_PAUSE = 0.02


def open_engine(
    location: Location, *, timeout: int = DEFAULT_TIMEOUT, read_only: bool = False
) -> Engine:
    """Return an engine for a database.

    `timeout` is how long a statement waits for a lock, in milliseconds. With `read_only` a file is
    opened read-only, and keeps its journal mode.
    """
    if isinstance(location, Path):
        return open_file(location, timeout=timeout, read_only=read_only)
    return open_server(location, timeout=timeout)


class Database:
    """A database, with the keys and limits for the acts in it."""

    def __init__(
        self,
        location: Location,
        *,
        keys: Keyring,
        limits: Limits,
        clock: Callable[[], datetime] = _NOW,
        connections: int = 4,
        timeout: int = DEFAULT_TIMEOUT,
        read_only: bool = False,
    ) -> None:
        """Open no connection yet.

        `connections` bounds those to a PostgreSQL server that write: one more is for reads, and as
        many again can be set aside (`connection_slots`). `timeout` is how long a transaction waits
        for one, or for a lock, in milliseconds. With `read_only` a file is opened read-only.
        """
        self._connections: Sqlite | Postgresql = (
            Sqlite(location, timeout=timeout, read_only=read_only)
            if isinstance(location, Path)
            else Postgresql(location, timeout=timeout, connections=connections)
        )
        self._logged_reason: str | None = None
        self._keys = keys
        self._limits = limits
        #: The time that acts see.
        self.clock = clock
        self._group = (
            GroupCommit(self._connections) if isinstance(self._connections, Sqlite) else None
        )

    @property
    def is_nonblocking(self) -> bool:
        """True if nonblocking transactions are available, which the event loop can run."""
        return self._connections.is_nonblocking

    @contextmanager
    def transaction(
        self,
        *,
        writing: bool,
        blocking: bool = True,
        snapshot: bool = False,
        shared: Connection | None = None,
        origin: Origin = NO_ORIGIN,
    ) -> Iterator[AccountSession]:
        """Yield a session in one transaction: committed at the end, rolled back on an exception.

        With `snapshot`, all reads see one moment, on any database. With `shared`, the session is a
        part of the transaction that `run_in_group` passed on, and is committed with it.

        A refusal with `keep_writes` commits, and is raised all the same.

        Raises:
            Unavailable: No connection, or no turn to write, was free in time.
            sqlalchemy.exc.OperationalError: Another process holds the write lock, or the database
                fails.
            OutcomeUnknown: The connection broke during the commit.
        """
        context: dict[str, Any] = {
            "keys": self._keys,
            "limits": self._limits,
            "now": self.clock(),
            "origin": origin,
            "blocking": blocking,
        }
        session = (
            TransactionSession(self._connections, **context)
            if shared is None
            else SavepointSession(self._connections, shared=shared, **context)
        )
        try:
            session.begin_transaction(writing=writing, snapshot=snapshot)
            yield session
            session.finish()
        except AccountError as refusal:
            if refusal.keep_writes:
                session.finish()
            raise
        except DBAPIError as error:
            self._connections.note_failure(error)
            raise
        finally:
            session.abandon()

    def reading(self, *, blocking: bool = True, origin: Origin = NO_ORIGIN) -> SingleReading:
        """Return a reader whose statements are each a transaction of their own.

        Raises, when entered:
            Unavailable: No connection was free in time.
            sqlalchemy.exc.OperationalError: The database accepts no connection.
        """
        return SingleReading(
            self._connections, blocking, self._keys, self._limits, self.clock(), origin
        )

    def attempt(self, work: Callable[[], Outcome], *, repeatable: bool = False) -> Outcome:
        """Do work that is one transaction; retry it whole after a conflict with other transactions.

        The work must tolerate that: what it commits by `outside_transaction` is done each time.
        With `repeatable`, it has the same effect if it is done twice, and is also retried after a
        commit of unknown outcome. If the retry is refused or fails, the outcome stays unknown.

        Raises:
            sqlalchemy.exc.DBAPIError: It failed for another reason, or too often.
            OutcomeUnknown: It is not known whether it was committed.
        """
        unknown: OutcomeUnknown | None = None
        for attempt in range(_ATTEMPTS):
            is_last = attempt == _ATTEMPTS - 1
            try:
                return work()
            except OutcomeUnknown as error:
                unknown = error
                if is_last or not (repeatable and error.is_settled):
                    raise
            except Exception as error:
                if is_last or not can_retry(error):
                    if unknown is not None:
                        raise unknown from error
                    raise
            # Transactions that collided would collide again if they paused equally long.
            time.sleep(random.uniform(0, _MAX_FIRST_PAUSE * 2**attempt))  # noqa: S311 # no secret
        raise AssertionError("the last attempt returns or raises")

    async def run_in_group(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act in a shared transaction, and return its result after the commit.

        The act passes its connection to `transaction`, as `shared`.

        Raises:
            RetryAlone: Nothing was done; the act may succeed on a thread, in a transaction of its
                own.
            Unavailable, sqlalchemy.exc.DBAPIError: The transaction could not begin or commit.
        """
        if self._group is None:
            raise RetryAlone
        try:
            return await self._group.run(act)
        except DBAPIError as error:
            self._connections.note_failure(error)
            raise

    def find_degradation(self, session: AccountSession) -> str | None:
        """Return why changes are not stored, while reads are served; None if they are."""
        return self._connections.find_degradation(session.core)

    def unready_reason(self) -> str | None:
        """Return why no change can be stored, for operators; None if there is no such reason.

        It is known at once if the file of a SQLite database is gone or replaced, and from the first
        failed write on if the disk is full.
        """
        return self._connections.unready_reason()

    def maintain(self) -> None:
        """Truncate a long write-ahead log, and log a change of `unready_reason`; for a job."""
        self._connections.maintain()
        reason = self.unready_reason()
        if reason == self._logged_reason:
            return
        self._logged_reason = reason
        if reason is None:
            _log.info("changes can be stored again")
        else:
            _log.error("changes cannot be stored: %s", reason)

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        if self._group is not None:
            self._group.close()
        self._connections.close()
