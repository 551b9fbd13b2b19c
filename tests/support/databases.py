"""Databases with all tables and no rows, of whichever kind: migrating takes longer than a test."""

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
from tests.support.postgresql import Databases, connected

__all__ = ["Files", "Servers", "Storage", "in_words_of", "url_of"]

#: Events are deleted by nobody but who may switch triggers off, and foreign keys with them.
_EMPTY = "; ".join(
    ["SET lock_timeout = 1000", "SET session_replication_role = replica"]
    + [f'DELETE FROM "{table}"' for table in metadata.tables]  # noqa: S608 # our own names
)

#: Whatever a test may have done to the tables, in a few numbers.
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
    """Makes databases of one kind."""

    def make(self, folder: Path) -> Location:
        """A fresh one; a file lies in the folder."""

    def copy(self, location: Location, folder: Path) -> Location:
        """A copy of one that nobody is using."""

    def drop(self, location: Location) -> None:
        """Take one away that nobody needs any more."""

    def settings(self) -> Mapping[str, str]:
        """The settings under which a service has a fresh one to itself."""


class Files:
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
        """Nothing: it goes with its folder."""

    def settings(self) -> Mapping[str, str]:
        """None: it makes one in its data folder."""
        return {}


class Servers:
    """Databases on a PostgreSQL server.

    To make one takes longer than most tests, so one whose tables are as they were is emptied, and
    is fresh again.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._emptied: list[URL] = []

    @property
    def programs(self) -> Path | None:
        """The folder of the server's programs, where it was started from here."""
        server = self._databases.server
        return server.programs if server is not None else None

    @cached_property
    def _migrated(self) -> URL:
        made = _migrated(self._databases.make())
        with connected(made) as connection:
            self._tables = connection.execute(_TABLES).fetchone()
        return made

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
        except psycopg.Error:  # a table is gone, or somebody in it still holds a lock
            emptied = False
        if emptied:
            self._emptied.append(location)
        else:
            self._databases.drop(location)

    def settings(self) -> Mapping[str, str]:
        """A server's database, and the secret that has to come with it."""
        return {"database_url": url_of(self.blank()), "secret_key": secrets.token_urlsafe(32)}

    def blank(self) -> URL:
        """One without tables."""
        return self._databases.make()

    def discard(self, location: URL) -> None:
        """Take one away for good."""
        self._databases.drop(location)

    def _is_emptied(self, location: URL) -> bool:
        with connected(location) as connection:
            if connection.execute(_TABLES).fetchone() != self._tables:
                return False
            connection.execute(_EMPTY)
            return True


def in_words_of(dialect: str, statement: str) -> str:
    """A statement of SQLite's as another database says it: placeholders, and bytes."""
    if dialect == "sqlite":
        return statement
    written = statement.replace("?", "%s").replace("AS BLOB", "AS BYTEA")
    return re.sub(r"\bx'([0-9a-f]*)'", r"'\\x\1'::bytea", written)


def url_of(location: Location) -> str:
    """What the setting of a process says that uses this database."""
    if isinstance(location, URL):
        return location.render_as_string(hide_password=False)
    return f"sqlite:///{location}"


def _migrated(location: _Kind) -> _Kind:
    engine = open_engine(location)
    upgrade(engine)
    engine.dispose()
    return location
