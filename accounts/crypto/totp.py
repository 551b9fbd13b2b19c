"""Time-based one-time passwords (RFC 6238), by pyotp: SHA-1, six digits, thirty seconds.

Those are the values that every authenticator app supports; many ignore any others in the URI.
"""

import hmac
from datetime import datetime

import pyotp

DIGITS = 6
SECONDS = 30
#: Steps before and after the present one whose codes are accepted (RFC 6238 section 5.2).
_SKEW = 1


def make_secret() -> str:
    """Return a new secret of 160 bits (RFC 4226 section 4), in base 32."""
    return pyotp.random_base32(32)


def otpauth_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the URI that an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=SECONDS).provisioning_uri(
        name=account, issuer_name=issuer
    )


def find_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step whose code this is: the present one, or the one before or after it."""
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=SECONDS)
    present = int(now.timestamp()) // SECONDS
    # All are compared, so that the time does not tell which one it is.
    matching = [
        step
        for step in range(present - _SKEW, present + _SKEW + 1)
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
    ]
    return max(matching, default=None)
