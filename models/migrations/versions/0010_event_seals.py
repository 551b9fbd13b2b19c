"""Seals of archived events, which may be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_REFUSED = "rows of this table are only ever added"
_SEALED_LINK = (
    "EXISTS (SELECT 1 FROM event_seal"
    " WHERE OLD.sequence BETWEEN event_seal.first_sequence AND event_seal.sequence)"
)
_SEALED_EVENT = (
    "EXISTS (SELECT 1 FROM event_link JOIN event_seal ON event_link.sequence"
    " BETWEEN event_seal.first_sequence AND event_seal.sequence WHERE event_link.event_id = OLD.id)"
)
_SEALED = {"security_event": _SEALED_EVENT, "event_link": _SEALED_LINK}


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "event_seal",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("previous_digest", sa.LargeBinary(), nullable=False),
        sa.Column("chain_digest", sa.LargeBinary(), nullable=False),
        sa.Column("file_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(length=8), nullable=False),
        sa.Column("seal_digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_event_seal")),
    )
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _sqlite() if on_sqlite else _postgresql():
        op.execute(statement)


def _sqlite() -> list[str]:
    return [
        *(
            f"CREATE TRIGGER event_seal_no_{verb} BEFORE {verb} ON event_seal"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            for verb in ("update", "delete")
        ),
        *(f"DROP TRIGGER {table}_no_delete" for table in _SEALED),
        *(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} WHEN NOT {sealed}"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            for table, sealed in _SEALED.items()
        ),
    ]


def _postgresql() -> list[str]:
    # Otherwise a temporary table of the same name would be asked in place of the seals.
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    return [
        *(
            f"CREATE TRIGGER event_seal_no_{verb} BEFORE {verb} ON event_seal"
            f" FOR EACH {each} EXECUTE FUNCTION refuse_change()"
            for verb, each in (("update", "ROW"), ("delete", "ROW"), ("truncate", "STATEMENT"))
        ),
        *(f"DROP TRIGGER {table}_no_delete ON {table}" for table in _SEALED),
        *(
            f"CREATE FUNCTION refuse_deletion_of_{table}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = {schema}, pg_temp AS $$ BEGIN IF {sealed} THEN RETURN OLD; END IF;"
            f" RAISE integrity_constraint_violation USING MESSAGE = '{_REFUSED}'; END $$"
            for table, sealed in _SEALED.items()
        ),
        *(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_{table}()"
            for table in _SEALED
        ),
    ]
