"""Migrations: of tables with rows in them, broken off at each statement, beside the old service.

The revisions that are migrated from are all that there are. None was released before 0.1.0; what is
held here is held for those that will be.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.exc import OperationalError

from accounts.crypto.keyring import Keyring
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits
from accounts.services.authentication import authenticate
from accounts.services.principal import CredentialKind, Presented
from models.schema import REVISION
from oneself.commands.demo_data import make_demo
from oneself.database import Database, Location, open_engine
from oneself.database.migrations import differences, present_revision, upgrade
from tests.http.running import Running, open_account, running
from tests.support.databases import Servers, Storage
from tests.support.journal import Client, Load
from tests.support.revisions import EARLIER, fill, migrate_to, project, rows_of, schema_of

ROOT = Path(__file__).parents[2]
_MOST = 400

#: What a migration fills in itself where a row has been there before; else it is the default of the
#: column, which the models say.
_FILLED: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("outbox_message", "due_at"): lambda row: row["created_at"],
    ("outbox_message", "attempts"): lambda _row: 0,
    ("one_time_secret", "is_mailed"): lambda row: row["purpose"] != "email_change",
    ("client", "is_public"): lambda _row: False,
    ("client", "audiences"): lambda _row: [],
    ("user", "credential_epoch"): lambda _row: 0,
    ("user", "verified_email"): lambda row: row["email_verified_at"] and row["email"],
    ("user", "verified_email_canonical"): lambda row: (
        row["email_verified_at"] and row["email_canonical"]
    ),
    ("user", "first_email"): lambda row: _first(row, row["email"]),
    ("user", "first_email_canonical"): lambda row: _first(row, row["email_canonical"]),
}


def _first(row: dict[str, Any], present: str) -> str | None:
    """The present address, for whoever has verified none."""
    return None if row.get("verified_email", row["email_verified_at"]) else present


@pytest.fixture
def blank(storage: Storage, tmp_path: Path) -> Iterator[Location]:
    """A database without tables."""
    if isinstance(storage, Servers):
        made = storage.blank()
        yield made
        storage.discard(made)
    else:
        yield tmp_path / "blank.sqlite3"


@pytest.fixture
def engine(blank: Location) -> Iterator[Engine]:
    opened = open_engine(blank)
    yield opened
    opened.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_migration_keeps_every_row_as_it_was(revision, engine):
    """DB-15: whatever is in a column; and what is new has the value that the migration gives it."""
    migrate_to(engine, revision)
    fill(engine)
    before = rows_of(engine)
    upgrade(engine)
    after = rows_of(engine)
    assert present_revision(engine) == REVISION
    assert differences(engine) == []
    assert before.keys() <= after.keys()
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert sorted(kept, key=repr) == rows, table
        for row in after[table]:
            for name in row.keys() - rows[0].keys():
                filled = _FILLED.get((table, name), lambda _row: None)
                assert row[name] == filled(row), (table, name)
    assert not any(after[table] for table in after.keys() - before.keys())


@pytest.mark.parametrize("revision", EARLIER)
def test_whoever_had_an_account_has_it_afterwards(revision, engine, blank, storage, tmp_path):
    """DB-15: with their password, their session, and every key and token."""
    migrate_to(engine, revision)
    newest = storage.make(tmp_path)
    opened = {"keys": Keyring(b"x" * 32), "limits": Limits(password_cost=4)}
    made = Database(newest, **opened)
    alice = make_demo(made)["base"]
    made.close()
    source = open_engine(newest)
    project(source, engine)
    source.dispose()
    storage.drop(newest)
    upgrade(engine)
    database = Database(blank, **opened)
    for kind, name in (
        (CredentialKind.SESSION, "session_token"),
        (CredentialKind.API_KEY, "api_key"),
        (CredentialKind.ACCESS_TOKEN, "access_token"),
        (CredentialKind.PAT, "pat"),
    ):
        with database.transaction(writing=False) as session:
            principal = authenticate(session, Presented(kind, alice[name]))
        assert principal.user.user_id == alice["user_id"], kind
    with database.transaction(writing=True) as session:
        entered = {"email": alice["email"], "password": alice["password"]}
        assert log_in(session, **entered, user_agent=None).user.user_id == alice["user_id"]
    database.close()


class _Break:
    """What happens at the n-th statement, or at the commit."""

    def __init__(self, place: str, number: int, fault: Callable[[], None]) -> None:
        self._left, self._fault = number, fault
        self.happened = False
        self._name = {"statement": "before_cursor_execute", "commit": "commit"}[place]

    def _reach(self, *_what: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self.happened = True
            self._fault()

    @contextmanager
    def armed(self, engine: Engine) -> Iterator[None]:
        event.listen(engine, self._name, self._reach)
        try:
            yield
        finally:
            event.remove(engine, self._name, self._reach)


def _fail() -> None:
    raise OperationalError("", None, Exception("disk I/O error"), hide_parameters=True)


class _End(Enum):
    """How a migration ended that something was to happen to."""

    DONE = auto()
    BROKEN_OFF = auto()
    #: A question about the tables failed, and was put in another way.
    DONE_NEVERTHELESS = auto()


def _failed(location: Location, place: str, number: int) -> _End:
    """Migrate, with a statement that fails."""
    engine = open_engine(location)
    failing = _Break(place, number, _fail)
    try:
        with failing.armed(engine):
            upgrade(engine)
    except OperationalError:
        return _End.BROKEN_OFF
    finally:
        engine.dispose()
    return _End.DONE_NEVERTHELESS if failing.happened else _End.DONE


def _killed(location: Location, place: str, number: int) -> _End:
    """Migrate in a process that ends at once, and does not clean up."""
    child = os.fork()
    if child == 0:
        try:
            engine = open_engine(location)
            stop = _Break(place, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            with stop.armed(engine):
                upgrade(engine)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return _End.BROKEN_OFF
    assert os.WEXITSTATUS(status) == 0
    return _End.DONE


@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize("broken_off", [_failed, _killed], ids=["fails", "is killed"])
@pytest.mark.parametrize("revision", [None, *EARLIER])
def test_a_migration_that_is_broken_off_has_done_nothing(  # noqa: PLR0917 # what is tried, and where
    revision, broken_off, place, engine, blank, outcomes, tmp_path
):
    """DB-15: at whichever statement; and it can be begun again as it is, until it is done."""
    if revision is not None:
        migrate_to(engine, revision)
        fill(engine)
    before, rows = schema_of(engine), rows_of(engine)
    engine.dispose()
    untouched = tmp_path / "untouched.sqlite3"
    if isinstance(blank, Path):
        shutil.copy(blank, untouched)
    outcome = outcomes[f"a migration {'killed' if broken_off is _killed else 'that fails'}"]
    for number in count(1):
        assert number < _MOST
        ended = broken_off(blank, place, number)
        if ended is _End.DONE:
            break
        outcome.rounds += 1
        if ended is _End.DONE_NEVERTHELESS:
            assert differences(engine) == []
            engine.dispose()
            shutil.copy(untouched, blank)
        assert schema_of(engine) == before, number
        assert rows_of(engine) == rows, number
    assert number > 1
    outcome.books.acknowledged += 1
    assert present_revision(engine) == REVISION
    assert differences(engine) == []
    for table, kept in rows.items():
        assert len(rows_of(engine)[table]) == len(kept)


#: What a later version might bring that leaves alone what is there.
_ADDITIVE = (
    'ALTER TABLE "user" ADD COLUMN nickname VARCHAR(40)',
    "ALTER TABLE api_key ADD COLUMN colour INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE security_event ADD COLUMN place VARCHAR(40)",
    "CREATE TABLE passkey (id VARCHAR(16) PRIMARY KEY, user_id VARCHAR(16))",
    "CREATE INDEX ix_login_session_created_at ON login_session (created_at)",
    "UPDATE alembic_version SET version_num = '9999'",
)


def _move_on(engine: Engine) -> None:
    def run(connection: Connection) -> None:
        for statement in _ADDITIVE:
            connection.exec_driver_sql(statement)

    with engine.connect() as connection:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "BEGIN"
        )
        run(connection)
        connection.commit()


def _not_ready(service: Running) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if service.ask("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE:
            return True
        time.sleep(0.01)
    return False


def test_an_old_replica_beside_newer_tables_says_so_and_loses_nothing(storage, tmp_path, outcomes):
    """DB-15: it is not ready from the migration on, and what still reaches it is served."""
    place = storage.settings()
    budgets = {"throttle_account": "100000/1", "throttle_mail": "100000/1"}
    with running(tmp_path, workers=2, password_cost=10, **budgets, **place) as service:
        people = [open_account(service, f"person{each}@example.com") for each in range(4)]
        load = Load([Client(service, person, seed) for seed, person in enumerate(people)])
        engine = open_engine(_location(place, tmp_path))
        outcome = outcomes["a replica of the version before the tables'"]
        try:
            load.go()
            time.sleep(0.5)
            began = time.monotonic()
            _move_on(engine)
            assert _not_ready(service)
            outcome.recoveries.append(time.monotonic() - began)
            time.sleep(1)
            load.pause()
            found = load.check(Client.check)
        finally:
            load.close()
            engine.dispose()
        outcome.rounds += 1
        outcome.books.add(found)
        assert (found.lost, found.doubled, found.failures, found.unanswered) == ([], [], 0, 0)
        assert found.acknowledged > len(people)
        assert service.ask("GET", "/healthz").status == HTTPStatus.OK
        open_account(service, "late@example.com")
    refused = subprocess.run(
        [sys.executable, "-m", "oneself", "serve", "--port", str(service.port)],
        cwd=ROOT,
        env=os.environ | _environment(place, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "9999" in refused.stderr
    assert REVISION in refused.stderr


def _location(place: Any, folder: Path) -> Location:
    url = place.get("database_url")
    return make_url(url) if url else folder / "data" / "oneself.sqlite3"


def _environment(place: Any, folder: Path) -> dict[str, str]:
    named = {f"ONESELF_{name.upper()}": value for name, value in place.items()}
    return {"ONESELF_DATA_DIR": str(folder / "data"), **named}
