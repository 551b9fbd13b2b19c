"""The two roles of models/roles.sql on PostgreSQL: the service can do all it needs, and no more."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from models import SecurityEvent, metadata
from oneself.app import JOBS
from oneself.commands import events
from oneself.database import Database
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.http.running import PASSWORD, open_account, running
from tests.support.chain import chain_pending, id_at
from tests.support.postgresql import direct_connection
from tests.unit.oneself.commands.test_mail import Run

ROOT = Path(__file__).parents[2]
OWNER, SERVICE = "oneself_owner", "oneself_service"
PASSWORDS = {OWNER: "owns", SERVICE: "serves"}
SECRET = "x" * 43
EVENTS = ("security_event", "event_link")
ALL = {"SELECT", "INSERT", "UPDATE", "DELETE"}


def _run_sql(url, programs):
    """Run models/roles.sql as the documentation says."""
    psql = programs / "psql" if programs else shutil.which("psql")
    if psql is None:
        pytest.skip("there is no psql")
    target = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run(
        [psql, "--quiet", "--file", ROOT / "models" / "roles.sql", "--dbname", target],
        env={
            **os.environ,
            "OWNER_PASSWORD": PASSWORDS[OWNER],
            "DATABASE_PASSWORD": PASSWORDS[SERVICE],
        },
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def make_blank(servers):
    """Creates empty databases; at the end the roles go too, since they are of the whole server."""
    made = []

    def make_blank():
        made.append(servers.blank())
        return made[-1]

    yield make_blank
    for url in made:
        with direct_connection(url) as connection:
            for role in PASSWORDS:
                connection.execute(f"DROP OWNED BY {role} CASCADE".encode())
            if url == made[-1]:
                connection.execute(f"DROP ROLE {', '.join(PASSWORDS)}".encode())
        servers.discard(url)


def _as_role(url, role):
    return url.set(username=role, password=PASSWORDS[role])


def _settings(url, folder):
    return {
        "database_url": url.render_as_string(hide_password=False),
        "secret_key": SECRET,
        "data_dir": str(folder / "data"),
        "password_cost": "10",
    }


def _upgrade(url, folder):
    environment = {f"ONESELF_{k.upper()}": v for k, v in _settings(url, folder).items()}
    subprocess.run(
        [sys.executable, "-m", "oneself", "db", "upgrade"],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def deployment(make_blank, servers, tmp_path_factory):
    """Sets up the roles before the tables; returns the URL of the superuser."""
    url = make_blank()
    assert _run_sql(url, servers.programs).stderr == ""
    _upgrade(_as_role(url, OWNER), tmp_path_factory.mktemp("upgrade"))
    return url


@pytest.fixture
def service_url(deployment):
    return _as_role(deployment, SERVICE)


def _privileges(url):
    with direct_connection(url) as connection:
        rows = connection.execute(
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = %s AND table_schema = 'public'",
            [SERVICE],
        ).fetchall()
    return {table: {kind for name, kind in rows if name == table} for table, _ in rows}


def test_service_has_the_rights_on_rows_that_it_needs(deployment, service_url, servers, tmp_path):
    """LO-04, attack finding 22: all on other tables, and none to change an event."""
    expected = dict.fromkeys(metadata.tables, ALL) | {
        **{table: {"SELECT", "INSERT"} for table in EVENTS},
        "event_erasure": {"SELECT", "INSERT"},
        "event_seal": {"SELECT"},
        "alembic_version": ALL,
    }
    assert _privileges(service_url) == expected
    # Both can be repeated.
    _run_sql(deployment, servers.programs)
    assert _privileges(service_url) == expected
    _upgrade(_as_role(deployment, OWNER), tmp_path)
    _upgrade(service_url, tmp_path)
    with direct_connection(service_url) as connection:
        connection.execute("GRANT UPDATE ON security_event TO oneself_service")  # a mere warning
    assert _privileges(service_url) == expected


def test_database_with_one_role_is_moved(make_blank, servers, tmp_path):
    """LO-04, attack finding 22: a deployment of an earlier version gets the roles later."""
    blank = make_blank()
    _upgrade(blank, tmp_path)
    _run_sql(blank, servers.programs)
    with direct_connection(blank) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [(OWNER,)]
    assert _privileges(blank)["event_link"] == {"SELECT", "INSERT"}
    assert _privileges(blank)["login_session"] == ALL


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE security_event SET kind = 'x'",
        "DELETE FROM security_event",
        "TRUNCATE security_event",
        "UPDATE event_link SET sequence = 0",
        "DELETE FROM event_link",
        "TRUNCATE event_link",
        "DROP TRIGGER security_event_no_update ON security_event",
        "ALTER TABLE security_event DISABLE TRIGGER ALL",
        "ALTER TABLE event_link DISABLE TRIGGER event_link_no_delete",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION refuse_change() CASCADE",
        "SET session_replication_role = replica",
        "DROP TABLE event_link",
        "DELETE FROM event_seal",
        "INSERT INTO event_seal VALUES (1, 1, '', '', '', now(), '', '')",
        "DROP FUNCTION refuse_deletion_of_security_event() CASCADE",
        'ALTER TABLE "user" ADD COLUMN extra int',
        "TRUNCATE login_session",
        "CREATE TABLE extra (id int)",
        "SET ROLE oneself_owner",
        "ALTER TABLE security_event OWNER TO oneself_service",
        "CREATE ROLE other",
    ],
)
def test_service_cannot_change_tables_or_events(service_url, statement):
    """LO-04, attack finding 22: not even with its connection, as by an injected statement."""
    with (
        direct_connection(service_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.nightly
def test_service_serves_with_its_role(service_url, tmp_path, monkeypatch):
    """DB-13, attack finding 22: a journey, each background job, and the commands."""
    settings = _settings(service_url, tmp_path)
    with running(tmp_path, **settings) as service:
        user = open_account(service, "alice@example.com")
        profile = service.ask("PATCH", "/api/v1/me", headers=user.bearer, body={"locale": "de-DE"})
        assert profile.status == HTTPStatus.OK
        changed = service.ask(
            "POST",
            "/v1/me/password",
            headers=user.bearer,
            body={"current_password": PASSWORD, "new_password": "Violet tangent 47 harbour"},
        )
        assert changed.status < HTTPStatus.BAD_REQUEST, changed
        assert service.ask("GET", "/api/v1/me/security-events", headers=user.bearer).status in {
            HTTPStatus.OK,
            HTTPStatus.NOT_FOUND,
        }
        ended = service.ask("DELETE", "/v1/me/sessions", headers=user.bearer)
        assert ended.status < HTTPStatus.BAD_REQUEST, ended
        assert '"level":"error"' not in service.log
    for name, value in settings.items():
        monkeypatch.setenv(f"ONESELF_{name.upper()}", value)
    loaded = Settings()
    database = Database(loaded.location, keys=open_keyring(loaded), limits=loaded.limits)
    try:
        for run, lock, act, _ in JOBS:
            run(database, lock, act)
    finally:
        database.close()
    for command in (["doctor"], ["db", "check"], ["keys", "rewrite"], ["tenant", "list"]):
        ran = subprocess.run(
            [sys.executable, "-m", "oneself", *command],
            cwd=ROOT,
            env=os.environ,
            check=False,
            capture_output=True,
            text=True,
        )
        # `doctor` may find the settings of a test; never a missing right.
        assert "permission denied" not in ran.stdout + ran.stderr
        assert ran.returncode == 0 or command == ["doctor"], ran.stderr


def test_only_the_owner_archives(make_blank, servers, tmp_path, monkeypatch):
    """LO-04, reliability finding 4: a seal allows deletions, so the service may not make one.

    Not even with a temporary table that takes the place of the seals.
    """
    blank = make_blank()
    _run_sql(blank, servers.programs)
    _upgrade(_as_role(blank, OWNER), tmp_path)

    def archive(role):
        url = _as_role(blank, role)
        for name, value in _settings(url, tmp_path).items():
            monkeypatch.setenv(f"ONESELF_{name.upper()}", value)
        loaded = Settings()
        database = Database(loaded.location, keys=open_keyring(loaded), limits=loaded.limits)
        time = datetime.now(UTC) - timedelta(days=400)
        for number in range(3):
            with database.transaction(writing=True) as session:
                session.now = time
                session.add(
                    SecurityEvent(id=id_at(time), kind=f"{number}", occurred_at=time, details={})
                )
                chain_pending(session)
        database.close()
        file = tmp_path / f"{len([*tmp_path.iterdir()])}.jsonl"
        return Run(CliRunner().invoke(events.app, ["archive", str(file), "--json"]))

    assert archive(SERVICE).refused("This role may not delete events")
    assert archive(OWNER).json["events"] == 5
    with direct_connection(_as_role(blank, OWNER)) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE event_seal AS SELECT 1 AS first_sequence, 99 AS sequence"
        )
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            connection.execute("DELETE FROM event_link")
