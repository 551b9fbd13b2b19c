"""scrypt (RFC 7914) and argon2 (RFC 9106), which take memory.

Django writes `scrypt$N$salt$r$p$hash`, whose salt is text, and `argon2$argon2id$…`; passlib and the
PHC string format write `$scrypt$ln=…,r=…,p=…$salt$hash` and `$argon2id$v=19$m=…,t=…,p=…$salt$hash`,
which OpenLDAP prefixes with `{ARGON2}`.
"""

import hashlib
import re
import time
from functools import partial

from argon2 import low_level as argon2
from argon2.exceptions import HashingError

from accounts.crypto.password_schemes.scheme import (
    MAX_DIGEST_BYTES,
    MIN_DIGEST_BYTES,
    ForeignHash,
    Parameters,
    Scheme,
    decode,
)

#: Blocks of scrypt, and KiB of argon2 in one pass, that take as long as one round of bcrypt.
_SCRYPT_PER_ROUND, _ARGON2_PER_ROUND = 150, 70
_DIGEST_BOUNDS = (MIN_DIGEST_BYTES, MAX_DIGEST_BYTES)
_MIN_ARGON2_SALT = 8

_DJANGO_SCRYPT = re.compile(
    r"scrypt\$(?P<n>\d{1,8})\$(?P<salt>[^$]+)\$(?P<r>\d{1,3})\$(?P<p>\d{1,3})\$(?P<hash>[^$]+)"
)
_PHC_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,3}),p=(?P<p>\d{1,3})"
    r"\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)"
)
_ARGON2 = re.compile(
    r"(?:argon2|\{ARGON2\})?\$argon2(?P<kind>id?)\$v=19\$m=(?P<m>\d{1,8}),t=(?P<t>\d{1,3}),"
    r"p=(?P<p>\d{1,3})\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)"
)


def scrypt(password: bytes, log_n: int, r: int, p: int, *, salt: bytes, length: int) -> bytes:
    """Return scrypt's digest of a password."""
    memory = 2 * 128 * r * (2**log_n + p)  # twice what it takes, since OpenSSL counts more
    return hashlib.scrypt(password, salt=salt, n=2**log_n, r=r, p=p, maxmem=memory, dklen=length)


def scrypt_rounds(log_n: int, r: int, p: int) -> float:
    """Estimate the work of scrypt in rounds of bcrypt."""
    return float(2**log_n * r * p / _SCRYPT_PER_ROUND)


def scrypt_kib(log_n: int, r: int) -> int:
    """Return the memory that scrypt takes."""
    return int(2**log_n * r // 8)


def _derive_scrypt(password: bytes, parameters: Parameters, salt: bytes) -> bytes:
    log_n, r, p, length = parameters
    return scrypt(password, log_n, r, p, salt=salt, length=length)


def _derive_argon2(
    kind: argon2.Type, password: bytes, parameters: Parameters, salt: bytes
) -> bytes:
    kib, passes, lanes, length = parameters
    try:
        return argon2.hash_secret_raw(
            password,
            salt,
            time_cost=passes,
            memory_cost=kib,
            parallelism=lanes,
            hash_len=length,
            type=kind,
        )
    except HashingError as error:
        raise ValueError(str(error)) from error


_SCRYPT = Scheme(
    "scrypt",
    _derive_scrypt,
    lambda parameters: scrypt_rounds(*parameters[:3]),
    ((1, 20), (1, 64), (1, 32), _DIGEST_BOUNDS),
    kib=lambda parameters: scrypt_kib(*parameters[:2]),
)
_ARGON2_SCHEMES = {
    letters: Scheme(
        f"argon2{letters}",
        partial(_derive_argon2, kind),
        lambda parameters: parameters[0] * parameters[1] / _ARGON2_PER_ROUND,
        ((8, 1_048_576), (1, 64), (1, 16), _DIGEST_BOUNDS),
        kib=lambda parameters: parameters[0],
        clock=time.perf_counter,
    )
    for letters, kind in (("i", argon2.Type.I), ("id", argon2.Type.ID))
}
SCHEMES = (_SCRYPT, *_ARGON2_SCHEMES.values())


def read(hashed: str) -> ForeignHash | None:
    """Return the parts of a scrypt or argon2 hash, or None for another one.

    Raises:
        ValueError: It is malformed.
    """
    if parts := _ARGON2.fullmatch(hashed):
        digest, salt = decode(parts["hash"]), decode(parts["salt"])
        if len(salt) < _MIN_ARGON2_SALT:
            raise ValueError("argon2 takes a salt of at least 8 bytes")
        costs = (int(parts["m"]), int(parts["t"]), int(parts["p"]), len(digest))
        return ForeignHash(_ARGON2_SCHEMES[parts["kind"]], costs, salt, digest)
    if parts := _DJANGO_SCRYPT.fullmatch(hashed):
        n = int(parts["n"])
        log_n, salt = n.bit_length() - 1, parts["salt"].encode()
        if n != 1 << max(log_n, 1):
            raise ValueError("scrypt's cost is a power of two")
    elif parts := _PHC_SCRYPT.fullmatch(hashed):
        log_n, salt = int(parts["ln"]), decode(parts["salt"])
    else:
        return None
    digest = decode(parts["hash"])
    return ForeignHash(
        _SCRYPT, (log_n, int(parts["r"]), int(parts["p"]), len(digest)), salt, digest
    )
