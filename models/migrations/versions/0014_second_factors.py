"""Second factors, recovery codes, and logins that wait for one."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "totp_factor",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("confirmed_at", time, nullable=True),
        sa.Column("last_used_at", time, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_totp_factor_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_totp_factor")),
        sa.UniqueConstraint("user_id", name=op.f("uq_totp_factor_user_id")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("used_at", time, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_recovery_code_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
        sa.UniqueConstraint("code_digest", name=op.f("uq_recovery_code_code_digest")),
    )
    op.create_index("ix_recovery_code_user_id", "recovery_code", ["user_id"])
    op.create_table(
        "login_challenge",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("challenge_digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_login_challenge_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_challenge")),
        sa.UniqueConstraint("challenge_digest", name=op.f("uq_login_challenge_challenge_digest")),
    )
    op.create_index("ix_login_challenge_user_id", "login_challenge", ["user_id"])
    op.create_index("ix_login_challenge_expires_at", "login_challenge", ["expires_at"])
    is_set = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_login_challenge_ended_at",
        "login_challenge",
        ["ended_at"],
        sqlite_where=is_set,
        postgresql_where=is_set,
    )


def downgrade() -> None:
    """Go back: not while an account has a second factor, which would silently be dropped."""
    used = "SELECT 1 FROM totp_factor WHERE confirmed_at IS NOT NULL LIMIT 1"
    if op.get_bind().exec_driver_sql(used).first():
        message = "there are second factors, which the former release cannot ask for"
        raise RuntimeError(message)
    for table in ("login_challenge", "recovery_code", "totp_factor"):
        op.drop_table(table)
