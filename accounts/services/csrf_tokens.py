"""CSRF tokens: a value that only pages of the same origin can read, and that belongs to a session.

It is derived from the session and not stored (the signed double submit of OWASP's cheat sheet): a
cookie that another site or subdomain has planted is not the token of the session.
"""

import base64
import hmac

from accounts.crypto.keyring import Keyring, Purpose


def csrf_token(keys: Keyring, session_id: str) -> str:
    """Return the CSRF token of a session, 43 characters."""
    return _text(keys.digest(Purpose.CSRF_TOKEN, session_id))


def is_csrf_token(keys: Keyring, session_id: str, token: str) -> bool:
    """Return whether a token is that of the session, under any root secret."""
    digests = keys.digests(Purpose.CSRF_TOKEN, session_id)
    # As bytes, since a text with other characters than ASCII cannot be compared.
    return any(
        [hmac.compare_digest(_text(each).encode(), token.encode()) for each in digests]  # noqa: C419 # compare all
    )


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
