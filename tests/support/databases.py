"""Databases for tests: migrated and empty, copied from a template for speed."""

import re
import secrets
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg
from sqlalchemy import URL

from models import metadata
from oneself.database import Location, open_engine
from oneself.database.migrations import upgrade
from tests.support.postgresql import Databases, direct_connection

__all__ = ["PostgresqlStorage", "SqliteStorage", "Storage", "location_url", "translate_sql"]

#: Events can only be deleted with triggers, and thereby foreign keys, switched off.
_EMPTY = "; ".join(
    ["SET lock_timeout = 1000", "SET session_replication_role = replica"]
    + [f'DELETE FROM "{table}"' for table in metadata.tables]  # noqa: S608 # our own names
)

#: A fingerprint of the schema, to notice changes template by a test.
_TABLES = """
    SELECT
        (SELECT string_agg(version_num, ' ') FROM alembic_version),
        (SELECT md5(string_agg(concat(relname, relkind, relnatts), ' ' ORDER BY relname))
           FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        (SELECT md5(string_agg(concat(attname, atttypid), ' ' ORDER BY attrelid, attnum))
           FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
          WHERE relnamespace = 'public'::regnamespace AND attnum > 0),
        (SELECT md5(string_agg(concat(tgname, tgenabled), ' ' ORDER BY tgname))
           FROM pg_trigger WHERE NOT tgisinternal),
        (SELECT md5(string_agg(concat(conname, contype), ' ' ORDER BY conname))
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace)
"""

_Kind = TypeVar("_Kind", Path, URL)


class Storage(Protocol):
    """Creates databases of one kind."""

    def make(self, folder: Path) -> Location:
        """Create an empty database; a file is created in the folder."""

    def copy(self, location: Location, folder: Path) -> Location:
        """Copy a database that is not in use."""

    def drop(self, location: Location) -> None:
        """Delete or recycle a database."""

    def settings(self) -> Mapping[str, str]:
        """Return the settings with which a service has an empty database of its own."""


class SqliteStorage:
    """SQLite files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _migrated(self) -> Path:
        return _migrated(self._folder / "oneself.sqlite3")

    def make(self, folder: Path) -> Path:
        return self.copy(self._migrated, folder)

    def copy(self, location: Location, folder: Path) -> Path:
        return Path(shutil.copy(str(location), folder / "oneself.sqlite3"))

    def drop(self, location: Location) -> None:
        """Do nothing: the file is deleted with its folder."""

    def settings(self) -> Mapping[str, str]:
        """Return no settings: the service creates a file in its data folder."""
        return {}


class PostgresqlStorage:
    """Databases on a PostgreSQL server.

    Creating one takes longer than most tests, so a database whose schema is unchanged is emptied
    and reused.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._emptied: list[URL] = []

    @property
    def programs(self) -> Path | None:
        """The folder of the server's programs, if the tests have started it."""
        server = self._databases.server
        return server.programs if server is not None else None

    @cached_property
    def _migrated(self) -> URL:
        template = _migrated(self._databases.make())
        with direct_connection(template) as connection:
            self._tables = connection.execute(_TABLES).fetchone()
        return template

    def make(self, _folder: Path) -> URL:
        if self._emptied:
            return self._emptied.pop()
        return self._databases.make(self._migrated)

    def copy(self, location: Location, _folder: Path) -> URL:
        assert isinstance(location, URL)
        return self._databases.make(location)

    def drop(self, location: Location) -> None:
        assert isinstance(location, URL)
        try:
            emptied = self._is_emptied(location)
        except psycopg.Error:  # a table is gone, or still locked
            emptied = False
        if emptied:
            self._emptied.append(location)
        else:
            self._databases.drop(location)

    def settings(self) -> Mapping[str, str]:
        """Return the URL of a new database, and the secret key that a service on it requires."""
        return {"database_url": location_url(self.blank()), "secret_key": secrets.token_urlsafe(32)}

    def blank(self) -> URL:
        """Create a database without tables."""
        return self._databases.make()

    def discard(self, location: URL) -> None:
        """Delete a database instead of reusing it."""
        self._databases.drop(location)

    def _is_emptied(self, location: URL) -> bool:
        with direct_connection(location) as connection:
            if connection.execute(_TABLES).fetchone() != self._tables:
                return False
            connection.execute(_EMPTY)
            return True


def translate_sql(dialect: str, statement: str) -> str:
    """Translate a statement from SQLite's dialect: placeholders and bytes."""
    if dialect == "sqlite":
        return statement
    translated = statement.replace("?", "%s").replace("AS BLOB", "AS BYTEA")
    return re.sub(r"\bx'([0-9a-f]*)'", r"'\\x\1'::bytea", translated)


def location_url(location: Location) -> str:
    """Return the value of ONESELF_DATABASE_URL for a database."""
    if isinstance(location, URL):
        return location.render_as_string(hide_password=False)
    return f"sqlite:///{location}"


def _migrated(location: _Kind) -> _Kind:
    if isinstance(location, Path):
        location.touch()
    engine = open_engine(location)
    upgrade(engine)
    engine.dispose()
    return location
