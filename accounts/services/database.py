"""The database session of the acts.

There are three ways to read and write rows, each for one purpose:

- **Entities** (`session.exec`, `get`, `add`) for code that creates rows, and for acts that use
  most columns of one row and are rare: what operators do, signup, one-time secrets.
- **Core** (`session.core.execute`) for all other statements: conditional updates whose `rowcount`
  decides, deletions, counts, and reads of a few columns. `columns_of` maps a named tuple to
  columns. Core sees no entity that was added and not flushed.
- **Prepared statements** (`session.rows`, `session.write`, `session.defer`) for what requests do
  most: reading the credential, the user and lists, and writing profile, settings and events. Each
  is built once, as a module constant whose values are all bind parameters.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Insert, Select, TextClause, Update
from sqlmodel import Session, SQLModel

from accounts.crypto.keyring import Keyring
from accounts.limits import Limits
from accounts.origin import Origin


class Reading(Protocol):
    """The part of a session that an act needs to read by one prepared statement."""

    keys: Keyring
    limits: Limits
    now: datetime
    origin: Origin
    observed: list[Any]

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Return the rows of a prepared statement: see `AccountSession`."""


class AccountSession(Session):
    """A session within one transaction, with the keys, limits, time and origin of the act.

    `core` is the underlying connection. `now` is read once, so that everything an act writes has
    the same time. `observed` collects the events of `accounts.services.events.observe_event`.
    `event_id` is the last event that the transaction has written: it tells later whether the
    transaction was committed.
    `attempted` is the email address or client id whose secret the act checks: if it refuses, the
    log names the attempt (`accounts.services.attempts`).
    `authenticate_again` looks up the credential of the request once more and raises `InvalidToken`
    if it is no longer valid, for acts that release the account during slow work; outside a request
    it does nothing. `authorise_public` asks the policies about the user of a public act, None for
    an act without an account, what the act is authenticated by, and the `Authentication` if that
    is a person's; it raises `Forbidden`, and outside a request nothing. The code that opened the
    session commits it: an act never does.
    """

    core: Connection
    keys: Keyring
    limits: Limits
    now: datetime
    origin: Origin
    observed: list[Any]
    event_id: str | None
    attempted: str | None
    authenticate_again: Callable[[], object]
    authorise_public: Callable[..., None]  # the module of `UserView` imports this one

    @abstractmethod
    def outside_transaction(self) -> AbstractContextManager[None]:
        """Commit before slow work, and begin a new writing transaction after it.

        Earlier writes stay even if the act fails later, so they must be valid by themselves, such
        as a counted attempt. Earlier reads may be stale afterwards: compare the values again in
        the statement that writes.
        """

    @abstractmethod
    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Return the rows of a prepared statement, in half the time of `core.execute`.

        The statement is built once and all its values are in `parameters`. Pending entities of the
        session are flushed first.
        """

    @abstractmethod
    def write(self, statement: Insert | Update | TextClause, parameters: Mapping[str, Any]) -> int:
        """Run a prepared statement, as in `rows`, and return how many rows it has written.

        Pending entities are not flushed first.
        """

    @abstractmethod
    def defer(self, statement: Insert | Update | TextClause, parameters: Mapping[str, Any]) -> None:
        """Run a prepared statement whose result is not needed, with the next one or the commit.

        On PostgreSQL that saves a round trip. The next statement of any kind sees what this one
        has written, and raises its failure.
        """

    @abstractmethod
    def lock(self, name: str) -> None:
        """Lock a name until the transaction ends; waits for a transaction that has it.

        The next statement of this session is run with the lock, and sees what was committed before
        it was granted.

        An act that writes depending on what it has read locks everything it reads. To prevent
        deadlocks, names are locked in one order everywhere: an account, then rate limits, which
        are locked by writing to them, then things that may not exist yet: an address, a user
        name.
        """

    @abstractmethod
    def try_lock(self, name: str) -> bool:
        """Lock a name without waiting; return False if another transaction has it."""


def columns_of(
    table: type[SQLModel], shape: type[tuple[Any, ...]], **others: Any
) -> tuple[Any, ...]:
    """Return the columns that the fields of a named tuple are read from, in their order.

    Each is the column of the table that has the name of the field, unless `others` has another.
    """
    names: tuple[str, ...] = shape._fields  # type: ignore[attr-defined] # there is no type for it
    return tuple(others[name] if name in others else getattr(table, name) for name in names)


def lock_account(session: AccountSession, user_id: str) -> None:
    """Lock the account until the transaction ends.

    Values that are read from it afterwards stay true until then, also on a database with
    concurrent writers (DB-02).
    """
    session.lock(f"account {user_id}")
