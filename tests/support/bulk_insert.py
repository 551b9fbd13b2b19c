"""Bulk inserts that bypass models and acts for speed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import psycopg

from models import metadata
from oneself.database import Location, open_engine

__all__ = ["writing"]


@contextmanager
def writing(location: Location) -> Iterator[Callable[[str, Sequence[Mapping[str, Any]]], None]]:
    """Yield a function that writes rows, with the values of the models, into a table."""
    engine = open_engine(location)
    connection = engine.raw_connection()
    driver: Any = connection.dbapi_connection
    try:
        if engine.dialect.name == "sqlite":
            # Durability is not needed: the data can be created again.
            for pragma in ("synchronous = OFF", "cache_size = -4000000", "foreign_keys = OFF"):
                driver.execute(f"PRAGMA {pragma}")
            yield partial(_write_file, driver)
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            driver.execute("SET statement_timeout = 0")
            yield partial(_write_server, driver)
            driver.execute("VACUUM (ANALYZE)")  # as autovacuum would, some time later
    finally:
        connection.close()
        engine.dispose()


def _write_file(driver: Any, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(metadata.tables[table].columns.keys())
    placeholders = ", ".join("?" * len(names))
    driver.execute("BEGIN")
    driver.executemany(
        f'INSERT INTO "{table}" ({", ".join(names)}) VALUES ({placeholders})',  # noqa: S608 # our own names
        (tuple(map(_as_in_file, map(row.__getitem__, names))) for row in rows),
    )
    driver.execute("COMMIT")


def _as_in_file(value: Any) -> Any:
    """Return a value as SQLAlchemy stores it in SQLite, where a timestamp is text."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


def _write_server(
    driver: "psycopg.Connection[Any]", table: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    names = list(metadata.tables[table].columns.keys())
    into = f'COPY "{table}" ({", ".join(names)}) FROM STDIN'
    with driver.cursor() as cursor, cursor.copy(into.encode()) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
