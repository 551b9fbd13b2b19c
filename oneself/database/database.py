"""The database, and the transactions in it."""

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
from accounts.errors import AccountError
from accounts.limits import Limits
from accounts.origin import NOWHERE, Origin
from accounts.services.database import AccountSession
from oneself.database.failures import begin_again
from oneself.database.group_commit import GroupCommit, RetryAlone
from oneself.database.postgresql import Postgresql, open_server
from oneself.database.sessions import PartSession, SingleReading, TransactionSession
from oneself.database.sqlite import Sqlite, open_file

__all__ = ["Database", "Location", "open_engine"]

#: A SQLite file, or the address of a PostgreSQL database.
Location = Path | URL
Outcome = TypeVar("Outcome")

_NOW = partial(datetime.now, UTC)

#: How long anybody waits for the database before the answer is a 503, in milliseconds.
_PATIENCE = 5000

#: How often something is tried that only others stand in the way of.
_ATTEMPTS = 5
_LONGEST_FIRST_PAUSE = 0.02


def open_engine(location: Location, *, timeout: int = _PATIENCE, as_found: bool = False) -> Engine:
    """An engine for a database; `timeout` is how long a statement waits, in milliseconds.

    With `as_found` a file is only looked at, and not brought into the mode of a service.
    """
    if isinstance(location, Path):
        return open_file(location, timeout=timeout, as_found=as_found)
    return open_server(location, timeout=timeout)


class Database:
    """A database, with the keys and the rules that the acts in it keep to."""

    def __init__(
        self,
        location: Location,
        *,
        keys: Keyring,
        limits: Limits,
        clock: Callable[[], datetime] = _NOW,
        connections: int = 4,
        timeout: int = _PATIENCE,
        as_found: bool = False,
    ) -> None:
        """Open none yet. To a PostgreSQL there are at most so many connections.

        `timeout` is how long anybody waits for one or for a lock, in milliseconds. With `as_found`
        a file is only looked at.
        """
        self._connections: Sqlite | Postgresql = (
            Sqlite(location, timeout=timeout, as_found=as_found)
            if isinstance(location, Path)
            else Postgresql(location, timeout=timeout, connections=connections)
        )
        self._keys = keys
        self._limits = limits
        self._clock = clock
        self._group = (
            GroupCommit(self._connections) if isinstance(self._connections, Sqlite) else None
        )

    @property
    def is_nonblocking(self) -> bool:
        """Whether a transaction can be had that never waits, so that the event loop can do it."""
        return self._connections.is_nonblocking

    @contextmanager
    def transaction(
        self,
        *,
        writing: bool,
        blocking: bool = True,
        snapshot: bool = False,
        shared: Connection | None = None,
        origin: Origin = NOWHERE,
    ) -> Iterator[AccountSession]:
        """A session in one transaction, committed at the end, or rolled back by an exception.

        With `snapshot`, all that is read in it is of one moment, on any database. With `shared`,
        it is a part of the transaction that `run_in_group` gave, and is committed with that.

        Raises:
            Unavailable: Too many others are using the database.
            sqlalchemy.exc.OperationalError: It is locked by another writer, or fails.
            OutcomeUnknown: It failed in a moment in which all may be done or nothing.
        """
        of_the_act: dict[str, Any] = {
            "keys": self._keys,
            "limits": self._limits,
            "now": self._clock(),
            "origin": origin,
            "blocking": blocking,
        }
        session = (
            TransactionSession(self._connections, **of_the_act)
            if shared is None
            else PartSession(self._connections, shared=shared, **of_the_act)
        )
        try:
            session.begin_transaction(writing=writing, snapshot=snapshot)
            yield session
        except AccountError as refusal:
            if refusal.keep_writes:
                session.finish()
            raise
        else:
            session.finish()
        finally:
            session.abandon()

    def reading(self, *, blocking: bool = True) -> SingleReading:
        """What reads by single statements, each of which is a transaction of its own.

        Raises, when it is entered:
            Unavailable: Too many others are using the database.
            sqlalchemy.exc.OperationalError: It takes no connection.
        """
        return SingleReading(
            self._connections,
            keys=self._keys,
            limits=self._limits,
            now=self._clock(),
            blocking=blocking,
        )

    def attempt(self, work: Callable[[], Outcome]) -> Outcome:
        """Do work that is one transaction, and again from its beginning if others were in the way.

        The work must bear it: what it commits by `outside_transaction` is done each time.

        Raises:
            sqlalchemy.exc.DBAPIError: It failed for another reason, or too often.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return work()
            except DBAPIError as error:
                if attempt == _ATTEMPTS - 1 or not begin_again(error):
                    raise
            # Those who met would meet again if each waited for the same time.
            time.sleep(random.uniform(0, _LONGEST_FIRST_PAUSE * 2**attempt))  # noqa: S311 # no secret
        raise AssertionError("the last attempt returns or raises")

    async def run_in_group(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act whose transaction takes the connection as `shared`; it is committed then.

        Raises:
            NotTogether: Nothing was done, and it may go well alone, in a thread.
            Unavailable, sqlalchemy.exc.DBAPIError: It could not be begun, or committed.
        """
        if self._group is None:
            raise RetryAlone
        return await self._group.run(act)

    def shorten_log(self) -> None:
        """Keep what is written beside the data from growing; for a job.

        Raises:
            sqlalchemy.exc.OperationalError: It fails.
        """
        self._connections.shorten_log()

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        if self._group is not None:
            self._group.close()
        self._connections.close()
