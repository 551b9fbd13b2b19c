"""Recent authentication, which some operations demand (RFC 9470)."""

from datetime import datetime, timedelta

from accounts.errors import RecentAuthenticationRequired
from accounts.services.principal import Principal
from accounts.values.authentication_methods import AuthenticationLevel, level_of


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
