"""PBKDF2 with SHA-1, SHA-256 and SHA-512 (RFC 8018 section 5.2).

Django writes `pbkdf2_sha256$iterations$salt$hash`, whose salt is text; passlib
`$pbkdf2-sha256$iterations$salt$hash`, and the PHC string format `$pbkdf2-sha256$i=…,l=…$salt$hash`,
whose salts are base64; OpenLDAP `{PBKDF2-SHA256}iterations$salt$hash`.
"""

import hashlib
import re
from functools import partial

from accounts.crypto.password_schemes.scheme import (
    MAX_DIGEST_BYTES,
    MIN_DIGEST_BYTES,
    ForeignHash,
    Parameters,
    Scheme,
    decode,
)

#: Iterations that take as long as one round of bcrypt, measured with OpenSSL 3.
_ITERATIONS_PER_ROUND = {"sha1": 140, "sha256": 130, "sha512": 100}
_MAX_ITERATIONS = 10_000_000

_DJANGO = re.compile(r"pbkdf2_(?P<name>sha1|sha256|sha512)\$(?P<i>\d{1,8})\$(?P<salt>[^$]+)\$(.+)")
_PHC = re.compile(
    r"\$pbkdf2(?:-(?P<name>sha1|sha256|sha512))?\$(?:i=)?(?P<i>\d{1,8})(?:,l=\d{1,3})?"
    r"\$(?P<salt>[^$]+)\$([^$]+)"
)
_OPENLDAP = re.compile(
    r"\{PBKDF2(?:-(?P<name>SHA1|SHA256|SHA512))?\}(?P<i>\d{1,8})\$(?P<salt>[^$]+)\$([^$]+)"
)


def _derive(name: str, password: bytes, parameters: Parameters, salt: bytes) -> bytes:
    iterations, length = parameters
    return hashlib.pbkdf2_hmac(name, password, salt, iterations, length)


def _rounds(name: str, parameters: Parameters) -> float:
    iterations, length = parameters
    blocks = -(-length // hashlib.new(name, usedforsecurity=False).digest_size)
    return iterations * blocks / _ITERATIONS_PER_ROUND[name]


_SCHEMES = {
    name: Scheme(
        f"pbkdf2-{name}",
        partial(_derive, name),
        partial(_rounds, name),
        ((1, _MAX_ITERATIONS), (MIN_DIGEST_BYTES, MAX_DIGEST_BYTES)),
    )
    for name in _ITERATIONS_PER_ROUND
}
SCHEMES = tuple(_SCHEMES.values())


def read(hashed: str) -> ForeignHash | None:
    """Return the parts of a PBKDF2 hash, or None for another one.

    Raises:
        ValueError: It is malformed.
    """
    for pattern in (_DJANGO, _PHC, _OPENLDAP):
        parts = pattern.fullmatch(hashed)
        if parts is not None:
            salt = parts["salt"].encode() if pattern is _DJANGO else decode(parts["salt"])
            digest = decode(parts[4])
            scheme = _SCHEMES[(parts["name"] or "sha1").lower()]
            return ForeignHash(scheme, (int(parts["i"]), len(digest)), salt, digest)
    return None
