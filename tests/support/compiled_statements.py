"""SQL that is compiled once for all databases of a test process.

SQLAlchemy caches compiled statements by engine, and each test opens a database of its own, so
without this every test compiles its statements anew: a third of the time of the unit tests.
"""

from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from oneself.database import prepared

_CACHE: LRUCache[Any, Any] = LRUCache(5000)


def share_compiled_statements() -> None:
    """Let all engines of this process use one cache.

    There is no public way: the cache is created with the engine, and the keys of the caches of
    engines and mappers contain the dialect, which is compared by identity.
    """
    prepared.Prepared = cache(prepared.Prepared)  # type: ignore[assignment,misc] # see above
    Engine._compiled_cache = property(lambda _: _CACHE, _ignore)  # type: ignore[method-assign] # noqa: SLF001 # see above
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.__eq__ = _is_of_same_kind  # type: ignore[method-assign]
        dialect.__hash__ = _hash_of_kind  # type: ignore[method-assign]


def _ignore(engine: Engine, cache: object) -> None:
    """Drop the cache that an engine is created with."""


def _is_of_same_kind(dialect: object, other: object) -> bool:
    return type(dialect) is type(other)


def _hash_of_kind(dialect: object) -> int:
    return hash(type(dialect))
