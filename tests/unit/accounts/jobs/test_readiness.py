"""Readiness of a process: neither draining nor on an unknown schema."""

import pytest
from sqlalchemy.exc import DBAPIError

from accounts.errors import Unavailable
from accounts.jobs.readiness import require_ready
from models.schema import REVISION
from oneself.database import is_database_unavailable


def test_migrated_database_is_ready(env):
    """OP-02: the check returns nothing."""
    assert env.act(require_ready) is None


def test_draining_process_is_not_ready(env):
    """OP-01: with any database."""
    with pytest.raises(Unavailable) as caught:
        env.act(require_ready, leaving=True)
    assert caught.value.retry_after == 5
    assert caught.value.reason == "this process is about to end"


def test_process_that_cannot_store_changes_is_not_ready(env):
    """DB-06, reliability findings 5 and 16: with the reason for the log."""
    with pytest.raises(Unavailable) as caught:
        env.act(require_ready, unready_reason="the disk is full")
    assert caught.value.reason == "the disk is full"


@pytest.mark.parametrize(
    ("statement", "revision"),
    [
        ("UPDATE alembic_version SET version_num = 'older'", "older"),
        ("DELETE FROM alembic_version", "None"),
    ],
)
def test_schema_of_another_version_is_not_ready(env, statement, revision):
    """DB-15: neither without migrations, nor after those of a newer version."""
    env.execute(statement)
    with pytest.raises(Unavailable) as caught:
        env.act(require_ready)
    assert caught.value.retry_after == 5
    assert caught.value.reason == (
        f"the tables are of revision {revision}, and this version works with {REVISION}"
    )


def test_unknown_root_is_not_ready(env):
    """TK-07: another replica was started with a new root secret, and this one was not."""
    env.execute(
        "INSERT INTO root_key (key_id, check_value, created_at) VALUES (?, ?, ?)",
        "00000000",
        b"0" * 32,
        "2026-04-05 10:00:00.000000",
    )
    with pytest.raises(Unavailable) as caught:
        env.act(require_ready)
    assert "under 00000000, a root secret that is not known here" in caught.value.reason


def test_database_without_tables_raises_an_error(env):
    """OP-02: the database error becomes a 503."""
    env.execute("DROP TABLE alembic_version")
    with pytest.raises(DBAPIError) as caught:
        env.act(require_ready)
    assert is_database_unavailable(caught.value)
