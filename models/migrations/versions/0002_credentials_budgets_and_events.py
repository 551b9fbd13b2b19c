"""Credentials, budgets and events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUSED = "rows of this table are only ever added"
_EVENT_TABLES = ("security_event", "event_link")
# Whoever asks: also somebody who has the database and not the service (LO-04).
_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        for table in _EVENT_TABLES
        for verb in ("update", "delete")
    ],
    "postgresql": [
        (
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE"
            f" integrity_constraint_violation USING MESSAGE = '{_REFUSED}'; END $$"
        )
    ]
    + [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}"
        f" FOR EACH {each} EXECUTE FUNCTION refuse_change()"
        for table in _EVENT_TABLES
        # A TRUNCATE asks no trigger of a row.
        for verb, each in (("update", "ROW"), ("delete", "ROW"), ("truncate", "STATEMENT"))
    ],
}


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "attempt_budget",
        sa.Column("name_digest", sa.LargeBinary(), nullable=False),
        sa.Column("whole_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name_digest", name=op.f("pk_attempt_budget")),
    )
    with op.batch_alter_table("attempt_budget", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_budget_changed_at", ["changed_at"], unique=False)

    op.create_table(
        "event_link",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("chain_digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("chained_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_event_link")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_link_event_id")),
    )
    op.create_table(
        "password_reset_request",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_reset_request")),
    )
    op.create_table(
        "revoked_jwt",
        sa.Column("jti", sa.String(length=36), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_revoked_jwt")),
    )
    with op.batch_alter_table("revoked_jwt", schema=None) as batch_op:
        batch_op.create_index("ix_revoked_jwt_expires_at", ["expires_at"], unique=False)

    op.create_table(
        "security_event",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=16), nullable=True),
        sa.Column("user_id", sa.String(length=16), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.String(length=16), nullable=True),
        sa.Column("source", sa.String(length=45), nullable=True),
        sa.Column("credential_kind", sa.String(length=24), nullable=True),
        sa.Column("credential_id", sa.String(length=36), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_event")),
    )
    with op.batch_alter_table("security_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_security_event_of_user", ["user_id", "occurred_at", "id"], unique=False
        )

    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(length=43), nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "refresh_token",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("family_id", sa.String(length=16), nullable=False),
        sa.Column("session_id", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("audience", sa.String(length=2048), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "length(audience) <= 2048", name=op.f("ck_refresh_token_audience_length")
        ),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_refresh_token_client_id_client")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["login_session.id"],
            name=op.f("fk_refresh_token_session_id_login_session"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_refresh_token_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_token")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_refresh_token_token_digest")),
    )
    with op.batch_alter_table("refresh_token", schema=None) as batch_op:
        batch_op.create_index("ix_refresh_token_client_id", ["client_id"], unique=False)
        batch_op.create_index("ix_refresh_token_family_id", ["family_id"], unique=False)
        batch_op.create_index("ix_refresh_token_session_id", ["session_id"], unique=False)
        batch_op.create_index("ix_refresh_token_user_id", ["user_id"], unique=False)

    # Plain ALTERs and no batch: SQLite would copy the table, and drop one that others refer to.
    op.add_column(
        "client", sa.Column("is_public", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("client", sa.Column("audiences", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column(
        "user", sa.Column("credential_epoch", sa.Integer(), nullable=False, server_default="0")
    )
    for name, length in (("verified_email", 254), ("verified_email_canonical", 320)):
        limit = sa.CheckConstraint(
            f"length({name}) <= {length}", name=op.f(f"ck_user_{name}_length")
        )
        op.add_column("user", sa.Column(name, sa.String(length=length), limit, nullable=True))
    op.create_index(
        "ix_user_verified_email_canonical", "user", ["verified_email_canonical"], unique=False
    )
    op.execute(
        """UPDATE "user" SET verified_email = email, verified_email_canonical = email_canonical"""
        " WHERE email_verified_at IS NOT NULL"
    )
    _let_secrets_be_for("'email_change', 'email_verification', 'password_reset'")
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Go back."""
    op.execute("DELETE FROM one_time_secret WHERE purpose = 'password_reset'")
    _let_secrets_be_for("'email_change', 'email_verification'")
    op.drop_index("ix_user_verified_email_canonical", "user")
    for name in ("verified_email", "verified_email_canonical", "credential_epoch"):
        op.drop_column("user", name)
    for name in ("is_public", "audiences"):
        op.drop_column("client", name)
    for name in (
        "refresh_token",
        "signing_key",
        "security_event",
        "revoked_jwt",
        "password_reset_request",
        "event_link",
        "attempt_budget",
    ):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change")


def _let_secrets_be_for(purposes: str) -> None:
    """Change which purposes a one-time secret may have; SQLite has to copy the table for it."""
    name = op.f("ck_one_time_secret_purpose")
    with op.batch_alter_table("one_time_secret") as batch_op:
        batch_op.drop_constraint(name, type_="check")
        batch_op.create_check_constraint(name, f"purpose IN ({purposes})")
