"""The database, and the session of a transaction in it."""

import hashlib
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Engine,
    Insert,
    Select,
    Update,
    bindparam,
    text,
)
from sqlalchemy.exc import DBAPIError

from accounts.database import AccountSession
from accounts.errors import AccountError
from accounts.keyring import Keyring
from accounts.origin import NOWHERE, Origin
from accounts.rules import Rules
from oneself.transactions.failures import begin_again
from oneself.transactions.group_commit import GroupCommit, NotTogether
from oneself.transactions.postgresql import Postgresql, open_server
from oneself.transactions.sqlite import Sqlite, open_file

__all__ = ["Database", "Location", "open_engine"]

#: A SQLite file, or the address of a PostgreSQL database.
Location = Path | URL
Outcome = TypeVar("Outcome")

#: How long anybody waits for the database before the answer is a 503, in milliseconds.
_PATIENCE = 5000

#: How often something is tried that only others stand in the way of.
_ATTEMPTS = 5
_LONGEST_FIRST_PAUSE = 0.02

_NAME = bindparam("name", type_=BigInteger)
_HOLD = text("SELECT pg_advisory_xact_lock(:name)").bindparams(_NAME)
_TRY_TO_HOLD = text("SELECT pg_try_advisory_xact_lock(:name)").bindparams(_NAME)


def open_engine(location: Location, *, patience: int = _PATIENCE) -> Engine:
    """An engine for a database; `patience` is how long a statement waits, in milliseconds."""
    if isinstance(location, Path):
        return open_file(location, patience=patience)
    return open_server(location, patience=patience)


class Database:
    """A database, with the keys and the rules that the acts in it keep to."""

    def __init__(
        self,
        location: Location,
        *,
        keys: Keyring,
        rules: Rules,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        connections: int = 4,
        patience: int = _PATIENCE,
    ) -> None:
        """Open none yet. To a PostgreSQL there are at most so many connections.

        `patience` is how long anybody waits for one or for a lock, in milliseconds.
        """
        self._connections: Sqlite | Postgresql = (
            Sqlite(location, patience=patience)
            if isinstance(location, Path)
            else Postgresql(location, patience=patience, connections=connections)
        )
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._idle: deque[_Session] = deque()
        self._group = (
            GroupCommit(self._connections) if isinstance(self._connections, Sqlite) else None
        )

    @property
    def never_waits(self) -> bool:
        """Whether a transaction can be had that never waits, so that the event loop can do it."""
        return self._connections.never_waits

    @contextmanager
    def transaction(
        self,
        *,
        writing: bool,
        waiting: bool = True,
        snapshot: bool = False,
        single: bool = False,
        shared: Connection | None = None,
        origin: Origin = NOWHERE,
    ) -> Iterator[AccountSession]:
        """A session in one transaction, committed at the end, or rolled back by an exception.

        With `snapshot`, all that is read in it is of one moment, on any database. With `single`,
        each statement that reads is a transaction of its own: enough for whoever reads by one. With
        `shared`, it is a part of the transaction that `together` gave, and is committed with that.

        Raises:
            Unavailable: Too many others are using the database.
            sqlalchemy.exc.OperationalError: It is locked by another writer, or fails.
            OutcomeUnknown: It failed in a moment in which all may be done or nothing.
        """
        session: _Session | None = None
        if single:
            with suppress(IndexError):
                session = self._idle.pop()
        elif shared is not None:
            session = _PartSession(self._connections, shared, keys=self._keys, rules=self._rules)
        if session is None:
            session = _Session(self._connections, keys=self._keys, rules=self._rules)
        session.renew(now=self._clock(), origin=origin, waiting=waiting)
        try:
            session.begin_transaction(writing=writing, snapshot=snapshot, single=single)
            yield session
        except AccountError as refusal:
            if refusal.keep_writes:
                session.finish()
            raise
        else:
            session.finish()
        finally:
            session.abandon()
            if single:
                # Making another one takes longer than the reading. No others are used again: an act
                # can leave more in its session than entities, as what shall be done on a commit.
                self._idle.append(session)

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

    async def together(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act whose transaction takes the connection as `shared`; it is committed then.

        Raises:
            NotTogether: Nothing was done, and it may go well alone, in a thread.
            Unavailable, sqlalchemy.exc.DBAPIError: It could not be begun, or committed.
        """
        if self._group is None:
            raise NotTogether
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


class _Session(AccountSession):
    """The session of one transaction at a time."""

    def __init__(
        self,
        connections: Sqlite | Postgresql,
        *,
        keys: Keyring,
        rules: Rules,
        joining: Literal["control_fully", "create_savepoint"] = "control_fully",
    ) -> None:
        super().__init__(join_transaction_mode=joining, expire_on_commit=False)
        self._connections = connections
        self._taken: Connection | None = None
        self._id: str | None = None
        self._names_held: set[str] = set()
        self.keys = keys
        self.rules = rules

    def renew(self, *, now: datetime, origin: Origin, waiting: bool) -> None:
        """Make it the session of an act, of which it knows nothing yet."""
        self._waiting = waiting
        self.now = now
        self.origin = origin
        self.observed = []

    def begin_transaction(
        self, *, writing: bool, snapshot: bool = False, single: bool = False
    ) -> None:
        self._taken = self.bind = self.core = self._connections.take(waiting=self._waiting)
        if not single:
            self._id = self._connections.begin(self.core, writing=writing, snapshot=snapshot)

    @contextmanager
    def outside_transaction(self) -> Iterator[None]:
        self.finish()
        self.abandon()
        yield
        self.begin_transaction(writing=True)

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        return self._connections.rows(self.core, statement, parameters)

    def write(self, statement: Insert | Update, parameters: Mapping[str, Any]) -> int:
        return self._connections.write(self.core, statement, parameters)

    def hold(self, name: str) -> None:
        # On SQLite whoever writes holds every name.
        if self._id is not None and name not in self._names_held:
            self.core.execute(_HOLD, {"name": _number(name)})
            self._names_held.add(name)

    def try_to_hold(self, name: str) -> bool:
        if self._id is None or name in self._names_held:
            return True
        if not self.core.execute(_TRY_TO_HOLD, {"name": _number(name)}).scalar():
            return False
        self._names_held.add(name)
        return True

    def finish(self) -> None:
        """Commit what the act has written."""
        self.flush()
        if not self.core.in_transaction():
            return
        self._connections.require_sound(self.core)
        try:
            self.commit() if self.in_transaction() else self.core.commit()
        except DBAPIError as error:
            if self._id is None or not error.connection_invalidated:
                raise
            # The connection is broken, and with it what SQLAlchemy knows of the transaction.
            self._connections.require_committed(self._id)

    def abandon(self) -> None:
        """Roll back whatever is not committed, after `finish` nothing; give the connection back."""
        if self.in_transaction() or len(self.identity_map):
            self.close()  # which takes as long as a reading, and most acts have no entities
        self._id = None
        self._names_held.clear()
        taken, self._taken = self._taken, None
        if taken is None:
            return
        try:
            self._connections.roll_back(taken)
        finally:
            self._connections.give_back(taken)


class _PartSession(_Session):
    """The session of an act in a transaction that it shares with others (`group_commit`).

    It is a savepoint: an act that is refused leaves nothing in the transaction of the others.
    """

    def __init__(
        self, connections: Sqlite | Postgresql, shared: Connection, *, keys: Keyring, rules: Rules
    ) -> None:
        super().__init__(connections, keys=keys, rules=rules, joining="create_savepoint")
        self._shared = shared
        self._open = False

    def begin_transaction(
        self,
        *,
        writing: bool,  # noqa: ARG002 # all do that share one
        snapshot: bool = False,  # noqa: ARG002 # and all see one moment
        single: bool = False,  # noqa: ARG002 # and none is only a reading
    ) -> None:
        self.bind = self.core = self._shared
        self._shared.exec_driver_sql("SAVEPOINT act")
        self._open = True

    def outside_transaction(self) -> NoReturn:
        raise RuntimeError("an act that takes long has a transaction of its own")

    def finish(self) -> None:
        self.flush()
        if self.in_transaction():
            self.commit()
        self._shared.exec_driver_sql("RELEASE act")
        self._open = False

    def abandon(self) -> None:
        if self.in_transaction() or len(self.identity_map):
            self.close()
        if self._open:
            self._shared.exec_driver_sql("ROLLBACK TO act")
            self._shared.exec_driver_sql("RELEASE act")
            self._open = False


def _number(name: str) -> int:
    """What PostgreSQL calls a name that is held: 64 bits of it, whose collisions only cost time."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
