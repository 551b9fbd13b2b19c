"""Sessions that end by not being used, if the operator has set a timeout."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlmodel import col

from accounts.limits import Limits
from models import LoginSession

#: The longest time until the use of a credential is recorded: that is done in batches (TK-16).
RECORDING_DELAY = timedelta(minutes=1)
_UNLIMITED = datetime.min.replace(tzinfo=UTC)


def idle_since(limits: Limits, now: datetime, *, delays: int = 2) -> datetime:
    """Return the time up to which a session was last used if it has ended by idling.

    The uses of the last delay may not be recorded yet, so a session in use can seem to be idle for
    the timeout and one delay. A use after a longer time is accepted for a second delay, but not
    recorded (`delays=1`): all that count are recorded before the first use is rejected, and an
    ended session never comes alive again. The timeout must be longer than a delay.
    """
    if limits.session_idle_timeout is None:
        return _UNLIMITED
    return now - limits.session_idle_timeout - delays * RECORDING_DELAY


def used_after(time: Any) -> ColumnElement[bool]:
    """Return the condition that the last recorded use of a session, or its login, is later."""
    last_use = func.coalesce(col(LoginSession.last_used_at), col(LoginSession.created_at))
    is_later: ColumnElement[bool] = last_use > time
    return is_later
