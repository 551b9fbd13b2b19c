"""Recent authentication, which some operations demand (RFC 9470)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import col

from accounts.errors import RecentAuthenticationRequired
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.principal import Principal
from accounts.values.authentication_methods import AuthenticationLevel, level_of
from models import LoginSession


def require_recent_authentication(
    principal: Principal, *, max_age: int, now: datetime, always: bool
) -> None:
    """Check that the user authenticated within `max_age` seconds.

    In force for accounts with a second factor, and with `always` for all. Of an account with a
    second factor, that must have been used. A credential of a program is no authentication.

    Raises:
        RecentAuthenticationRequired: The user must authenticate again.
    """
    has_second_factor = principal.user.has_second_factor
    if not (always or has_second_factor):
        return
    authentication = principal.credential.authentication
    required = AuthenticationLevel.ONE_FACTOR
    if has_second_factor:
        required = AuthenticationLevel.TWO_FACTORS
    if (
        authentication is None
        or now - authentication.at > timedelta(seconds=max_age)
        or (has_second_factor and level_of(authentication.amr) is not required)
    ):
        raise RecentAuthenticationRequired(max_age, required)


def renew_authentication(session: AccountSession, principal: Principal, amr: Iterable[str]) -> None:
    """Record that the user of a session has just authenticated by these methods.

    Neither the end of the session nor its token changes, and no other session of the user.
    """
    session_id = principal.credential.id
    session.core.execute(
        update(LoginSession)
        .where(col(LoginSession.id) == session_id)
        .values(authenticated_at=session.now, amr=" ".join(amr))
    )
    record_event(session, EventKind.SESSION_RENEWED, principal.user, session_id=session_id)
