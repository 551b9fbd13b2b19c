"""Opening the database, and the one place where a transaction is committed or rolled back."""

from oneself.transactions.database import Database, Location, open_engine
from oneself.transactions.failures import OutcomeUnknown, does_not_answer
from oneself.transactions.group_commit import NotTogether
from oneself.transactions.sessions import SingleReading
from oneself.transactions.sqlite import sqlite_driver

__all__ = [
    "Database",
    "Location",
    "NotTogether",
    "OutcomeUnknown",
    "SingleReading",
    "does_not_answer",
    "open_engine",
    "sqlite_driver",
]
