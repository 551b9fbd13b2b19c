"""The sessions that acts work in: a whole transaction, a savepoint in one, single reads."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from sqlalchemy import BigInteger, Connection, Insert, Select, TextClause, Update, bindparam, text
from sqlalchemy.exc import DBAPIError

from accounts.crypto.keyring import Keyring
from accounts.errors import OutcomeUnknown, Unavailable
from accounts.limits import Limits
from accounts.origin import NO_ORIGIN, Origin
from accounts.services.database import AccountSession
from oneself.database.commit_gate import commit_gate, require_open_gate
from oneself.database.group_commit import RetryAlone
from oneself.database.pipelining import Transaction
from oneself.database.postgresql import Postgresql
from oneself.database.prepared import driver_of
from oneself.database.sqlite import Sqlite

_NAME = bindparam("name", type_=BigInteger)
_LOCK = text("SELECT pg_advisory_xact_lock(:name)").bindparams(_NAME)
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:name)").bindparams(_NAME)


def _no_credential() -> None:
    """Outside a request there is no credential to look up."""


def _no_policies(*_act: object) -> None:
    """Outside a request no policy decides."""


class TransactionSession(AccountSession):
    """A session with one transaction at a time."""

    def __init__(
        self,
        connections: Sqlite | Postgresql,
        *,
        keys: Keyring,
        limits: Limits,
        now: datetime,
        origin: Origin,
        blocking: bool,
        join_mode: Literal["control_fully", "create_savepoint"] = "control_fully",
    ) -> None:
        super().__init__(join_transaction_mode=join_mode, expire_on_commit=False)
        self._connections = connections
        self._blocking = blocking
        self._own_connection: Connection | None = None
        self._is_writing = False
        self._begun: Transaction | None = None
        self._locked_names: set[str] = set()
        self.keys = keys
        self.limits = limits
        self.now = now
        self.origin = origin
        self.observed = []
        self.attempted = None
        self.event_id = None
        self.authenticate_again = _no_credential
        self.authorise_public = _no_policies

    def begin_transaction(self, *, writing: bool, snapshot: bool = False) -> None:
        """Take a connection and begin a transaction on it.

        Raises:
            Unavailable: No connection was free in time, or the work is no longer waited for.
        """
        require_open_gate()
        self._is_writing = writing
        self._own_connection = self.bind = self.core = self._connections.take(
            blocking=self._blocking, writing=writing
        )
        self._begun = self._connections.begin(self.core, writing=writing, snapshot=snapshot)

    @contextmanager
    def outside_transaction(self) -> Iterator[None]:
        """See `AccountSession`."""
        try:
            self.finish(is_last=False)
        except OutcomeUnknown as unknown:
            # What is written before slow work may stay alone, and the act itself has not begun.
            raise Unavailable(reason=unknown.reason) from unknown
        self.abandon()
        yield
        self.begin_transaction(writing=True)

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """See `AccountSession`."""
        self.flush()
        return self._connections.rows(self.core, statement, parameters)

    def write(self, statement: Insert | Update | TextClause, parameters: Mapping[str, Any]) -> int:
        """See `AccountSession`."""
        return self._connections.statements.write(self.core, statement, parameters)

    def defer(self, statement: Insert | Update | TextClause, parameters: Mapping[str, Any]) -> None:
        """See `AccountSession`."""
        self._connections.statements.defer(self.core, statement, parameters)

    def lock(self, name: str) -> None:
        """See `AccountSession`; on SQLite a writing transaction has every lock."""
        if self._begun is not None and name not in self._locked_names:
            self.defer(_LOCK, {"name": _lock_id(name)})
            self._locked_names.add(name)

    def try_lock(self, name: str) -> bool:
        """See `AccountSession`."""
        if self._begun is None or name in self._locked_names:
            return True
        if not self.core.execute(_TRY_LOCK, {"name": _lock_id(name)}).scalar():
            return False
        self._locked_names.add(name)
        return True

    def finish(self, *, is_last: bool = True) -> None:
        """Commit the act's writes; do nothing if it ended without a connection.

        Raises:
            Unavailable: The act is no longer waited for, and must change nothing.
        """
        if self._own_connection is None:
            return  # the rest was committed before slow work; `core` may be another thread's by now
        self.flush()
        if not self.core.in_transaction():
            return
        self._connections.require_sound(self.core)
        with commit_gate(is_last=is_last) if self._is_writing else nullcontext():
            self._commit()

    def _commit(self) -> None:
        try:
            if self.in_transaction():
                self.commit()
            if self.core.in_transaction():  # the session's own may have had no connection yet
                self.core.commit()
        except DBAPIError as error:
            if self._begun is None or not error.connection_invalidated:
                raise
            # The connection is broken, and so is what SQLAlchemy knows of the transaction.
            self._connections.require_committed(self._begun.identity, self.event_id)
        else:
            if self._begun is not None:
                self._connections.require_acknowledged(self.core)

    def abandon(self) -> None:
        """Roll back what is not committed (nothing after `finish`); give the connection back."""
        if self.in_transaction() or len(self.identity_map):
            self.close()  # takes as long as a read, and most acts have no entities
        self._begun = self.event_id = None
        self._locked_names.clear()
        connection, self._own_connection = self._own_connection, None
        if connection is None:
            return
        try:
            self._connections.roll_back(connection)
        finally:
            self._connections.give_back(connection)


class SavepointSession(TransactionSession):
    """The session of an act in a transaction that it shares with others (`group_commit`).

    It is a savepoint: a refused act leaves nothing in the shared transaction. The savepoint is set
    through the driver, since SQLAlchemy refuses to roll back to one after certain failures.
    """

    def __init__(
        self, connections: Sqlite | Postgresql, *, shared: Connection, **context: Any
    ) -> None:
        super().__init__(connections, join_mode="create_savepoint", **context)
        self._shared = shared
        self._driver = driver_of(shared)
        self._open = False

    def begin_transaction(
        self,
        *,
        writing: bool,  # noqa: ARG002 # a group always writes
        snapshot: bool = False,  # noqa: ARG002 # a group is one snapshot
    ) -> None:
        """Set the savepoint.

        Raises:
            RetryAlone: The shared transaction has ended.
        """
        if not self._driver.in_transaction:
            # SQLite ended it after a failure, and the act that met the failure went on.
            raise RetryAlone
        self.bind = self.core = self._shared
        self._driver.execute("SAVEPOINT act")
        self._open = True

    def outside_transaction(self) -> NoReturn:
        """Raise `RuntimeError`: it would commit the unfinished writes of other acts."""
        raise RuntimeError("an act with slow work needs a transaction of its own")

    def finish(self, *, is_last: bool = True) -> None:  # noqa: ARG002 # the group commits
        """Release the savepoint: the act's writes are committed with the group."""
        self.flush()
        if self.in_transaction():
            self.commit()
        self._driver.execute("RELEASE act")
        self._open = False

    def abandon(self) -> None:
        """Undo the act's writes, unless it is finished."""
        if self.in_transaction() or len(self.identity_map):
            self.close()
        if self._open and self._driver.in_transaction:
            self._driver.execute("ROLLBACK TO act")
            self._driver.execute("RELEASE act")
        self._open = False


@dataclass(slots=True, eq=False)
class SingleReading:
    """Reads by single statements, each a transaction of its own: enough to authenticate.

    A session takes longer to make than this takes to read.
    """

    connections: Sqlite | Postgresql
    blocking: bool
    keys: Keyring
    limits: Limits
    now: datetime
    origin: Origin = NO_ORIGIN
    observed: list[Any] = field(default_factory=list)
    _connection: Connection = field(init=False)

    def __enter__(self) -> Self:
        """Take a connection."""
        self._connection = self.connections.take(blocking=self.blocking, writing=False)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Give the connection back, with no transaction open on it."""
        try:
            # SQLAlchemy begins a transaction for each statement that is not prepared.
            if self._connection.in_transaction():
                self.connections.roll_back(self._connection)
        finally:
            self.connections.give_back(self._connection)

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """See `AccountSession`."""
        return self.connections.rows(self._connection, statement, parameters)


def _lock_id(name: str) -> int:
    """Return the 64 bits that PostgreSQL locks for a name; a collision only costs time."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
