"""One SHA-1 or SHA-2 of password and salt, as LDAP servers store it: `{SSHA512}base64`.

Source: RFC 2307 section 5.3 and its extension in OpenLDAP and 389 Directory Server.
"""

import hashlib
import re
from functools import partial

from accounts.crypto.password_schemes.scheme import ForeignHash, Parameters, Scheme, decode

_NAMES = {"": "sha1", "256": "sha256", "384": "sha384", "512": "sha512"}
_LDAP = re.compile(r"\{SSHA(?P<bits>256|384|512|)\}(?P<rest>.+)", re.IGNORECASE)


def _derive(name: str, password: bytes, _: Parameters, salt: bytes) -> bytes:
    return hashlib.new(name, password + salt, usedforsecurity=False).digest()


_SCHEMES = {
    bits: Scheme(f"ssha{bits}", partial(_derive, name), lambda _: 0.0, ())
    for bits, name in _NAMES.items()
}
SCHEMES = tuple(_SCHEMES.values())


def read(hashed: str) -> ForeignHash | None:
    """Return the parts of a salted hash of LDAP, or None for another one.

    Raises:
        ValueError: It is malformed.
    """
    parts = _LDAP.fullmatch(hashed)
    if parts is None:
        return None
    content = decode(parts["rest"])
    size = hashlib.new(_NAMES[parts["bits"]], usedforsecurity=False).digest_size
    if len(content) < size:
        raise ValueError("shorter than its digest")
    return ForeignHash(_SCHEMES[parts["bits"]], (), content[size:], content[:size])
