"""Registry of the schemes of imported password hashes, except plain bcrypt.

A record of them is verified once and then replaced by one of ours (`password_hashing`).
"""

from accounts.crypto.password_schemes import firebase, memory_hard, pbkdf2, salted_sha
from accounts.crypto.password_schemes.scheme import (
    MAX_DIGEST_BYTES,
    MAX_SALT_BYTES,
    MIN_DIGEST_BYTES,
    ForeignHash,
    Parameters,
    Scheme,
)

_FAMILIES = (pbkdf2, memory_hard, firebase, salted_sha)
#: Every scheme by its name in records.
SCHEMES = {scheme.name: scheme for family in _FAMILIES for scheme in family.SCHEMES}
#: The most memory that one hash may take: parallel logins take it once each.
MAX_KIB = 131_072
#: The most work that one hash may take: bcrypt's at the highest cost that a deployment can set.
_MAX_ROUNDS = 2**16
#: The longest text that is parsed; the longest of a known system has 250 characters.
_MAX_LENGTH = 600


def read_hash(hashed: str) -> ForeignHash | None:
    """Return the parts of a hash of another system; None if it is malformed or unknown.

    So are parameters that take more than a worker can afford (PW-14).
    """
    if len(hashed) > _MAX_LENGTH:
        return None
    try:
        for family in _FAMILIES:
            if (foreign := family.read(hashed)) is not None:
                return foreign if _is_acceptable(foreign) else None
    except ValueError:
        pass
    return None


def find_scheme(name: str, parameters: Parameters) -> Scheme | None:
    """Return the scheme of a record, or None if it is unknown or its parameters are excessive."""
    scheme = SCHEMES.get(name)
    return scheme if scheme is not None and _are_bounded(scheme, parameters) else None


def _is_acceptable(foreign: ForeignHash) -> bool:
    return (
        0 < len(foreign.salt) <= MAX_SALT_BYTES
        and MIN_DIGEST_BYTES <= len(foreign.digest) <= MAX_DIGEST_BYTES
        and _are_bounded(foreign.scheme, foreign.parameters)
    )


def _are_bounded(scheme: Scheme, parameters: Parameters) -> bool:
    return (
        len(parameters) == len(scheme.bounds)
        and all(
            low <= value <= high
            for value, (low, high) in zip(parameters, scheme.bounds, strict=True)
        )
        and scheme.kib(parameters) <= MAX_KIB
        and scheme.rounds(parameters) <= _MAX_ROUNDS
    )
