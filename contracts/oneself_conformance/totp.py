"""Codes of an authenticator app (RFC 6238): SHA-1, six digits, thirty seconds.

A few lines, so that the conformance tests need no library for them.
"""

import base64
import hmac
import struct
import time

_SECONDS, _DIGITS = 30, 6


def totp_code(secret: str, *, steps: int = 0) -> str:
    """Return the present code of a secret in base 32, or the one some steps later.

    Raises:
        ValueError: The secret is not in base 32.
    """
    counter = struct.pack(">Q", int(time.time()) // _SECONDS + steps)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15  # RFC 4226 section 5.3
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return str(number % 10**_DIGITS).zfill(_DIGITS)
