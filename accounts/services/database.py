"""The database session of the acts.

There are three ways to read and write rows, each for one purpose:

- **Entities** (`session.exec`, `get`, `add`) for code that creates rows, and for acts that use
  most columns of one row and are rare: what operators do, signup, one-time secrets.
- **Core** (`session.core.execute`) for all other statements: conditional updates whose `rowcount`
  decides, deletions, counts, and reads of a few columns. `columns_of` maps a named tuple to
  columns. Core sees no entity that was added and not flushed.
- **Prepared statements** (`session.rows`, `session.write`) for what requests do most: reading the
  credential, the user and lists, and writing profile, settings and events. Each is built once, as
  a module constant whose values are all bind parameters.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Insert, Select, Update
from sqlmodel import Session, SQLModel

from accounts.crypto.keyring import Keyring
from accounts.limits import Limits
from accounts.origin import Origin

__all__ = ["AccountSession", "Reading", "columns_of", "lock_account"]


class Reading(Protocol):
    """What is enough for an act that reads by one statement; an `AccountSession` is one as well."""

    keys: Keyring
    limits: Limits
    now: datetime
    observed: list[Any]

    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """What a statement selects: see `AccountSession`."""


class AccountSession(Session):
    """A session inside one transaction, with the keys, the rules, the time and origin of the act.

    `core` is the connection below it, for statements that are built once and read rows rather
    than entities. `now` is read once, so that all that an act writes bears the same moment.
    `observed` collects the events of `accounts.services.events.observe_event`. `authenticate_again`
    looks up the credential of the request once more and raises `InvalidToken` if it has ended: for
    an act that releases the account during slow work. Outside a request it does nothing.
    Whoever opened the session commits it: an act never does.
    """

    core: Connection
    keys: Keyring
    limits: Limits
    now: datetime
    origin: Origin
    observed: list[Any]
    authenticate_again: Callable[[], object]

    @abstractmethod
    def outside_transaction(self) -> AbstractContextManager[None]:
        """Commit for the time of slow work, and begin a writing transaction after it.

        What was written before stays, whatever follows: it may only be what is true by itself,
        such as an attempt that was counted. What was read before can be stale after: compare it
        again in the statement that writes.
        """

    @abstractmethod
    def rows(
        self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """What a statement selects, at the least cost: for those that each request begins with.

        It is one that is built once, whose parameters are all in `parameters`. It reads the
        database as `core.execute` does, which takes twice as long, once what the session has is
        written.
        """

    @abstractmethod
    def write(self, statement: Insert | Update, parameters: Mapping[str, Any]) -> int:
        """How many rows a statement has written, at the least cost; it is like one of `rows`.

        Nothing is written before it.
        """

    @abstractmethod
    def lock(self, name: str) -> None:
        """Let no other transaction that holds this name go on until the end of this one.

        For an act that reads in order to write, of all that it reads. Names are held in one order
        everywhere, or two would wait for each other: an account first, then budgets of attempts,
        which are held by writing to them, then what may not be there yet: an address, a user name.
        """

    @abstractmethod
    def try_lock(self, name: str) -> bool:
        """Hold a name as `lock` does, unless another transaction does; tell whether it is held."""


def columns_of(
    table: type[SQLModel], shape: type[tuple[Any, ...]], **others: Any
) -> tuple[Any, ...]:
    """Return the columns that the fields of a named tuple are read from, in their order.

    Each is the column of the table that has the name of the field, unless `others` has another.
    """
    names: tuple[str, ...] = shape._fields  # type: ignore[attr-defined] # there is no type for it
    return tuple(others[name] if name in others else getattr(table, name) for name in names)


def lock_account(session: AccountSession, user_id: str) -> None:
    """Let nobody else write to an account until the end of the transaction.

    So what was read of it is true until then, on a database that lets many write at once (DB-02).
    """
    session.lock(f"account {user_id}")
