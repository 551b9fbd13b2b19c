"""Finds out whether a transaction on PostgreSQL was committed (ADR 37)."""

import logging
import time
from typing import Any, cast

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from accounts.errors import OutcomeUnknown
from oneself.database.failures import is_database_unavailable

#: For how long, and at what interval in seconds, the outcome of a commit is asked for.
_ASK_SECONDS, _POLL_SECONDS = 5.0, 0.25

#: The key of the last warning in `Connection.info`.
_WARNING = "oneself.warning"

#: The number of a transaction, the time, and when the server started: no other has started in the
#: same microsecond.
IDENTIFY = """
    SELECT concat_ws('|', pg_current_xact_id(), clock_timestamp(), pg_postmaster_start_time())
"""
#: The outcome of a transaction; null if this is another server, or it has crashed since. A server
#: that crashes, and a standby that is promoted, give the numbers of lost transactions to others. A
#: crash resets the statistics, even where the postmaster survives it.
_OUTCOME = """
    SELECT CASE
        WHEN pg_is_in_recovery() THEN 'in recovery'
        WHEN pg_postmaster_start_time() = %s::timestamptz AND stats_reset < %s::timestamptz
        THEN pg_xact_status(%s::xid8)
    END FROM pg_stat_bgwriter
"""
#: Events are never deleted on the day they are written, and their ids are random.
_FIND_EVENT = "SELECT EXISTS (SELECT FROM security_event WHERE id = %s)"
#: A transaction that only writes to the log. Its commit waits for the synchronous standbys, as that
#: of the earlier transaction did until its connection broke.
_WAIT_FOR_STANDBYS = "SELECT pg_logical_emit_message(true, 'oneself', '')"

_log = logging.getLogger(__name__)


def watch_warnings(engine: Engine) -> None:
    """Keep the last warning of each connection, for `require_acknowledged`."""

    def watch(driver: Any, record: Any) -> None:
        def keep(diagnostic: Any) -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                record.info[_WARNING] = diagnostic.sqlstate

        driver.add_notice_handler(keep)

    event.listen(engine, "connect", watch)


def forget_warnings(connection: Connection) -> None:
    """Forget the warnings of a transaction before it is committed."""
    connection.info.pop(_WARNING, None)


def require_acknowledged(connection: Connection) -> None:
    """Check that a commit was acknowledged without a warning.

    PostgreSQL acknowledges a commit also when its wait for a synchronous standby is cancelled. Its
    warning is then the only sign that a failover may lose the transaction.

    Raises:
        OutcomeUnknown: There was a warning.
    """
    state = connection.info.pop(_WARNING, None)
    if state is not None:
        raise _unknown(f"the server committed with the warning {state}")


def require_committed(engine: Engine, transaction: str, event_id: str | None) -> None:
    """Ask whether a transaction was committed whose connection broke (DB-12).

    `transaction` is the result of `IDENTIFY`. If another server answers, or the same one after a
    crash, the number of the transaction says nothing: then `event_id`, an event that was written in
    the transaction, decides.

    Raises:
        sqlalchemy.exc.OperationalError: It was not committed; it can be retried.
        OutcomeUnknown: No server answers for too long, or it does not know.
    """
    deadline = time.monotonic() + _ASK_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                outcome = _ask(connection, transaction, event_id)
                if outcome in {"committed", "forgotten"}:
                    # A retry may find that nothing is left to do, and would wait for no standby.
                    forget_warnings(connection)
                    connection.exec_driver_sql(_WAIT_FOR_STANDBYS)
                    require_acknowledged(connection)
        except DBAPIError as error:
            if not is_database_unavailable(error):
                raise _unknown("the server could not be asked") from error
            outcome = None
        if outcome == "committed":
            return
        if outcome == "aborted":
            broken = ConnectionError("the connection broke before the commit")
            raise OperationalError("COMMIT", None, broken, connection_invalidated=True)
        if outcome == "forgotten":
            raise _unknown("another server answers, or it has crashed", is_settled=True)
        if time.monotonic() > deadline:
            raise _unknown(outcome or "no server answers")
        time.sleep(_POLL_SECONDS)


def _ask(connection: Connection, transaction: str, event_id: str | None) -> str:
    """Return the outcome in PostgreSQL's words, `in recovery`, or `forgotten`."""
    number, began_at, started_at = transaction.split("|")
    answer = connection.exec_driver_sql(_OUTCOME, (started_at, began_at, number)).scalar_one()
    if answer is not None:
        return cast("str", answer)
    if event_id is None:
        return "forgotten"
    # This server accepts writes, so no transaction of an earlier one can appear in it any more.
    was_found = connection.exec_driver_sql(_FIND_EVENT, (event_id,)).scalar_one()
    return "committed" if was_found else "aborted"


def _unknown(reason: str, *, is_settled: bool = False) -> OutcomeUnknown:
    _log.warning("the outcome of a commit is unknown", extra={"reason": reason})
    return OutcomeUnknown(reason, is_settled=is_settled)
