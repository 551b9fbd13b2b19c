"""Writing any number of rows past the models and the acts, in the fastest way that there is."""

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
    """What writes rows into a table; their columns have the values that the models have."""
    engine = open_engine(location)
    connection = engine.raw_connection()
    driver: Any = connection.dbapi_connection
    try:
        if engine.dialect.name == "sqlite":
            # What is lost by a power cut is made again.
            for pragma in ("synchronous = OFF", "cache_size = -4000000", "foreign_keys = OFF"):
                driver.execute(f"PRAGMA {pragma}")
            yield partial(_write_file, driver)
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            driver.execute("SET statement_timeout = 0")
            yield partial(_write_server, driver)
            driver.execute("VACUUM (ANALYZE)")  # as it does by itself, some time
    finally:
        connection.close()
        engine.dispose()


def _write_file(driver: Any, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(metadata.tables[table].columns.keys())
    places = ", ".join("?" * len(names))
    driver.execute("BEGIN")
    driver.executemany(
        f'INSERT INTO "{table}" ({", ".join(names)}) VALUES ({places})',  # noqa: S608 # our own names
        (tuple(map(_as_in_file, map(row.__getitem__, names))) for row in rows),
    )
    driver.execute("COMMIT")


def _as_in_file(value: Any) -> Any:
    """A value as SQLAlchemy writes it into a file, where a moment is a text."""
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
