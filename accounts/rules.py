"""The limits and lifetimes that the acts keep to."""

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator may set, with the defaults of the design.

    Lengths are in code points after NFC normalisation, sizes in bytes, counts per user.
    """

    password_min_length: int = 8
    password_max_bytes: int = 1024
    password_cost: int = 12

    session_lifetime: timedelta = timedelta(days=30)
    one_time_secret_lifetime: timedelta = timedelta(hours=24)
    api_key_lifetime: timedelta = timedelta(days=365)

    max_sessions: int = 50
    max_api_keys: int = 50
    max_pats: int = 50
    max_settings_bytes: int = 16_384

    password_change_ends_other_sessions: bool = False
    signup_open: bool = True
    api_key_brand: str = "ipto"
