"""The `db` and `doctor` commands on PostgreSQL."""

import io
import json
import sys

import pytest

from models.schema import REVISION
from oneself import commands
from tests.support.postgresql import direct_connection

LAX = """
    ALTER TABLE client DROP CONSTRAINT fk_client_tenant_id_tenant,
    ADD CONSTRAINT fk_client_tenant_id_tenant FOREIGN KEY (tenant_id) REFERENCES tenant NOT VALID
"""


@pytest.fixture
def location(servers, monkeypatch, tmp_path):
    """Creates an empty database, which the settings name."""
    url = servers.blank()
    url_text = url.render_as_string(hide_password=False)
    monkeypatch.setenv("ONESELF_DATABASE_URL", url_text)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_SECRET_KEY", "x" * 43)
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    yield url
    servers.discard(url)


@pytest.fixture
def run(location, monkeypatch, capsys):  # noqa: ARG001 # used through the settings
    """Runs a command with --json; returns the object that it printed, and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["oneself", *words, "--json"])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit):
            commands.main()
        captured = capsys.readouterr()
        return json.loads(captured.out) if captured.out else None, captured.err

    return run


def test_empty_database_is_migrated_once(run):
    """DB-15: the tables are then those that the code expects."""
    found, failure = run("db", "check")
    assert (found["revision"], found["up_to_date"]) == (None, False)
    assert "db upgrade" in failure
    assert run("db", "upgrade") == ({"revision_before": None, "revision": REVISION}, "")
    assert run("db", "upgrade") == ({"revision_before": REVISION, "revision": REVISION}, "")
    found, failure = run("db", "check")
    assert (found["differences"], found["up_to_date"], failure) == ([], True, "")


def test_database_without_tables_is_rejected(run):
    """Otherwise a wrong name in the URL would look as if all users were gone."""
    assert "no tables yet" in run("user", "disable", "alice@example.com")[1]


def test_unreachable_server_is_reported_without_its_password(run, location, monkeypatch):
    """LO-01."""
    away = location.set(port=1, password="canary").render_as_string(hide_password=False)
    monkeypatch.setenv("ONESELF_DATABASE_URL", away)
    _, error = run("db", "check")
    assert "ONESELF_DATABASE_URL" in error
    assert len(error.splitlines()) == 1
    assert "canary" not in error


def test_doctor_reports_missing_durability(run):
    """DB-03: the server of the tests does not flush to disk."""
    run("demo")
    found, _ = run("doctor")
    problems = {name: check["found"] for name, check in found["checks"].items() if not check["ok"]}
    assert problems == {
        "durability": "fsync, full_page_writes, synchronous_commit off: a crash can lose"
        " acknowledged writes"
    }
    assert found["checks"]["server"]["found"].startswith("PostgreSQL 1")
    assert found["checks"]["encoding"]["found"] == "UTF8"
    assert found["checks"]["session_settings"]["found"] == "statements and waits have timeouts"
    assert found["checks"]["standbys"]["found"].startswith("none is required")
    assert found["checks"]["server_clock"]["found"] == "agrees with this machine's clock"


@pytest.fixture
def ascii_database(location, monkeypatch):
    """Creates an empty database without an encoding, which the settings name."""
    other = location.set(database=f"{location.database}_ascii")
    with direct_connection(location) as connection:
        connection.execute(
            f"CREATE DATABASE {other.database} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
    monkeypatch.setenv("ONESELF_DATABASE_URL", other.render_as_string(hide_password=False))
    yield other
    with direct_connection(location) as connection:
        connection.execute(f"DROP DATABASE {other.database} WITH (FORCE)")


@pytest.mark.parametrize("words", [["db", "upgrade"], ["demo"]], ids=" ".join)
def test_no_tables_are_created_in_an_unsupported_encoding(run, ascii_database, words):
    found, failure = run(*words)
    assert found is None
    assert len(failure.splitlines()) == 1
    assert "SQL_ASCII, which cannot store every name" in failure
    with direct_connection(ascii_database) as connection:
        [count] = connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone()
    assert count == 0


def test_doctor_reports_an_unsupported_encoding(run, ascii_database):
    """The driver would hide it, since it then returns bytes for text."""
    assert ascii_database.database
    encoding = run("doctor")[0]["checks"]["encoding"]
    assert not encoding["ok"]
    assert encoding["found"].startswith("SQL_ASCII")


@pytest.mark.parametrize(
    ("statement", "check", "found"),
    [
        ("ALTER TABLE tenant DROP COLUMN disabled_at", "tables", "with differences"),
        (
            "DROP TRIGGER security_event_no_truncate ON security_event",
            "tables",
            "no trigger security_event_no_truncate",
        ),
        (
            "ALTER TABLE security_event DISABLE TRIGGER USER",
            "tables",
            "no trigger security_event_no_delete",
        ),
        (LAX, "constraints", "fk_client_tenant_id_tenant"),
    ],
)
def test_doctor_reports_altered_tables(run, location, statement, check, found):
    """LO-04, DB-15."""
    run("db", "upgrade")
    with direct_connection(location) as connection:
        connection.execute(statement)
    checks = run("doctor")[0]["checks"]
    assert not checks[check]["ok"]
    assert found in checks[check]["found"]
