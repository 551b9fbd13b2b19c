"""Fixtures of the unit tests: a real database, a movable clock, and users.

Acts run as in the service, each in its own transaction, and nothing of ours is mocked. For tests of
concurrency, `during_hashing` runs one act while another is inside bcrypt, where acts release the
database.
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
from tests.support.compiled_statements import share_compiled_statements
from tests.support.databases import PostgresqlStorage, SqliteStorage, Storage, translate_sql
from tests.support.disk import Disk
from tests.support.in_process import InProcess

# Examples that failed once become tests, and are not kept in a folder of the checkout.
settings.register_profile("unit", database=None, deadline=None, max_examples=40)
settings.register_profile("nightly", database=None, deadline=None, max_examples=400)

share_compiled_statements()


def pytest_configure(config: pytest.Config) -> None:
    """Draw few examples by default, and many by night."""
    settings.load_profile("nightly" if config.getoption("--nightly") else "unit")


START = datetime(2026, 4, 5, 10, tzinfo=UTC)
PASSWORD = "Violet tangent 47 harbour"
COST = 4


class Clock:
    """The time of the database, which changes only when a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **parts: float) -> datetime:
        self.now += timedelta(**parts)
        return self.now


@dataclass(frozen=True)
class LoggedInUser:
    """A logged-in user with their password and session token."""

    view: UserView
    password: str
    token: str
    principal: Principal

    @property
    def user_id(self) -> str:
        return self.view.user_id


@dataclass(frozen=True)
class Env:
    """A database with its clock, and helpers to fill and inspect it."""

    database: Database
    location: Location
    clock: Clock
    keys: Keyring
    limits: Limits

    def act(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run an act in its own writing transaction."""
        with self.database.transaction(writing=True) as session:
            return act(session, *arguments, **named)

    def tenant(self, name: str = "Example") -> Tenant:
        tenant: Tenant = self.act(open_tenant, name)
        return tenant

    def client(self, tenant_id: str, *scopes: str, **options: Any) -> tuple[Client, str]:
        """Add a client with these scopes (default: all) to a tenant; return it with its secret."""
        with self.database.transaction(writing=True) as session:
            return add_client(
                session,
                session.get_one(Tenant, tenant_id),
                name="A program",
                scopes=scopes or SESSION_RIGHTS,
                **options,
            )

    def user(
        self,
        email: str,
        *,
        tenant: Tenant | None = None,
        provider: str = "local",
        password: str = PASSWORD,
    ) -> LoggedInUser:
        """Open a user and log them in; users of another provider have no password."""
        record = hash_password(password, self.keys, self.limits) if provider == "local" else None
        with self.database.transaction(writing=True) as session:
            user = open_user(
                session,
                tenant or open_tenant(session, "Example"),
                email=email,
                display_name="A Person",
                record=record,
                provider=provider,
            )
            new_session = open_session(session, user.id)
        return LoggedInUser(
            self.view(user.id),
            password,
            new_session.token,
            self.authenticate(CredentialKind.SESSION, new_session.token),
        )

    def view(self, user_id: str) -> UserView:
        """Return the current view of a user."""
        view: UserView = self.act(find_user_view, user_id)
        return view

    def authenticate(self, kind: CredentialKind, token: str) -> Principal:
        """Authenticate as a request with this credential would."""
        with self.database.transaction(writing=False) as session:
            return authenticate(session, Presented(kind, token))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table as stored, in no particular order.

        Times are text and booleans are numbers, as in SQLite, on any database.
        """
        columns = [
            cast(column, Text) if isinstance(column.type, JSON) else type_coerce(column, NullType())
            for column in metadata.tables[table].columns
        ]
        with self.database.transaction(writing=False) as session:
            result = session.core.execute(select(*columns))
            return [
                {name: _as_in_sqlite(value) for name, value in row._mapping.items()}  # noqa: SLF001 # it is public in SQLAlchemy
                for row in result
            ]

    def messages(self) -> list[OutboxMessage]:
        """Return the messages of the outbox, delivered or not, oldest first."""
        with self.database.transaction(writing=False) as session:
            # Messages of the same time are in the order in which they were written.
            row_order = "rowid" if session.core.dialect.name == "sqlite" else "ctid"
            oldest_first = select(OutboxMessage).order_by(text(f"created_at, {row_order}"))
            return list(session.scalars(oldest_first))

    def stored_bytes(self) -> bytes:
        """Return all stored bytes: the files of SQLite, or every value of a server."""
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
        """Drop a trigger that protects an event table, as an attacker with the database could."""
        on = "" if self.on_sqlite else f" ON {table}"
        self.execute(f"DROP TRIGGER {table}_no_{verb}{on}")

    def corrupt_column(self, table: str, column: str, value: str) -> None:
        """Write a value into a column that cannot be read as the column's type."""
        if self.on_sqlite:
            self.execute(f"UPDATE {table} SET {column} = ?", value)  # noqa: S608 # a test's
        else:
            # A column has one type, so the whole column becomes text.
            self.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text USING '{value}'")

    @contextmanager
    def failing_on(self, table: str, verb: str, when: str = "true") -> Iterator[None]:
        """Make the database fail on a change of a table, as with a full disk."""
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
        """Change stored rows without an act."""
        with self.database.transaction(writing=True) as session:
            session.core.exec_driver_sql(
                translate_sql(session.core.dialect.name, statement), parameters
            )


def _as_in_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return int(value) if isinstance(value, bool) else value


def explain_query(session: AccountSession, statement: str, parameters: Any) -> list[str]:
    """Return the database's plan for a statement, a step each."""
    if session.core.dialect.name == "sqlite":
        plan = session.core.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[-1] for row in plan]
    # In a table of few rows the planner would not use an index.
    session.core.exec_driver_sql("SET enable_seqscan = off")
    plan = session.core.exec_driver_sql(f"EXPLAIN (COSTS off) {statement}", parameters)
    return [row[0].strip() for row in plan]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, for tests of files on any database."""
    return SqliteStorage(tmp_path_factory.mktemp("migrated")).make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def location(storage: Storage, tmp_path: Path) -> Iterator[Location]:
    """A fresh database for one test."""
    location = storage.make(tmp_path)
    yield location
    storage.drop(location)


@pytest.fixture
def server_location(servers: PostgresqlStorage, tmp_path: Path) -> Iterator[Location]:
    """A fresh PostgreSQL database, whichever kind is chosen for the other tests."""
    location = servers.make(tmp_path)
    yield location
    servers.drop(location)


@pytest.fixture
def application(location: Location, tmp_path: Path) -> Iterator[InProcess]:
    """A whole application over the database, which the test may damage."""
    in_process = InProcess(tmp_path, location)
    yield in_process
    in_process.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> Keyring:
    return Keyring(b"x" * 32)


@pytest.fixture
def make_env(location: Location, clock: Clock, keys: Keyring) -> Iterator[Callable[..., Env]]:
    """Open the database with limits of the test's choice, and bcrypt's lowest cost."""
    databases = []

    def make_env(**limits: Any) -> Env:
        chosen = Limits(**{"password_cost": COST, **limits})
        database = Database(location, keys=keys, limits=chosen, clock=clock)
        databases.append(database)
        return Env(database, location, clock, keys, chosen)

    yield make_env
    for database in databases:
        database.close()


@pytest.fixture
def env(make_env: Callable[..., Env]) -> Env:
    return make_env()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that tells what a power cut would leave of the files written from now on."""
    return Disk(tmp_path, monkeypatch)


@pytest.fixture
def database(env: Env) -> Database:
    return env.database


@pytest.fixture
def alice(env: Env) -> LoggedInUser:
    return env.user("alice@example.com")


@pytest.fixture
def bob(env: Env) -> LoggedInUser:
    """A user in another tenant."""
    return env.user("bob@example.org")


@pytest.fixture
def run_in_thread() -> Iterator[Callable[..., Any]]:
    """Call a function in another thread, over another connection, and return its result."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda work, *arguments, **named: thread.submit(work, *arguments, **named).result(30)


@pytest.fixture
def during_hashing(
    monkeypatch: pytest.MonkeyPatch, run_in_thread: Callable[..., Any]
) -> Callable[[Callable[[], Any]], list[Any]]:
    """Run a function in another thread while the next password is being checked.

    Its result is added to the returned list.
    """

    def arrange(function: Callable[[], Any]) -> list[Any]:
        check, results = bcrypt.checkpw, []

        def checkpw(password: bytes, hashed: bytes) -> bool:
            monkeypatch.setattr(bcrypt, "checkpw", check)
            results.append(run_in_thread(function))
            return check(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)
        return results

    return arrange
