"""Indexes by which records that have ended are found; writers wait while each is built."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_REQUIRED = (
    ("api_key", "expires_at"),
    ("login_session", "expires_at"),
    ("one_time_secret", "expires_at"),
    ("personal_access_token", "expires_at"),
    ("refresh_token", "expires_at"),
)
#: Their indexes have only the rows in which they are set.
_OPTIONAL = (
    ("api_key", "revoked_at"),
    ("client", "removed_at"),
    ("login_session", "revoked_at"),
    ("one_time_secret", "superseded_at"),
    ("one_time_secret", "used_at"),
    ("outbox_message", "gave_up_at"),
    ("personal_access_token", "revoked_at"),
    ("refresh_token", "revoked_at"),
)


def upgrade() -> None:
    """Go forward."""
    for table, column in _REQUIRED:
        op.create_index(f"ix_{table}_{column}", table, [column])
    for table, column in _OPTIONAL:
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_{table}_{column}", table, [column], sqlite_where=where, postgresql_where=where
        )


def downgrade() -> None:
    """Go back."""
    for table, column in _REQUIRED + _OPTIONAL:
        op.drop_index(f"ix_{table}_{column}", table)
