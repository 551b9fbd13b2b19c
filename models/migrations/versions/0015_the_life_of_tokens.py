"""Personal access tokens that replace each other, and mail about expiring tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TABLE = "personal_access_token"
_UUID = 36


def upgrade() -> None:
    """Go forward.

    No row is rewritten: a token without these values was never replaced, and its owner was never
    told that it expires.
    """
    op.add_column(_TABLE, sa.Column("family_id", sa.String(length=_UUID), nullable=True))
    op.add_column(_TABLE, sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f(f"ix_{_TABLE}_family_id"), _TABLE, ["family_id"])
    for table in ("api_key", _TABLE):
        op.add_column(table, sa.Column("expiry_notice_days", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Go back."""
    for table in ("api_key", _TABLE):
        op.drop_column(table, "expiry_notice_days")
    op.drop_index(op.f(f"ix_{_TABLE}_family_id"), _TABLE)
    op.drop_column(_TABLE, "rotated_at")
    op.drop_column(_TABLE, "family_id")
