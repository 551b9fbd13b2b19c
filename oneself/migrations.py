"""Bringing a database's tables to the version that this code works with."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine

import models
from models.schema import REVISION

__all__ = ["differences", "present_revision", "upgrade"]

_SCRIPTS = Path(models.__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Migrate forward, all in one transaction: a crash half way leaves the old tables."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = Config()
        config.set_main_option("script_location", str(_SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
        connection.commit()


def present_revision(engine: Engine) -> str | None:
    """The revision that a database is at; None for a fresh one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(engine: Engine) -> list[str]:
    """How the tables differ from what the code expects; empty when they do not."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference[0]) for difference in compare_metadata(context, models.metadata)]
