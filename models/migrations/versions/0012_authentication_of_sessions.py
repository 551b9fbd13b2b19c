"""When and how the user of a session last authenticated."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("login_session", "refresh_token")
_METHODS = 100


def upgrade() -> None:
    """Go forward.

    No row is rewritten: a replica of an earlier release adds rows without these values as well,
    and they mean the login, by password.
    """
    for table in _TABLES:
        op.add_column(
            table, sa.Column("authenticated_at", sa.DateTime(timezone=True), nullable=True)
        )
        op.add_column(table, sa.Column("amr", sa.String(length=_METHODS), nullable=True))


def downgrade() -> None:
    """Go back."""
    for table in _TABLES:
        op.drop_column(table, "amr")
        op.drop_column(table, "authenticated_at")
