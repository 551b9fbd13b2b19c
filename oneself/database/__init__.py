"""Database access: connections, transactions, group commit and migrations."""

from oneself.database.database import Database, Location, open_engine
from oneself.database.failures import is_database_unavailable
from oneself.database.group_commit import RetryAlone
from oneself.database.sessions import SingleReading
from oneself.database.sqlite import sqlite_driver

__all__ = [
    "Database",
    "Location",
    "RetryAlone",
    "SingleReading",
    "is_database_unavailable",
    "open_engine",
    "sqlite_driver",
]
