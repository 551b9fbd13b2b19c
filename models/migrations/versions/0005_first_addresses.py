"""The address that an account was opened with, and a look-up of undoings by their address."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    for name, length in (("first_email", 254), ("first_email_canonical", 320)):
        limit = sa.CheckConstraint(
            f"length({name}) <= {length}", name=op.f(f"ck_user_{name}_length")
        )
        op.add_column("user", sa.Column(name, sa.String(length=length), limit, nullable=True))
    op.create_index(
        "ix_user_first_email_canonical", "user", ["first_email_canonical"], unique=False
    )
    op.create_index(
        "ix_one_time_secret_address_canonical",
        "one_time_secret",
        ["address_canonical"],
        unique=False,
    )
    op.execute(
        """UPDATE "user" SET first_email = email, first_email_canonical = email_canonical"""
        " WHERE verified_email IS NULL"
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_one_time_secret_address_canonical", "one_time_secret")
    op.drop_index("ix_user_first_email_canonical", "user")
    for name in ("first_email", "first_email_canonical"):
        op.drop_column("user", name)
