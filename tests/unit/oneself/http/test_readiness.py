"""Tests of the log lines about readiness."""

import asyncio
import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from accounts.errors import Unavailable
from models.schema import REVISION
from oneself.database import open_engine
from oneself.http.guard import RequestContext
from oneself.http.readiness import ReadinessLog
from oneself_conformance.http_client import Request

READY = Request("GET", "/readyz")
LOGGER = "oneself.http.readiness"


@pytest.fixture
def execute(application):
    """Run a statement behind the service's back."""
    engine = open_engine(application.location)

    def execute(statement, **values):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement), values)

    yield execute
    engine.dispose()


@pytest.fixture
def ask(application, caplog):
    """Probe several times; return the status and the log lines."""
    caplog.set_level(logging.INFO, logger=LOGGER)

    def ask():
        caplog.clear()
        [status] = {application.ask(READY).status for _ in range(3)}
        records = [record for record in caplog.records if record.name == LOGGER]
        return status, [(record.levelname, record.getMessage()) for record in records]

    return ask


def test_ready_service_logs_nothing(ask):
    assert ask() == (200, [])


def test_change_is_logged_once_with_its_reason(ask, execute):
    """Another reason is a change as well."""
    execute("UPDATE alembic_version SET version_num = 'another'")
    status, records = ask()
    reason = f"the tables are of revision another, and this version works with {REVISION}"
    assert (status, records) == (503, [("WARNING", f"not ready: {reason}")])

    execute("ALTER TABLE alembic_version RENAME TO gone")
    status, [(level, message)] = ask()
    assert (status, level) == (503, "WARNING")
    assert message.startswith("not ready: the database answers: ")
    assert "alembic_version" in message

    execute("ALTER TABLE gone RENAME TO alembic_version")
    execute("UPDATE alembic_version SET version_num = :right", right=REVISION)
    assert ask() == (200, [("INFO", "ready again")])
    assert ask() == (200, [])


def test_unknown_root_key_is_logged_by_its_id(ask, execute, application):
    """In the log, and not in the answer."""
    execute(
        "INSERT INTO root_key (key_id, check_value, created_at) VALUES (:id, :check, :now)",
        id="0badc0de",
        check=b"0" * 32,
        now="2026-04-05 10:00:00.000000",
    )
    status, [(level, message)] = ask()
    assert (status, level) == (503, "WARNING")
    assert "stored under 0badc0de, a root secret that is not known here" in message
    assert b"0badc0de" not in application.ask(READY).body


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Unavailable(), "too many others are using the database"),
        (Unavailable(reason="of all things, this"), "of all things, this"),
        (
            OperationalError("SELECT 1", {"a": "secret"}, Exception("no\nserver there")),
            "the database answers: no server there",
        ),
        (
            PermissionError(13, "secret"),
            "PermissionError, of which there is a traceback in the log",
        ),
    ],
    ids=["busy", "told", "database", "unforeseen"],
)
def test_failure_before_the_handler_is_a_reason(caplog, failure, reason):
    """Without a transaction the readiness check never runs."""

    async def fail(*_asgi):
        raise failure

    caplog.set_level(logging.INFO, logger=LOGGER)
    scope = {"oneself.request_context": RequestContext("req_0a1b2c3d4e5f", 0.0)}
    with pytest.raises(type(failure)):
        asyncio.run(ReadinessLog(fail)(scope, None, None))
    assert [record.getMessage() for record in caplog.records] == [f"not ready: {reason}"]


def test_rejected_request_says_nothing_of_readiness(ask, application, caplog):
    assert application.ask(Request("GET", "/readyz?now=1")).status == 400
    assert [record for record in caplog.records if record.name == LOGGER] == []
    assert ask() == (200, [])
