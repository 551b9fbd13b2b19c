"""Authenticating again within a session, for acts that need a recent authentication."""

from collections.abc import Iterable

from sqlalchemy import update
from sqlmodel import col

from accounts.crypto import password_hashing
from accounts.errors import NotLocalUser, RecentAuthenticationRequired, WrongPassword
from accounts.services import throttling
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.principal import Principal
from accounts.services.users import find_password_record
from accounts.values import password_strength
from accounts.values.authentication_methods import PASSWORD, AuthenticationLevel
from models import LoginSession


def reauthenticate(session: AccountSession, principal: Principal, *, password: str) -> None:
    """Renew the authentication of the principal's session by the password.

    An account without a second factor only: where there is one, a password is not enough.

    Raises:
        RecentAuthenticationRequired: The account has a second factor.
        NotLocalUser: An identity provider has the password.
        TooManyAttempts: The session has failed too often or, here or at a login, its source has.
        WrongPassword: It is not the password, or was changed meanwhile.
        InvalidToken: The session was revoked meanwhile.
    """
    user = principal.user
    if user.has_second_factor:
        raise RecentAuthenticationRequired(0, AuthenticationLevel.TWO_FACTORS)
    if user.provider != "local":
        raise NotLocalUser
    reservation = throttling.reserve_password_attempt(session, principal)
    record = find_password_record(session, user.user_id)
    normalised = password_strength.normalise(password)
    with session.outside_transaction():
        ok = password_hashing.verify(normalised, record, session.keys, session.limits)
    lock_account(session, user.user_id)
    session.authenticate_again()
    # Read again: the password may have been changed during the hash.
    if not ok or find_password_record(session, user.user_id) != record:
        record_event(session, EventKind.LOGIN_FAIL, user)
        raise WrongPassword
    throttling.refund_attempt(session, reservation)
    renew_authentication(session, principal, (PASSWORD,))


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
