"""Checks of a PostgreSQL server: the settings of its sessions, and its standbys."""

import logging
import re
from pathlib import Path

import pytest
import sqlalchemy

from oneself.commands.doctor import server
from oneself.commands.doctor.server import checks_of_server, report_lost_settings
from oneself.database import open_engine
from tests.support.postgresql import direct_connection

TIMEOUTS = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")


@pytest.fixture
def location(server_location):
    return server_location


@pytest.fixture
def check(location):
    """Runs a check on connections with the service's settings, or with none of them."""
    engines = []

    def check(*, url=location, pooled=False):
        engines.append(sqlalchemy.create_engine(url) if pooled else open_engine(url))
        return checks_of_server(url)["session_settings"](engines[-1])

    yield check
    for engine in engines:
        engine.dispose()


def test_session_settings_of_the_service_are_found(check):
    """DB-12."""
    assert check().ok


def test_lost_session_settings_are_reported_with_statements(check, location):
    """DB-12, reliability finding 3: as behind a pooler that drops `options`."""
    lost = check(pooled=True)
    assert not lost.ok
    assert ", ".join(TIMEOUTS) in lost.found
    role = location.username
    assert lost.to_do == (
        f"Run: ALTER ROLE {role} SET idle_in_transaction_session_timeout = '10000';"
        f" ALTER ROLE {role} SET lock_timeout = '5000';"
        f" ALTER ROLE {role} SET statement_timeout = '10000';"
        " then RECONNECT in the console of PgBouncer."
    )


def test_documented_statements_restore_the_settings(check, location):
    """DB-12, reliability finding 3."""
    page = (Path(__file__).parents[5] / "docs" / "operations.md").read_text()
    documented = re.search(r"```sql\n(ALTER ROLE.*?)```", page, re.DOTALL)[1]
    statements = documented.replace("oneself_service", location.username)
    with direct_connection(location) as connection:
        connection.execute(statements)
        try:
            assert check(pooled=True).ok
        finally:
            connection.execute(f"ALTER ROLE {location.username} RESET ALL")


@pytest.mark.parametrize(
    "options", ["-c statement_timeout=77s", "-c lock_timeout=1s"], ids=["longer", "stricter"]
)
def test_settings_of_the_url_are_accepted(check, location, options):
    """DB-12: they override ours."""
    assert check(url=location.update_query_dict({"options": options})).ok


def test_another_isolation_level_is_reported(location):
    """DB-10: acts rely on READ COMMITTED."""
    options = " ".join(f"-c {name}=1000" for name in TIMEOUTS)
    options += r" -c default_transaction_isolation=repeatable\ read"
    through_pooler = location.update_query_dict({"options": options})
    engine = sqlalchemy.create_engine(through_pooler)
    lost = checks_of_server(location)["session_settings"](engine)
    engine.dispose()
    assert "default_transaction_isolation = 'read committed'" in str(lost.to_do)
    assert "timeout" not in str(lost.to_do)


def test_start_warns_of_lost_session_settings(location, monkeypatch, caplog):
    """DB-12, reliability finding 3: one line with what to do; none if all is well."""
    caplog.set_level(logging.WARNING)
    report_lost_settings(location)
    assert caplog.records == []
    monkeypatch.setattr(
        "oneself.commands.console.session_setup.open_engine",
        lambda url, **_options: sqlalchemy.create_engine(url),
    )
    report_lost_settings(location)
    [record] = caplog.records
    assert record.name == server.__name__
    assert "ALTER ROLE" in record.getMessage()


def test_file_has_no_server_to_check():
    path = Path("oneself.sqlite3")
    assert checks_of_server(path) == {}
    report_lost_settings(path)
