"""Delivery of mail, and pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BEFORE = "'email_change', 'email_verification', 'password_reset'"
_AFTER = "'email_change', 'email_undo', 'email_verification', 'password_reset'"


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "picture",
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_picture_user_id_user")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_picture")),
    )
    with op.batch_alter_table("outbox_message") as batch_op:
        batch_op.add_column(sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("last_problem", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("gave_up_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE outbox_message SET due_at = created_at")
    with op.batch_alter_table("outbox_message") as batch_op:
        batch_op.alter_column("due_at", nullable=False)
        batch_op.create_index("ix_outbox_message_due_at", ["due_at"], unique=False)
    _let_secrets_be_for(_AFTER)
    # Until now a client mailed those of a change, and nobody vouches for clients.
    op.add_column(
        "one_time_secret",
        sa.Column("is_mailed", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.execute("UPDATE one_time_secret SET is_mailed = false WHERE purpose = 'email_change'")


def downgrade() -> None:
    """Go back."""
    op.drop_column("one_time_secret", "is_mailed")
    op.execute("DELETE FROM one_time_secret WHERE purpose = 'email_undo'")
    _let_secrets_be_for(_BEFORE)
    with op.batch_alter_table("outbox_message") as batch_op:
        batch_op.drop_index("ix_outbox_message_due_at")
        for name in ("due_at", "leased_until", "attempts", "last_problem", "gave_up_at"):
            batch_op.drop_column(name)
    op.drop_table("picture")


def _let_secrets_be_for(purposes: str) -> None:
    """Change which purposes a one-time secret may have; SQLite has to copy the table for it."""
    name = op.f("ck_one_time_secret_purpose")
    with op.batch_alter_table("one_time_secret") as batch_op:
        batch_op.drop_constraint(name, type_="check")
        batch_op.create_check_constraint(name, f"purpose IN ({purposes})")
