"""Networks of logins, and disabled and removed clients."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    for name in ("disabled_at", "removed_at"):
        op.add_column("client", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "login_network",
        sa.Column("name_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_login_network_user_id_user")
        ),
        sa.PrimaryKeyConstraint("name_digest", name=op.f("pk_login_network")),
    )
    for name in ("user_id", "failed_since", "changed_at"):
        op.create_index(f"ix_login_network_{name}", "login_network", [name], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("login_network")
    for name in ("removed_at", "disabled_at"):
        op.drop_column("client", name)
