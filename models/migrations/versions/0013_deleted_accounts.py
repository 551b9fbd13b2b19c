"""Deletion of accounts, and erasure of client addresses from their events."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_REFUSED = "rows of this table are only ever added"
_SEALED = (
    "EXISTS (SELECT 1 FROM event_seal"
    " WHERE OLD.sequence BETWEEN event_seal.first_sequence AND event_seal.sequence)"
)
_KEPT = ("id", "kind", "tenant_id", "user_id", "occurred_at", "request_id")
_KEPT_TOO = ("credential_kind", "credential_id")
_PURPOSES = "'email_change', 'email_undo', 'email_verification', 'password_reset'"


def upgrade() -> None:
    """Go forward."""
    op.add_column("user", sa.Column("deletion_due_at", sa.DateTime(timezone=True), nullable=True))
    is_set = sa.text("deletion_due_at IS NOT NULL")
    op.create_index(
        "ix_user_deletion_due_at",
        "user",
        ["deletion_due_at"],
        sqlite_where=is_set,
        postgresql_where=is_set,
    )
    _let_secrets_be_for(f"'account_restoration', {_PURPOSES}")
    op.create_table(
        "event_erasure",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("erasure_digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_event_erasure")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_erasure_event_id")),
    )
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _sqlite() if on_sqlite else _postgresql():
        op.execute(statement)


def _is_erasure(same: str, details: str) -> str:
    """Return the condition that a change erases the client address of an event, and no more."""
    kept = " AND ".join(f"NEW.{name} {same} OLD.{name}" for name in (*_KEPT, *_KEPT_TOO))
    is_erased = "EXISTS (SELECT 1 FROM event_erasure WHERE event_erasure.event_id = OLD.id)"
    return f"NEW.source IS NULL AND {kept} AND NEW.{details} {same} OLD.{details} AND {is_erased}"


def _sqlite() -> list[str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    changed = f"BEFORE UPDATE ON security_event WHEN NOT ({_is_erasure('IS', 'details')})"
    return [
        "DROP TRIGGER security_event_no_update",
        f"CREATE TRIGGER security_event_no_update {changed} {refuse}",
        f"CREATE TRIGGER event_erasure_no_update BEFORE UPDATE ON event_erasure {refuse}",
        (
            "CREATE TRIGGER event_erasure_no_delete BEFORE DELETE ON event_erasure"
            f" WHEN NOT {_SEALED} {refuse}"
        ),
    ]


def _postgresql() -> list[str]:
    # As in revision 0010: otherwise a temporary table of the same name would be asked.
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    functions = {
        "refuse_change_of_security_event": (
            _is_erasure("IS NOT DISTINCT FROM", "details::text"),
            "NEW",
        ),
        "refuse_deletion_of_event_erasure": (_SEALED, "OLD"),
    }
    return [
        *(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = {schema}, pg_temp AS $$ BEGIN IF {allowed} THEN RETURN {row};"
            f" END IF; RAISE integrity_constraint_violation USING MESSAGE = '{_REFUSED}'; END $$"
            for name, (allowed, row) in functions.items()
        ),
        "DROP TRIGGER security_event_no_update ON security_event",
        (
            "CREATE TRIGGER security_event_no_update BEFORE UPDATE ON security_event"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change_of_security_event()"
        ),
        (
            "CREATE TRIGGER event_erasure_no_delete BEFORE DELETE ON event_erasure"
            " FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_event_erasure()"
        ),
        *(
            f"CREATE TRIGGER event_erasure_no_{verb} BEFORE {verb} ON event_erasure"
            f" FOR EACH {each} EXECUTE FUNCTION refuse_change()"
            for verb, each in (("update", "ROW"), ("truncate", "STATEMENT"))
        ),
    ]


def downgrade() -> None:
    """Go back: not while there are erased events or deleted accounts, which would come to life."""
    bind = op.get_bind()
    on_sqlite = bind.dialect.name == "sqlite"
    for table, condition in (("event_erasure", "true"), ('"user"', "deletion_due_at IS NOT NULL")):
        found = bind.exec_driver_sql(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").first()  # noqa: S608 # constants
        if found:
            message = f"{table} has rows that the former release cannot express"
            raise RuntimeError(message)
    if on_sqlite:
        op.execute("DROP TRIGGER security_event_no_update")
        op.execute(
            "CREATE TRIGGER security_event_no_update BEFORE UPDATE ON security_event"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
    else:
        op.execute("DROP TRIGGER security_event_no_update ON security_event")
        op.execute(
            "CREATE TRIGGER security_event_no_update BEFORE UPDATE ON security_event"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute("DROP FUNCTION refuse_change_of_security_event()")
    op.drop_table("event_erasure")
    if not on_sqlite:
        op.execute("DROP FUNCTION refuse_deletion_of_event_erasure()")
    op.drop_index("ix_user_deletion_due_at", table_name="user")
    op.drop_column("user", "deletion_due_at")
    op.execute("DELETE FROM one_time_secret WHERE purpose = 'account_restoration'")
    _let_secrets_be_for(_PURPOSES)


def _let_secrets_be_for(purposes: str) -> None:
    """Change the purposes that a one-time secret may have."""
    name = op.f("ck_one_time_secret_purpose")
    with op.batch_alter_table("one_time_secret") as batch:  # SQLite copies the table
        batch.drop_constraint(name, type_="check")
        batch.create_check_constraint(name, f"purpose IN ({purposes})")
