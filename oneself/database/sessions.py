"""What acts work in: the session of a transaction, that of a part of one, and a single reading."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from sqlalchemy import BigInteger, Connection, Insert, Select, Update, bindparam, text
from sqlalchemy.exc import DBAPIError

from accounts.crypto.keyring import Keyring
from accounts.limits import Limits
from accounts.origin import Origin
from accounts.services.database import AccountSession
from oneself.database.group_commit import RetryAlone
from oneself.database.postgresql import Postgresql
from oneself.database.prepared import driver_of
from oneself.database.sqlite import Sqlite

__all__ = ["PartSession", "SingleReading", "TransactionSession"]

_NAME = bindparam("name", type_=BigInteger)
_HOLD = text("SELECT pg_advisory_xact_lock(:name)").bindparams(_NAME)
_TRY_TO_HOLD = text("SELECT pg_try_advisory_xact_lock(:name)").bindparams(_NAME)


def _nobody_asks() -> None:
    """Outside a request there is no credential to be looked up."""


class TransactionSession(AccountSession):
    """The session of one transaction at a time."""

    def __init__(
        self,
        connections: Sqlite | Postgresql,
        *,
        keys: Keyring,
        limits: Limits,
        now: datetime,
        origin: Origin,
        blocking: bool,
        joining: Literal["control_fully", "create_savepoint"] = "control_fully",
    ) -> None:
        super().__init__(join_transaction_mode=joining, expire_on_commit=False)
        self._connections = connections
        self._blocking = blocking
        self._taken: Connection | None = None
        self._id: str | None = None
        self._names_held: set[str] = set()
        self.keys = keys
        self.limits = limits
        self.now = now
        self.origin = origin
        self.observed = []
        self.authenticate_again = _nobody_asks

    def begin_transaction(self, *, writing: bool, snapshot: bool = False) -> None:
        """Take a connection and begin on it."""
        self._taken = self.bind = self.core = self._connections.take(blocking=self._blocking)
        self._id = self._connections.begin(self.core, writing=writing, snapshot=snapshot)

    @contextmanager
    def outside_transaction(self) -> Iterator[None]:
        """See `AccountSession`."""
        self.finish()
        self.abandon()
        yield
        self.begin_transaction(writing=True)

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """See `AccountSession`."""
        self.flush()
        return self._connections.rows(self.core, statement, parameters)

    def write(self, statement: Insert | Update, parameters: Mapping[str, Any]) -> int:
        """See `AccountSession`."""
        return self._connections.statements.write(self.core, statement, parameters)

    def lock(self, name: str) -> None:
        """See `AccountSession`; on SQLite whoever writes holds every name."""
        if self._id is not None and name not in self._names_held:
            self.core.execute(_HOLD, {"name": _number(name)})
            self._names_held.add(name)

    def try_lock(self, name: str) -> bool:
        """See `AccountSession`."""
        if self._id is None or name in self._names_held:
            return True
        if not self.core.execute(_TRY_TO_HOLD, {"name": _number(name)}).scalar():
            return False
        self._names_held.add(name)
        return True

    def finish(self) -> None:
        """Commit what the act has written; nothing, if it ended while it held no connection."""
        if self._taken is None:
            return  # what came before slow work is committed, and `core` is somebody else's by now
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


class PartSession(TransactionSession):
    """The session of an act in a transaction that it shares with others (`group_commit`).

    It is a savepoint: an act that is refused leaves nothing in the transaction of the others. The
    driver keeps it, since SQLAlchemy refuses to go back to one after certain failures.
    """

    def __init__(
        self, connections: Sqlite | Postgresql, *, shared: Connection, **of_the_act: Any
    ) -> None:
        super().__init__(connections, joining="create_savepoint", **of_the_act)
        self._shared = shared
        self._driver = driver_of(shared)
        self._open = False

    def begin_transaction(
        self,
        *,
        writing: bool,  # noqa: ARG002 # all do that share one
        snapshot: bool = False,  # noqa: ARG002 # and all see one moment
    ) -> None:
        """Begin the part.

        Raises:
            NotTogether: There is no transaction any more that it could be a part of.
        """
        if not self._driver.in_transaction:
            # SQLite has ended it after a failure, and the act that met that went on.
            raise RetryAlone
        self.bind = self.core = self._shared
        self._driver.execute("SAVEPOINT act")
        self._open = True

    def outside_transaction(self) -> NoReturn:
        """Refuse: it would commit what others have not finished.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("an act that takes long has a transaction of its own")

    def finish(self) -> None:
        """Leave what the act has written to the commit of all."""
        self.flush()
        if self.in_transaction():
            self.commit()
        self._driver.execute("RELEASE act")
        self._open = False

    def abandon(self) -> None:
        """Undo what the act has written, unless it is finished."""
        if self.in_transaction() or len(self.identity_map):
            self.close()
        if self._open and self._driver.in_transaction:
            self._driver.execute("ROLLBACK TO act")
            self._driver.execute("RELEASE act")
        self._open = False


class SingleReading:
    """A reading of which each statement is a transaction of its own: enough to see who asks.

    A session takes longer to make than this takes to read.
    """

    __slots__ = ("_blocking", "_connection", "_connections", "keys", "limits", "now", "observed")

    def __init__(
        self,
        connections: Sqlite | Postgresql,
        *,
        keys: Keyring,
        limits: Limits,
        now: datetime,
        blocking: bool,
    ) -> None:
        self._connections = connections
        self._blocking = blocking
        self.keys = keys
        self.limits = limits
        self.now = now
        self.observed: list[Any] = []

    def __enter__(self) -> Self:
        """Take a connection."""
        self._connection = self._connections.take(blocking=self._blocking)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Give it back, with nothing open on it."""
        try:
            # SQLAlchemy begins a transaction for each statement that comes by way of it.
            if self._connection.in_transaction():
                self._connections.roll_back(self._connection)
        finally:
            self._connections.give_back(self._connection)

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """See `AccountSession`."""
        return self._connections.rows(self._connection, statement, parameters)


def _number(name: str) -> int:
    """What PostgreSQL calls a name that is held: 64 bits of it, whose collisions only cost time."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
