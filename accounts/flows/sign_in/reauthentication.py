"""Authenticating again within a session, for acts that need a recent authentication."""

from accounts.crypto import password_hashing
from accounts.errors import NotLocalUser, RecentAuthenticationRequired, WrongPassword
from accounts.services import throttling
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.factors.codes import reserve_code_attempt, use_code
from accounts.services.principal import Principal
from accounts.services.recent_authentication import renew_authentication
from accounts.services.users import find_password_record
from accounts.values import password_strength
from accounts.values.authentication_methods import (
    MULTI_FACTOR,
    ONE_TIME_PASSWORD,
    PASSWORD,
    AuthenticationLevel,
)


def reauthenticate(
    session: AccountSession, principal: Principal, *, password: str, code: str | None = None
) -> None:
    """Renew the authentication of the principal's session by the password.

    An account with a second factor needs a code of it as well; without one the password is not
    even tried. A code is used up only by the right password.

    Raises:
        RecentAuthenticationRequired: The account has a second factor, and there is no code.
        NotLocalUser: An identity provider has the password.
        TooManyAttempts: The session has failed too often or, here or at a login, its source has.
        WrongPassword: It is not the password, or was changed meanwhile.
        WrongCode: It is no code of the user, or was used before.
        InvalidToken: The session was revoked meanwhile.
    """
    user = principal.user
    if user.has_second_factor and code is None:
        raise RecentAuthenticationRequired(0, AuthenticationLevel.TWO_FACTORS)
    if user.provider != "local":
        raise NotLocalUser
    reservation = throttling.reserve_password_attempt(session, principal)
    attempt = None
    if user.has_second_factor:
        session_id = principal.credential.session_id
        attempt = reserve_code_attempt(session, user, session_id=session_id)
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
    methods: tuple[str, ...] = (PASSWORD,)
    if attempt is not None:
        use_code(session, attempt, code or "")
        methods = (PASSWORD, ONE_TIME_PASSWORD, MULTI_FACTOR)
    renew_authentication(session, principal, methods)
