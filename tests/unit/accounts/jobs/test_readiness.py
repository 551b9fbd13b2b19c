"""Whether this process stays, and the tables are those that it works with."""

import pytest
from sqlalchemy.exc import DBAPIError

from accounts.errors import Unavailable
from accounts.jobs.readiness import require_ready
from models.schema import REVISION
from oneself.database import does_not_answer


def test_a_migrated_database_is_ready(env):
    """Nothing is said of it (OP-02)."""
    assert env.act(require_ready) is None


def test_a_process_that_is_about_to_end_is_not_ready(env):
    """OP-01: whatever its database is."""
    with pytest.raises(Unavailable) as refused:
        env.act(require_ready, leaving=True)
    assert refused.value.retry_after == 5
    assert refused.value.reason == "this process is about to end"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE alembic_version SET version_num = 'older'", "older"),
        ("DELETE FROM alembic_version", "None"),
    ],
)
def test_tables_of_another_version_are_not_ready(env, statement, found):
    """A database that was never migrated, or by a newer version, waits (DB-15)."""
    env.execute(statement)
    with pytest.raises(Unavailable) as refused:
        env.act(require_ready)
    assert refused.value.retry_after == 5
    assert refused.value.reason == (
        f"the tables are of revision {found}, and this version works with {REVISION}"
    )


def test_a_database_with_rows_under_an_unknown_root_is_not_ready(env):
    """TK-07: another replica was told of a new root secret, and this one was not."""
    env.execute(
        "INSERT INTO root_key (key_id, check_value, created_at) VALUES (?, ?, ?)",
        "00000000",
        b"0" * 32,
        "2026-04-05 10:00:00.000000",
    )
    with pytest.raises(Unavailable) as refused:
        env.act(require_ready)
    assert "under 00000000, a root secret that is not known here" in refused.value.reason


def test_a_database_without_tables_does_not_answer(env):
    """The failure is the database's, which the edge makes a 503 of (OP-02)."""
    env.execute("DROP TABLE alembic_version")
    with pytest.raises(DBAPIError) as failed:
        env.act(require_ready)
    assert does_not_answer(failed.value)
