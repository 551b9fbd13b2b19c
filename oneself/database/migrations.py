"""Schema migrations, by Alembic."""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import Engine

import models
from models.schema import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["REVISION", "differences", "is_known", "present_revision", "upgrade"]

_TABLE = "alembic_version"

_BEGIN = {
    "sqlite": ["BEGIN IMMEDIATE"],
    "postgresql": [
        "BEGIN",
        # A table may be large, and readers may hold it for a while.
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SET LOCAL lock_timeout = '60s'",
        # The lock's name: the bytes of "oneself" as a number.
        f"SELECT pg_advisory_xact_lock({int.from_bytes(b'oneself')})",
    ],
}
#: Default privileges cover new tables, and no role but their owner needs these on events (LO-04).
_REVOKE = """
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT DISTINCT granted.grantee::regrole::text
          FROM pg_class AS event_table, aclexplode(event_table.relacl) AS granted
         WHERE event_table.oid IN
               ('security_event'::regclass, 'event_link'::regclass, 'event_seal'::regclass,
                'event_erasure'::regclass)
           AND (granted.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
                OR granted.privilege_type = 'INSERT' AND event_table.relname = 'event_seal')
           AND granted.grantee NOT IN (0, event_table.relowner)
    LOOP
        EXECUTE 'REVOKE UPDATE, DELETE, TRUNCATE ON security_event, event_link, event_erasure FROM '
                || grantee;
        EXECUTE 'GRANT UPDATE (source) ON security_event TO ' || grantee;
        EXECUTE 'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON event_seal FROM ' || grantee;
    END LOOP;
END
$$
"""
_END: dict[str, list[str]] = {"sqlite": [], "postgresql": [_REVOKE]}
_SCRIPTS = Path(models.__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Migrate to this version, in one transaction: a crash half-way leaves the old tables.

    Of several concurrent calls one migrates, and the others then find it done.
    """
    from alembic import command  # noqa: PLC0415 # slow, and not needed once migrated

    with engine.connect() as connection:
        for statement in _BEGIN[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        config = _configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
        for statement in _END[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        connection.commit()


def is_known(revision: str) -> bool:
    """Return whether this version can migrate tables of a revision."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 # as above

    scripts = ScriptDirectory.from_config(_configuration())
    return revision in {script.revision for script in scripts.walk_revisions()}


def present_revision(engine: Engine) -> str | None:
    """Return the revision of a database; None for a fresh one."""
    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(_TABLE):
            return None
        revision: str | None = connection.exec_driver_sql(
            f"SELECT version_num FROM {_TABLE}"  # noqa: S608 # a constant
        ).scalar()
        return revision


def differences(engine: Engine) -> list[str]:
    """Return differences between the tables and the models; empty if there are none."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 # as above
    from alembic.migration import MigrationContext  # noqa: PLC0415

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference[0]) for difference in compare_metadata(context, models.metadata)]


def _configuration() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 # as above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
