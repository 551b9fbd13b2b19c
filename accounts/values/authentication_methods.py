"""The methods by which a person authenticates, and the levels that they add up to."""

from enum import StrEnum
from functools import lru_cache

#: Names of RFC 8176 section 2. `MULTI_FACTOR` stands beside the methods that were combined.
PASSWORD = "pwd"  # noqa: S105 # the name of a method
ONE_TIME_PASSWORD = "otp"  # noqa: S105 # as above
MULTI_FACTOR = "mfa"


class AuthenticationLevel(StrEnum):
    """The assurance of an authentication, as in `acr` of a JWT and `context.level` of policies.

    The names are those of the levels of NIST SP 800-63B that ask for as many factors.
    """

    NONE = "none"
    ONE_FACTOR = "aal1"
    TWO_FACTORS = "aal2"


@lru_cache
def level_of(amr: tuple[str, ...]) -> AuthenticationLevel:
    """Return the level of an authentication by these methods."""
    if MULTI_FACTOR in amr:
        return AuthenticationLevel.TWO_FACTORS
    return AuthenticationLevel.ONE_FACTOR
