"""The service with one defect: `python -m tests.failover.planted NAME serve …`.

The tests of failovers must find each of them.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError, OperationalError

from accounts.errors import OutcomeUnknown
from accounts.services import authentication
from oneself.commands import main
from oneself.database.postgresql import Postgresql

__all__ = ["DEFECTS"]

_SECONDS_CACHED = 5
_POLLS, _POLL_SECONDS = 20, 0.25
_BEGIN = "SELECT concat(pg_current_xact_id(), ' ', clock_timestamp()); BEGIN"
_OUTCOME = """
    SELECT pg_xact_status(%s::xid8), EXISTS (
        SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND backend_start < %s
    )
"""


def _cache_credentials() -> None:
    """Accept a credential for some seconds without looking it up."""
    look_up = authentication.authenticate
    cached: dict[Any, tuple[float, Any]] = {}

    def authenticate(reading: Any, presented: Any) -> Any:
        if presented.claims is not None:
            return look_up(reading, presented)
        key = presented.kind, presented.token
        until, principal = cached.get(key, (0.0, None))
        if time.monotonic() > until:
            principal = look_up(reading, presented)
            cached[key] = time.monotonic() + _SECONDS_CACHED, principal
        return principal

    authentication.authenticate = authenticate


def _acknowledge_cancelled_waits() -> None:
    """Ignore the warning of a commit whose wait for a standby was cancelled."""
    Postgresql.require_acknowledged = lambda *_: None  # type: ignore[method-assign]


def _trust_any_server() -> None:
    """Believe what any server says about a transaction, if one of its clients is older."""

    def begin(self: Any, connection: Any, *, writing: bool, snapshot: bool) -> str | None:
        if writing:
            return str(connection.exec_driver_sql(_BEGIN).scalar_one())
        return begin_reading(self, connection, writing=False, snapshot=snapshot)

    def require_committed(self: Any, transaction: str, *_: Any) -> None:
        number, _, started_at = transaction.partition(" ")
        for _ in range(_POLLS):
            try:
                with self._engine.connect() as connection:
                    answer = connection.exec_driver_sql(_OUTCOME, (number, started_at))
                    outcome, has_witness = answer.one()
            except OperationalError:
                outcome, has_witness = "in progress", False
            except DBAPIError as error:
                raise OutcomeUnknown("the server does not know", is_settled=False) from error
            if outcome == "committed" and has_witness:
                return
            if outcome == "aborted":
                broken = ConnectionError("the connection broke before the commit")
                raise OperationalError("COMMIT", None, broken, connection_invalidated=True)
            if outcome != "in progress":
                break
            time.sleep(_POLL_SECONDS)
        raise OutcomeUnknown("no server knows", is_settled=False)

    begin_reading = Postgresql.begin
    Postgresql.begin = begin  # type: ignore[method-assign]
    Postgresql.require_committed = require_committed  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    "cached-credential": _cache_credentials,
    "cancelled-wait-acknowledged": _acknowledge_cancelled_waits,
    "any-server-trusted": _trust_any_server,
}

if __name__ == "__main__":
    DEFECTS[sys.argv.pop(1)]()
    main()
