"""Databases at an earlier revision, with rows in every table that it has."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

import models

__all__ = ["EARLIER", "fill", "migrate_to", "project", "rows_of", "schema_of", "tables_of"]

_SCRIPTS = f"{models.__path__[0]}/migrations"
_VERSION = "alembic_version"
_BEGINNING = datetime(2026, 4, 5, 10, tzinfo=UTC)

#: What a column must be one of, where a check says so.
_CHOICES = {
    "provider": "local",
    "dataset_access_mode": "all_available",
    "purpose": "email_change",
}

#: Each revision but the newest, the oldest first.
EARLIER = tuple(
    script.revision
    for script in reversed(list(ScriptDirectory(_SCRIPTS).walk_revisions()))
    if not script.is_head
)


def migrate_to(engine: Engine, revision: str) -> None:
    """Make the tables as they were at a revision."""
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "BEGIN"
        )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def tables_of(connection: Connection) -> Sequence[sa.Table]:
    """The tables that are there, each after those that it refers to."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != _VERSION]


def fill(engine: Engine) -> None:
    """Put three rows into every table: two with a value in every column, one with what it needs."""
    with engine.begin() as connection:
        for table in tables_of(connection):
            for number in range(3):
                values = {
                    each.name: _value(each, number)
                    for each in table.columns
                    if number < 2 or not each.nullable
                }
                connection.execute(table.insert().values(values))


def _value(column: sa.Column[Any], number: int) -> Any:
    for key in column.foreign_keys:
        return _value(key.column, number)
    kind = column.type
    value: Any = number + 1
    if isinstance(kind, sa.JSON):
        value = ["me/profile:read", number]
    elif isinstance(kind, sa.String):
        value = (_CHOICES.get(column.name) or f"{number}{column.name}")[: kind.length]
    elif isinstance(kind, sa.LargeBinary):
        value = f"{column.table.name} {column.name} {number}".encode()
    elif isinstance(kind, sa.DateTime):
        value = _BEGINNING + timedelta(days=number, microseconds=17)
        if not kind.timezone:  # SQLite has none, and all that it has is UTC
            value = value.replace(tzinfo=None)
    elif isinstance(kind, sa.Boolean):
        value = bool(number % 2)
    return value


def rows_of(engine: Engine) -> Mapping[str, list[dict[str, Any]]]:
    """All that is stored, by table; each row by column, in an order of its values."""
    with engine.connect() as connection:
        return {
            table.name: sorted(
                (dict(row._mapping) for row in connection.execute(sa.select(table))),  # noqa: SLF001 # it is public in SQLAlchemy
                key=repr,
            )
            for table in tables_of(connection)
        }


def schema_of(engine: Engine) -> list[tuple[Any, ...]]:
    """What the tables are, in the words of the database, with the revision that they say."""
    said = {
        "sqlite": "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2",
        "postgresql": """
            SELECT c.relname, c.relkind::text, a.attname, a.atttypid, a.attnotnull,
                   (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                      FROM pg_constraint k WHERE k.conrelid = c.oid),
                   (SELECT string_agg(t.tgname, ' ' ORDER BY t.tgname)
                      FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
             WHERE c.relnamespace = current_schema()::regnamespace
             ORDER BY c.relname, a.attnum
        """,
    }
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(said[engine.dialect.name])]
        if sa.inspect(connection).has_table(_VERSION):
            found += [
                tuple(row)
                for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            ]
        return found


def project(source: Engine, target: Engine) -> None:
    """Copy the rows of one database into another that has fewer tables and columns."""
    with source.connect() as reading, target.begin() as writing:
        known = {table.name: table for table in tables_of(reading)}
        for table in tables_of(writing):
            columns = [known[table.name].columns[each.name] for each in table.columns]
            for row in reading.execute(sa.select(*columns)):
                writing.execute(table.insert().values(dict(row._mapping)))  # noqa: SLF001 # as above
