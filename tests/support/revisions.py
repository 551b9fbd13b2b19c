"""Databases at an earlier revision, with rows in every table."""

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
_VERSION_TABLE = "alembic_version"
_START = datetime(2026, 4, 5, 10, tzinfo=UTC)

#: Valid values of columns with a CHECK constraint.
_CHOICES = {"provider": "local", "dataset_access_mode": "all_available", "purpose": "email_change"}

#: Each revision but the newest, the oldest first.
EARLIER = tuple(
    script.revision
    for script in reversed(list(ScriptDirectory(_SCRIPTS).walk_revisions()))
    if not script.is_head
)


def migrate_to(engine: Engine, revision: str) -> None:
    """Migrate an empty database to a revision."""
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
    """Return the tables of a database, each after those that it refers to."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != _VERSION_TABLE]


def fill(engine: Engine) -> None:
    """Insert three rows into every table; the third has only the required columns."""
    with engine.begin() as connection:
        for table in tables_of(connection):
            for number in range(3):
                values = {
                    column.name: _value(column, number)
                    for column in table.columns
                    if number < 2 or not column.nullable
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
        value = _START + timedelta(days=number, microseconds=17)
        if not kind.timezone:  # SQLite stores no time zone; all values are UTC
            value = value.replace(tzinfo=None)
    elif isinstance(kind, sa.Boolean):
        value = bool(number % 2)
    return value


def rows_of(engine: Engine) -> Mapping[str, list[dict[str, Any]]]:
    """Return all rows by table, each as a dictionary, in a stable order."""
    with engine.connect() as connection:
        return {
            table.name: sorted(
                (dict(row._mapping) for row in connection.execute(sa.select(table))),  # noqa: SLF001 # public in SQLAlchemy
                key=repr,
            )
            for table in tables_of(connection)
        }


def schema_of(engine: Engine) -> list[tuple[Any, ...]]:
    """Return the schema as the database describes it, and its revision."""
    queries = {
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
        schema = [tuple(row) for row in connection.exec_driver_sql(queries[engine.dialect.name])]
        if sa.inspect(connection).has_table(_VERSION_TABLE):
            schema += [
                tuple(row)
                for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            ]
        return schema


def project(source: Engine, target: Engine) -> None:
    """Copy the rows of a database into another that has fewer tables and columns."""
    with source.connect() as reading, target.begin() as writing:
        tables = {table.name: table for table in tables_of(reading)}
        for table in tables_of(writing):
            columns = [tables[table.name].columns[column.name] for column in table.columns]
            for row in reading.execute(sa.select(*columns)):
                writing.execute(table.insert().values(dict(row._mapping)))  # noqa: SLF001 # as above
