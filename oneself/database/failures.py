"""Classification of database failures: temporary, retryable."""

from sqlalchemy.exc import DBAPIError, OperationalError

#: Classes of SQLSTATE that the client cannot help and that pass: connection, resources, operator
#: intervention, system (PostgreSQL's Appendix A).
_TEMPORARY_CLASSES = ("08", "53", "57", "58")
#: The server is read-only, as a standby is until it takes over.
READ_ONLY = "25006"
_TEMPORARY = {
    READ_ONLY,
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "42P01",  # no tables: never migrated, or being restored
    "55P03",  # lock_timeout
}
#: Conflicts with another transaction: nothing was done, and the whole can be retried (DB-10).
_CONFLICTS = {"40001", "40P01"}


def sqlstate(error: DBAPIError) -> str:
    """Return the SQLSTATE of a failure; empty for SQLite, and if no server answered."""
    return getattr(error.orig, "sqlstate", None) or ""


def can_retry(error: Exception) -> bool:
    """Return whether nothing was done, and the same work may succeed if it is retried at once.

    True after a deadlock, a serialization failure, or on a broken connection: if a commit was lost
    with the connection, and its outcome cannot be found out, `OutcomeUnknown` is raised instead.
    """
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or sqlstate(error) in _CONFLICTS


def is_database_unavailable(error: Exception) -> bool:
    """Return whether the database is locked, full, read-only or gone, rather than misused.

    It may be better in a second (DB-05).
    """
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    return (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or state in _TEMPORARY
        or state.startswith(_TEMPORARY_CLASSES)
    )
