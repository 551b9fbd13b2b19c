"""Settings of accounts: credentials, passwords and rate limits."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from accounts.limits import Limits, PasswordScheme
from oneself.settings_parsers import (
    RATE_LIMIT,
    parse_rate_limit,
    read_passwords,
    require_passwords,
    resolve_in_checkout,
)

_RateLimitText = Annotated[str, Field(pattern=RATE_LIMIT)]


class AccountSettings(BaseSettings):
    """The part of the settings that the acts depend on."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    signup: Literal["open", "closed"] = "open"
    """`open` lets anyone create an account; `closed` rejects signup."""
    email_change: Literal["client", "service"] = "client"
    """Delivery of the secret that confirms a new email address. `client` returns it to the API
    client, which mails it; the service then asks the new address by a mail of its own, and users
    log in with the former one until that is answered. With `service` the service mails the secret,
    and using it also verifies the address.
    """
    recent_authentication: Literal["second-factor", "always"] = "second-factor"
    """Accounts that must authenticate again for sensitive acts: with a second factor, or all."""
    session_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Lifetime of a session."""
    session_idle_minutes: Annotated[int | None, Field(ge=5, le=525_600)] = None
    """Time without use after which a session ends, two minutes late at most. Unset: sessions end by
    age only.
    """
    api_key_days: Annotated[int, Field(ge=1, le=3660)] = 365
    """Maximum lifetime of an API key."""
    api_key_brand: Annotated[str, Field(pattern="^[a-z][a-z0-9]{1,15}$")] = "ipto"
    """First word of each API key: 2 to 16 lower-case letters and digits, with a letter first."""
    policy_dir: Annotated[Path, AfterValidator(resolve_in_checkout)] = Field(
        default=Path("policies"), validate_default=True
    )
    """Folder of the Cedar policies, `*.cedar`. A relative path is relative to the checkout."""
    deletion_days: Annotated[int, Field(ge=0, le=90)] = 14
    """Time in which a deleted account can be restored, before everything in it is erased."""
    retention_days: Annotated[int, Field(ge=7, le=3660)] = 30
    """Time to keep expired and revoked records before they are deleted."""

    password_min_length: Annotated[int, Field(ge=8, le=64)] = 8
    """Minimum length of a new password, in characters."""
    password_classes: bool = True
    """Require an upper-case letter, a lower-case letter and a digit in a new password. NIST
    SP 800-63B advises `false`; Hantera documents them, so keep `true` if you serve its clients.
    """
    password_blocklist: Annotated[Path | None, AfterValidator(require_passwords)] = None
    """UTF-8 text file of leaked passwords, one per line, which are rejected as new passwords."""
    password_change_ends: Literal["none", "others"] = "none"  # noqa: S105 # a choice
    """Sessions that a password change ends: `none`, or all `others` of the user."""
    password_scheme: PasswordScheme = "bcrypt"  # noqa: S105 # a choice
    """Password hash: `bcrypt`, or `argon2id` for new deployments, which takes 19 MiB of memory for
    each hash in progress. A login replaces the hash of another scheme.
    """
    password_cost: Annotated[int, Field(ge=10, le=16)] = 12
    """bcrypt cost factor; each step doubles the time of a hash."""

    throttle_account_source: _RateLimitText = "5/300"
    """Failed attempts per account and client address."""
    throttle_account: _RateLimitText = "50/3600"
    """Failed attempts per account across all unfamiliar client addresses."""
    throttle_source: _RateLimitText = "100/600"
    """Failed attempts per client address across all accounts."""
    throttle_signup: _RateLimitText = "20/3600"
    """Accounts created per client address."""
    throttle_mail: _RateLimitText = "5/3600"
    """Requested email changes per new address, and notifications of each kind per user."""
    throttle_write: _RateLimitText = "600/600"
    """Writes per account, separately for its sessions, its tokens, its logins and its OAuth
    clients. Revoking a credential and logging out do not count.
    """

    def limits_of(self, *, issuer: str, product_name: str) -> Limits:
        """Return the limits that these settings give the acts.

        `issuer` is that of JWTs, and `product_name` what authenticator apps show.
        """
        ended_sessions = self.password_change_ends
        idle_minutes = self.session_idle_minutes
        return Limits(
            password_min_length=self.password_min_length,
            password_classes=self.password_classes,
            password_scheme=self.password_scheme,
            password_cost=self.password_cost,
            leaked_passwords=read_passwords(self.password_blocklist),
            password_change_ends_other_sessions=ended_sessions == "others",
            service_mails_email_changes=self.email_change == "service",
            session_lifetime=timedelta(days=self.session_days),
            session_idle_timeout=timedelta(minutes=idle_minutes) if idle_minutes else None,
            api_key_lifetime=timedelta(days=self.api_key_days),
            deletion_grace=timedelta(days=self.deletion_days),
            retention=timedelta(days=self.retention_days),
            api_key_brand=self.api_key_brand,
            account_and_source_budget=parse_rate_limit(self.throttle_account_source),
            account_budget=parse_rate_limit(self.throttle_account),
            source_budget=parse_rate_limit(self.throttle_source),
            signup_budget=parse_rate_limit(self.throttle_signup),
            mail_budget=parse_rate_limit(self.throttle_mail),
            write_budget=parse_rate_limit(self.throttle_write),
            issuer=issuer,
            product_name=product_name,
            signup_open=self.signup == "open",
        )
