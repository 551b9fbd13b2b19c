"""Devices that sessions belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_LENGTHS = {"client_id": 64, "name": 200, "os": 200, "app_version": 200}


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "device",
        sa.Column("session_id", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=False),
        *(
            sa.Column(name, sa.String(length=length), nullable=False)
            for name, length in _LENGTHS.items()
        ),
        sa.Column("details", sa.JSON(), nullable=False),
        *(
            sa.CheckConstraint(f"length({name}) <= {length}", name=op.f(f"ck_device_{name}_length"))
            for name, length in _LENGTHS.items()
        ),
        # A replica of an earlier release deletes sessions, and knows of no devices.
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["login_session.id"],
            name=op.f("fk_device_session_id_login_session"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_device_user_id_user")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_device")),
    )
    op.create_index("ix_device_user_id", "device", ["user_id"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_table("device")
