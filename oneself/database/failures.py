"""What can go wrong with a database, and whether it may be better in a second."""

from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = ["OutcomeUnknown", "begin_again", "does_not_answer", "sqlstate"]

#: Classes of SQLSTATE that the asker cannot help and that pass: the connection, resources, an
#: operator's intervention, the system (PostgreSQL's Appendix A).
_PASSING_CLASSES = ("08", "53", "57", "58")
_PASSING = {
    "25006",  # it is read-only, as a standby is until it takes over
    "25P03",  # the transaction was idle for too long, and was ended
    "25P04",  # it took too long in all, and was ended
    "42P01",  # there are no tables: it was never migrated, or is being restored
    "55P03",  # a lock was not to be had in time
}
#: Another transaction was in the way, and nothing was done: the whole may be tried again (DB-10).
_IN_THE_WAY = {"40001", "40P01"}


class OutcomeUnknown(Exception):
    """The connection broke while a transaction was committed, and nobody can say whether it was.

    It is never begun again, since it may be done already, and is no 503, which would ask for that.
    """

    def __init__(self) -> None:
        super().__init__("The connection broke during a commit, and its outcome is not known.")


def sqlstate(error: DBAPIError) -> str:
    """The SQLSTATE of a failure; empty from SQLite, and where no server answered."""
    return getattr(error.orig, "sqlstate", None) or ""


def begin_again(error: DBAPIError) -> bool:
    """Whether nothing was done, and the same may go well if it is begun again at once.

    So it is after a deadlock, after a failure to serialise, and on a connection that turned out to
    be broken: whoever had to commit over it raises `OutcomeUnknown` instead.
    """
    return error.connection_invalidated or sqlstate(error) in _IN_THE_WAY


def does_not_answer(error: Exception) -> bool:
    """Whether it is the database that is locked, full, read-only or gone, and not we who are wrong.

    It may be better in a second (DB-05).
    """
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    return (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or state in _PASSING
        or state.startswith(_PASSING_CLASSES)
    )
