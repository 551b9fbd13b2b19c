"""Migrations: of filled tables, interrupted at each statement, and beside an old replica.

Migrations from all revisions are tested. None was released before 0.1.0; the tests are for those
that will be.
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
from sqlalchemy import Connection, Engine, event, make_url, text
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
from tests.support.databases import PostgresqlStorage, Storage
from tests.support.deadlines import patient
from tests.support.journal import Client, Load
from tests.support.revisions import EARLIER, fill, migrate_to, project, rows_of, schema_of

ROOT = Path(__file__).parents[2]
_MAX_STATEMENTS = 400

#: Values that a migration fills in for existing rows; otherwise the column's default in the models.
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


def _first(row: dict[str, Any], current: str) -> str | None:
    """Return the current address of a user that has verified none."""
    return None if row.get("verified_email", row["email_verified_at"]) else current


@pytest.fixture
def blank(storage: Storage, tmp_path: Path) -> Iterator[Location]:
    """A database without tables."""
    if isinstance(storage, PostgresqlStorage):
        location = storage.blank()
        yield location
        storage.discard(location)
    else:
        path = tmp_path / "blank.sqlite3"
        path.touch()
        yield path


@pytest.fixture
def engine(blank: Location) -> Iterator[Engine]:
    opened = open_engine(blank)
    yield opened
    opened.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_migration_keeps_every_row(revision, engine):
    """DB-15: with any values; new columns have the value that the migration gives them."""
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


def test_unverified_addresses_become_claims(engine):
    """EM-08, DB-15: the account owns the address that it verified last or was opened with.

    Unless another account has that one. Addresses with a valid undo link become former ones.
    """
    migrate_to(engine, "0005")
    fill(engine)
    present = (
        'UPDATE "user" SET email = :present, email_canonical = :present, email_verified_at = NULL,'
        " verified_email = :verified, verified_email_canonical = :verified,"
        " first_email = :first, first_email_canonical = :first WHERE id = :id"
    )
    undo = (
        "UPDATE one_time_secret SET purpose = 'email_undo', user_id = '0id', used_at = NULL,"
        " superseded_at = NULL, address = :address, address_canonical = :address,"
        " expires_at = :expires_at WHERE id = :id"
    )
    with engine.begin() as connection:
        for id_, now, verified, first in (
            ("0id", "new0@x.example", "old0@x.example", None),
            ("1id", "new1@x.example", None, "old1@x.example"),
            ("2id", "new2@x.example", "new1@x.example", None),
        ):
            connection.execute(
                text(present), {"id": id_, "present": now, "verified": verified, "first": first}
            )
        for id_, address, year in (
            ("0id", "valid@x.example", 2999),
            ("1id", "over@x.example", 2001),
        ):
            values = {"id": id_, "address": address, "expires_at": f"{year}-01-01 00:00:00"}
            connection.execute(text(undo), values)
    upgrade(engine)
    rows = rows_of(engine)
    addresses = {
        row["id"]: (row["email"], row["claimed_email"], row["email_verified_at"] is not None)
        for row in rows["user"]
    }
    assert addresses == {
        "0id": ("old0@x.example", "new0@x.example", True),
        "1id": ("old1@x.example", "new1@x.example", False),
        "2id": ("new2@x.example", None, False),
    }
    former = [
        (row["user_id"], row["depth"], row["address_canonical"]) for row in rows["former_email"]
    ]
    assert former == [("0id", 0, "valid@x.example")]


@pytest.mark.parametrize("revision", EARLIER)
def test_accounts_work_after_a_migration(revision, engine, blank, storage, tmp_path):
    """DB-15: with their password, their session, and every key and token."""
    migrate_to(engine, revision)
    newest = storage.make(tmp_path)
    options = {"keys": Keyring(b"x" * 32), "limits": Limits(password_cost=4)}
    filled = Database(newest, **options)
    alice = make_demo(filled)["base"]
    filled.close()
    source = open_engine(newest)
    project(source, engine)
    source.dispose()
    storage.drop(newest)
    upgrade(engine)
    database = Database(blank, **options)
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
        credentials = {"email": alice["email"], "password": alice["password"]}
        assert log_in(session, **credentials, user_agent=None).user.user_id == alice["user_id"]
    database.close()


class _Fault:
    """A fault at the n-th statement, or at the commit."""

    def __init__(self, place: str, number: int, fault: Callable[[], None]) -> None:
        self._remaining, self._fault = number, fault
        self.has_happened = False
        self._name = {"statement": "before_cursor_execute", "commit": "commit"}[place]

    def _on_event(self, *_arguments: Any) -> None:
        self._remaining -= 1
        if self._remaining == 0:
            self.has_happened = True
            self._fault()

    @contextmanager
    def injected(self, engine: Engine) -> Iterator[None]:
        event.listen(engine, self._name, self._on_event)
        try:
            yield
        finally:
            event.remove(engine, self._name, self._on_event)


def _fail() -> None:
    raise OperationalError("", None, Exception("disk I/O error"), hide_parameters=True)


class _Result(Enum):
    """The result of a migration that a fault is injected into."""

    DONE = auto()
    INTERRUPTED = auto()
    #: A query about the tables failed, and was replaced by another one.
    DONE_DESPITE_FAULT = auto()


def _with_failure(location: Location, place: str, number: int) -> _Result:
    """Migrate with a failing statement."""
    engine = open_engine(location)
    fault = _Fault(place, number, _fail)
    try:
        with fault.injected(engine):
            upgrade(engine)
    except OperationalError:
        return _Result.INTERRUPTED
    finally:
        engine.dispose()
    return _Result.DONE_DESPITE_FAULT if fault.has_happened else _Result.DONE


def _with_kill(location: Location, place: str, number: int) -> _Result:
    """Migrate in a process that is killed, and so does not clean up."""
    child = os.fork()
    if child == 0:
        try:
            engine = open_engine(location)
            kill = _Fault(place, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
            with kill.injected(engine):
                upgrade(engine)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return _Result.INTERRUPTED
    assert os.WEXITSTATUS(status) == 0
    return _Result.DONE


@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize("interrupt", [_with_failure, _with_kill], ids=["failure", "kill"])
@pytest.mark.parametrize(
    "revision",
    # From the newest; from nothing, which runs every migration, and from the others by night.
    [
        EARLIER[-1],
        *(pytest.param(each, marks=pytest.mark.nightly) for each in (None, *EARLIER[:-1])),
    ],
)
def test_interrupted_migration_changes_nothing(  # noqa: PLR0917 # parameters and fixtures
    revision, interrupt, place, engine, blank, outcomes, tmp_path, pytestconfig
):
    """DB-15: at any statement; it can be repeated without any repair.

    Every statement with `--rounds`, which takes minutes; every third one without.
    """
    step = 1 if pytestconfig.getoption("--rounds") else 3
    if revision is not None:
        migrate_to(engine, revision)
        fill(engine)
    before, rows = schema_of(engine), rows_of(engine)
    engine.dispose()
    untouched = tmp_path / "untouched.sqlite3"
    if isinstance(blank, Path):
        shutil.copy(blank, untouched)
    outcome = outcomes[f"migration {'killed' if interrupt is _with_kill else 'fails'}"]
    for number in count(1, step):
        assert number < _MAX_STATEMENTS
        result = interrupt(blank, place, number)
        if result is _Result.DONE:
            break
        outcome.rounds += 1
        if result is _Result.DONE_DESPITE_FAULT:
            assert differences(engine) == []
            engine.dispose()
            shutil.copy(untouched, blank)
        assert schema_of(engine) == before, number
        assert rows_of(engine) == rows, number
    assert number > 1
    outcome.journal.acknowledged += 1
    assert present_revision(engine) == REVISION
    assert differences(engine) == []
    for table, kept in rows.items():
        assert len(rows_of(engine)[table]) == len(kept)


#: Changes of a later version that leave existing tables alone.
_ADDITIVE = (
    'ALTER TABLE "user" ADD COLUMN nickname VARCHAR(40)',
    "ALTER TABLE api_key ADD COLUMN colour INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE security_event ADD COLUMN place VARCHAR(40)",
    "CREATE TABLE passkey (id VARCHAR(16) PRIMARY KEY, user_id VARCHAR(16))",
    "CREATE INDEX ix_login_session_created_at ON login_session (created_at)",
    "UPDATE alembic_version SET version_num = '9999'",
)


def _apply_newer_version(engine: Engine) -> None:
    def run(connection: Connection) -> None:
        for statement in _ADDITIVE:
            connection.exec_driver_sql(statement)

    with engine.connect() as connection:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "BEGIN"
        )
        run(connection)
        connection.commit()


def _becomes_unready(service: Running) -> bool:
    deadline = time.monotonic() + patient(10)
    while time.monotonic() < deadline:
        if service.ask("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE:
            return True
        time.sleep(0.01)
    return False


def test_old_replica_with_newer_tables_is_unready_and_loses_nothing(storage, tmp_path, outcomes):
    """DB-15: it is not ready from the migration on, and still serves requests that reach it."""
    settings = storage.settings()
    budgets = {"throttle_account": "100000/1", "throttle_mail": "100000/1"}
    with running(tmp_path, workers=2, password_cost=10, **budgets, **settings) as service:
        accounts = [open_account(service, f"user{number}@example.com") for number in range(4)]
        load = Load([Client(service, account, seed) for seed, account in enumerate(accounts)])
        engine = open_engine(_location(settings, tmp_path))
        outcome = outcomes["replica older than the tables"]
        try:
            load.resume()
            time.sleep(0.5)
            start = time.monotonic()
            _apply_newer_version(engine)
            assert _becomes_unready(service)
            outcome.recoveries.append(time.monotonic() - start)
            time.sleep(1)
            load.pause()
            round_result = load.check(Client.check)
        finally:
            load.close()
            engine.dispose()
        outcome.rounds += 1
        outcome.journal.add(round_result)
        assert (
            round_result.lost,
            round_result.duplicated,
            round_result.failures,
            round_result.unanswered,
        ) == ([], [], 0, 0)
        assert round_result.acknowledged > len(accounts)
        assert service.ask("GET", "/healthz").status == HTTPStatus.OK
        open_account(service, "late@example.com")
    restart = subprocess.run(
        [sys.executable, "-m", "oneself", "serve", "--port", str(service.port)],
        cwd=ROOT,
        env=os.environ | _environment(settings, tmp_path),
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert restart.returncode == 1
    assert "9999" in restart.stderr
    assert REVISION in restart.stderr


def _location(settings: Any, folder: Path) -> Location:
    url = settings.get("database_url")
    return make_url(url) if url else folder / "data" / "oneself.sqlite3"


def _environment(settings: Any, folder: Path) -> dict[str, str]:
    variables = {f"ONESELF_{name.upper()}": value for name, value in settings.items()}
    return {"ONESELF_DATA_DIR": str(folder / "data"), **variables}
