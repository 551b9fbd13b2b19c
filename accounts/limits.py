"""Limits and lifetimes that the acts enforce."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, NamedTuple

#: The ways to hash a password.
PasswordScheme = Literal["bcrypt", "argon2id"]


class RateLimit(NamedTuple):
    """A rate limit: a burst of `attempts`, refilled evenly over `seconds`."""

    attempts: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that an operator can set, with their defaults.

    `password_classes` are the kinds of characters that a password needs. `leaked_passwords` are in
    lower case, and `password_cost` is bcrypt's: the base-2 logarithm of
    its rounds, 4 to 19. Lengths are in code points after NFC normalisation, sizes in bytes, counts
    per user.
    """

    password_min_length: int = 8
    password_max_bytes: int = 1024
    password_classes: bool = True
    password_scheme: PasswordScheme = "bcrypt"  # noqa: S105 # the name of a scheme
    password_cost: int = 12
    leaked_passwords: frozenset[str] = frozenset()

    session_lifetime: timedelta = timedelta(days=30)
    session_idle_timeout: timedelta | None = None
    one_time_secret_lifetime: timedelta = timedelta(hours=24)
    reset_lifetime: timedelta = timedelta(hours=1)
    undo_lifetime: timedelta = timedelta(days=7)
    api_key_lifetime: timedelta = timedelta(days=365)
    jwt_lifetime: timedelta = timedelta(minutes=10)
    known_source_lifetime: timedelta = timedelta(days=30)
    retention: timedelta = timedelta(days=30)
    deletion_grace: timedelta = timedelta(days=14)

    max_sessions: int = 50
    max_api_keys: int = 50
    max_pats: int = 50
    max_refresh_families: int = 50
    max_settings_bytes: int = 16_384

    account_and_source_budget: RateLimit = field(default=RateLimit(5, 300))
    account_budget: RateLimit = field(default=RateLimit(50, 3600))
    # A code has six digits, and three are right at a time: 0.2 % in a month at this rate.
    second_factor_budget: RateLimit = field(default=RateLimit(20, 86_400))
    source_budget: RateLimit = field(default=RateLimit(100, 600))
    signup_budget: RateLimit = field(default=RateLimit(20, 3600))
    mail_budget: RateLimit = field(default=RateLimit(5, 3600))
    write_budget: RateLimit = field(default=RateLimit(600, 600))
    idempotency_budget: RateLimit = field(default=RateLimit(1000, 86_400))
    repeated_link_budget: RateLimit = field(default=RateLimit(5, 86_400))

    service_mails_email_changes: bool = False
    password_change_ends_other_sessions: bool = False
    signup_open: bool = True
    api_key_brand: str = "ipto"
    issuer: str = "http://localhost:8080"
    product_name: str = "localhost"
