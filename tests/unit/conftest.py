"""What the unit tests start from: a real database, a clock that can be moved, and people.

The acts are run as the service runs them, each in a transaction of its own. Nothing of ours is
replaced; where two things have to happen at once, `during_the_hash` lets the one happen while the
other is inside bcrypt, which is where the acts let go of the database.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import settings
from sqlalchemy import JSON, Text, cast, select, text, type_coerce
from sqlalchemy.types import NullType

from accounts.crypto.keyring import Keyring
from accounts.crypto.password_hashing import hash_password
from accounts.flows.administration.clients import add_client
from accounts.flows.sign_in.sessions import open_session
from accounts.limits import Limits
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.principal import CredentialKind, Presented, Principal
from accounts.services.user_views import UserView, find_user_view
from accounts.services.users import open_tenant, open_user
from models import Client, OutboxMessage, Tenant, metadata
from oneself.database import Database, Location
from tests.support.databases import Files, Storage, in_words_of
from tests.support.disk import Disk
from tests.support.in_process import InProcess

# Examples that failed once are written into the tests by hand, not into a folder of the checkout.
settings.register_profile("unit", database=None, deadline=None)
settings.load_profile("unit")

START = datetime(2026, 4, 5, 10, tzinfo=UTC)
PASSWORD = "Violet tangent 47 harbour"
COST = 4


class Clock:
    """The time of the database, which stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **parts: float) -> datetime:
        self.now += timedelta(**parts)
        return self.now


@dataclass(frozen=True)
class LoggedInUser:
    """A person of the house, with what only they know."""

    view: UserView
    password: str
    token: str
    principal: Principal

    @property
    def user_id(self) -> str:
        return self.view.user_id


@dataclass(frozen=True)
class Env:
    """A database with the clock it goes by, and short ways to fill it."""

    database: Database
    location: Location
    clock: Clock
    keys: Keyring
    limits: Limits

    def act(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run one act in a writing transaction of its own."""
        with self.database.transaction(writing=True) as session:
            return act(session, *arguments, **named)

    def tenant(self, name: str = "Example") -> Tenant:
        tenant: Tenant = self.act(open_tenant, name)
        return tenant

    def client(self, tenant_id: str, *scopes: str) -> tuple[Client, str]:
        """Add a client to a tenant, of all scopes or of some; the second is its secret."""
        with self.database.transaction(writing=True) as session:
            return add_client(
                session,
                session.get_one(Tenant, tenant_id),
                name="A program",
                scopes=scopes or SESSION_RIGHTS,
            )

    def user(
        self,
        email: str,
        *,
        tenant: Tenant | None = None,
        provider: str = "local",
        password: str = PASSWORD,
        cost: int = COST,
    ) -> LoggedInUser:
        """Open a user who is logged in; one of another provider has no password here."""
        record = hash_password(password, self.keys, cost) if provider == "local" else None
        with self.database.transaction(writing=True) as session:
            user = open_user(
                session,
                tenant or open_tenant(session, "Example"),
                email=email,
                display_name="A Person",
                record=record,
                provider=provider,
            )
            opened = open_session(session, user.id)
        return LoggedInUser(
            self.view(user.id),
            password,
            opened.token,
            self.recognise(CredentialKind.SESSION, opened.token),
        )

    def view(self, user_id: str) -> UserView:
        """The person as they are now."""
        view: UserView = self.act(find_user_view, user_id)
        return view

    def recognise(self, kind: CredentialKind, token: str) -> Principal:
        """Authenticate, as a request with this credential would."""
        with self.database.transaction(writing=False) as session:
            return authenticate(session, Presented(kind, token))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table as they are stored, in no particular order.

        Moments are texts and truths are numbers, as SQLite has them, whatever the database.
        """
        columns = [
            cast(each, Text) if isinstance(each.type, JSON) else type_coerce(each, NullType())
            for each in metadata.tables[table].columns
        ]
        with self.database.transaction(writing=False) as session:
            found = session.core.execute(select(*columns))
            return [
                {name: _as_in_sqlite(value) for name, value in row._mapping.items()}  # noqa: SLF001 # it is public in SQLAlchemy
                for row in found
            ]

    def messages(self) -> list[OutboxMessage]:
        """What is in the outbox, delivered or not, oldest first."""
        with self.database.transaction(writing=False) as session:
            # What was posted in one moment stands in the order in which it was written.
            written = "rowid" if session.core.dialect.name == "sqlite" else "ctid"
            oldest_first = select(OutboxMessage).order_by(text(f"created_at, {written}"))
            return list(session.scalars(oldest_first))

    def stored(self) -> bytes:
        """All that is stored: whole files with their log or, of a server, every value."""
        if isinstance(self.location, Path):
            files = self.location.parent.glob(f"{self.location.name}*")
            return b"".join(path.read_bytes() for path in files)
        values = (
            value for table in metadata.tables for row in self.rows(table) for value in row.values()
        )
        return b"\n".join(
            value if isinstance(value, bytes) else str(value).encode() for value in values
        )

    @property
    def on_sqlite(self) -> bool:
        return isinstance(self.location, Path)

    def count(self, table: str) -> int:
        return len(self.rows(table))

    def drop_trigger(self, table: str, verb: str) -> None:
        """Let a table of events be changed, as somebody could who has the database."""
        on = "" if self.on_sqlite else f" ON {table}"
        self.execute(f"DROP TRIGGER {table}_no_{verb}{on}")

    def spoil(self, table: str, column: str, value: str) -> None:
        """Put into a column what cannot be read as what it should be."""
        if self.on_sqlite:
            self.execute(f"UPDATE {table} SET {column} = ?", value)  # noqa: S608 # a test's
        else:
            # A column has one type, so the whole column is of another one then.
            self.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text USING '{value}'")

    @contextmanager
    def broken(self, table: str, verb: str, when: str = "true") -> Iterator[None]:
        """While this lasts, the database fails at a change of a table, as at a full disk."""
        if self.on_sqlite:
            self.execute(
                f"CREATE TRIGGER broken BEFORE {verb} ON {table} WHEN {when}"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        else:
            self.execute(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE"
                " integrity_constraint_violation USING MESSAGE = 'broken'; END $$"
            )
            self.execute(
                f"CREATE TRIGGER broken BEFORE {verb} ON {table} FOR EACH ROW WHEN ({when})"
                " EXECUTE FUNCTION broken()"
            )
        yield
        if self.on_sqlite:
            self.execute("DROP TRIGGER broken")
        else:
            self.execute("DROP FUNCTION broken CASCADE")

    def execute(self, statement: str, *parameters: Any) -> None:
        """Change the stored rows behind the acts' back."""
        with self.database.transaction(writing=True) as session:
            session.core.exec_driver_sql(
                in_words_of(session.core.dialect.name, statement), parameters
            )


def _as_in_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return int(value) if isinstance(value, bool) else value


def explained(session: AccountSession, statement: str, parameters: Any) -> list[str]:
    """The steps in which a statement is done, in the words of the database."""
    if session.core.dialect.name == "sqlite":
        found = session.core.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[-1] for row in found]
    # In a table of a few rows no index is worth while.
    session.core.exec_driver_sql("SET enable_seqscan = off")
    found = session.core.exec_driver_sql(f"EXPLAIN (COSTS off) {statement}", parameters)
    return [row[0].strip() for row in found]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, for what is about files whatever the other tests run on."""
    return Files(tmp_path_factory.mktemp("migrated")).make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def location(storage: Storage, tmp_path: Path) -> Iterator[Location]:
    """A fresh database of this test's own."""
    made = storage.make(tmp_path)
    yield made
    storage.drop(made)


@pytest.fixture
def there(location: Location, tmp_path: Path) -> Iterator[InProcess]:
    """A whole application over the database, which a test may spoil."""
    made = InProcess(tmp_path, location)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> Keyring:
    return Keyring(b"x" * 32)


@pytest.fixture
def open_house(location: Location, clock: Clock, keys: Keyring) -> Iterator[Callable[..., Env]]:
    """Opens the database under rules of the test's choice; bcrypt's cost is the least there is."""
    opened = []

    def open_house(**limits: Any) -> Env:
        chosen = Limits(**{"password_cost": COST, **limits})
        database = Database(location, keys=keys, limits=chosen, clock=clock)
        opened.append(database)
        return Env(database, location, clock, keys, chosen)

    yield open_house
    for database in opened:
        database.close()


@pytest.fixture
def env(open_house: Callable[..., Env]) -> Env:
    return open_house()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """What a power cut would leave of what is written from now on."""
    return Disk(tmp_path, monkeypatch)


@pytest.fixture
def database(env: Env) -> Database:
    return env.database


@pytest.fixture
def alice(env: Env) -> LoggedInUser:
    return env.user("alice@example.com")


@pytest.fixture
def bob(env: Env) -> LoggedInUser:
    """Somebody else, in another tenant."""
    return env.user("bob@example.org")


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Any]]:
    """Calls a function in another thread, and so over another connection, and waits for it."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda work, *arguments, **named: thread.submit(work, *arguments, **named).result(30)


@pytest.fixture
def during_the_hash(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[..., Any]
) -> Callable[[Callable[[], Any]], list[Any]]:
    """Lets something happen in another thread while the next password is being checked.

    What it returned is put into the list that the test gets.
    """

    def arrange(happen: Callable[[], Any]) -> list[Any]:
        check, outcomes = bcrypt.checkpw, []

        def checkpw(password: bytes, hashed: bytes) -> bool:
            monkeypatch.setattr(bcrypt, "checkpw", check)
            outcomes.append(elsewhere(happen))
            return check(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)
        return outcomes

    return arrange
