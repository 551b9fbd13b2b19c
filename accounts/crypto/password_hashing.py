"""Password hashes: bcrypt or argon2id of a peppered digest, in constant time for unknown users."""

import base64
import hmac
import math
import re
import secrets
import time

import bcrypt
from argon2 import low_level as argon2

from accounts.crypto import password_schemes
from accounts.crypto.keyring import Keyring
from accounts.limits import Limits

# Scheme 1 is bcrypt(base64(HMAC-SHA-384(pepper, NFC of the OpaqueString in UTF-8))). A cost above
# 19 takes half a minute or more: no record of ours has one, and a forged record cannot ask for it.
_BCRYPT = re.compile(
    r"1\$(?P<key_id>[0-9a-f]{8})\$(?P<hash>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{53})"
)
# Scheme 2 is an imported bcrypt hash, until the next login replaces the record: bcrypt's salt as it
# is, and HMAC-SHA-384(pepper, bcrypt's digest), which cannot be used without the pepper.
_IMPORTED = re.compile(
    r"2\$(?P<key_id>[0-9a-f]{8})\$(?P<salt>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{21}[.Oeu])"
    r"\$(?P<digest>[+/0-9A-Za-z]{64})"
)
# Scheme 3 is argon2id (RFC 9106) over the same digest as scheme 1. Its parameters are OWASP's first
# choice; no others are read, so a forged record cannot ask for more memory.
_ARGON2_KIB, _ARGON2_PASSES, _ARGON2_LANES = 19_456, 2, 1
_ARGON2 = re.compile(
    r"3\$(?P<key_id>[0-9a-f]{8})\$(?P<hash>\$argon2id\$v=19"
    rf"\$m={_ARGON2_KIB},t={_ARGON2_PASSES},p={_ARGON2_LANES}"
    r"\$(?P<salt>[+/0-9A-Za-z]{22})\$[+/0-9A-Za-z]{43})"
)
# Scheme 4 is an imported hash of the registry, until the next login replaces the record: scheme,
# parameters and salt as they are, and HMAC-SHA-384(pepper, digest) in place of the digest.
_FOREIGN = re.compile(
    r"4\$(?P<key_id>[0-9a-f]{8})\$(?P<name>[a-z0-9-]{1,20})\$(?P<parameters>[0-9,]{0,40})"
    r"\$(?P<salt>[+/0-9A-Za-z]{1,64}={0,2})\$(?P<digest>[+/0-9A-Za-z]{64})"
)
#: The records of new passwords, by the scheme that the operator has chosen.
_CURRENT = {"bcrypt": _BCRYPT, "argon2id": _ARGON2}
#: As in shadow(5): no password has this record. Its row is kept, to be overwritten by a reset.
NO_PASSWORD = "!"  # noqa: S105 # the sign that there is none
#: A bcrypt hash of another system. `2x` marks the hashes of a defect and is not accepted.
_FOREIGN_HASH = re.compile(
    r"\$2[aby]\$(?P<cost>0[4-9]|1[0-9])\$(?P<salt>[./0-9A-Za-z]{22})(?P<digest>[./0-9A-Za-z]{31})"
)
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_MIN_COST = 4
#: The bytes of a password that bcrypt reads; most systems silently ignore the rest.
_BCRYPT_BYTES = 72


def import_hash(hashed: str, keys: Keyring) -> tuple[str, int] | None:
    """Return a record for an imported hash and its cost; None for an unknown or excessive hash.

    The hash was made of the password alone. The cost is the least one of bcrypt that takes as long.
    Other implementations may set bits in the last letters that bcrypt does not use; they are
    cleared, as bcrypt writes them.
    """
    parts = _FOREIGN_HASH.fullmatch(hashed)
    if parts is None:
        return _import_foreign(hashed, keys)
    salt = parts["salt"][:-1] + _clear_unused_bits(parts["salt"][-1], unused_bits=4)
    digest = parts["digest"][:-1] + _clear_unused_bits(parts["digest"][-1], unused_bits=2)
    bound = _peppered_digest(digest, keys, keys.key_id)
    return f"2${keys.key_id}$$2b${parts['cost']}${salt}${bound}", int(parts["cost"])


def _import_foreign(hashed: str, keys: Keyring) -> tuple[str, int] | None:
    foreign = password_schemes.read_hash(hashed)
    if foreign is None:
        return None
    scheme, parameters, salt, digest = foreign
    bound = _peppered_digest(digest.hex(), keys, keys.key_id)
    numbers = ",".join(map(str, parameters))
    record = f"4${keys.key_id}${scheme.name}${numbers}${base64.b64encode(salt).decode()}${bound}"
    return record, math.ceil(math.log2(max(scheme.rounds(parameters), 1)))


def hash_password(password: str, keys: Keyring, limits: Limits) -> str:
    """Return the record of a validated password: scheme, pepper id and hash with its cost."""
    peppered = keys.pepper(password.encode())
    if _CURRENT[limits.password_scheme] is _ARGON2:
        return f"3${keys.key_id}${_argon2id(peppered, secrets.token_bytes(16))}"
    hashed = bcrypt.hashpw(peppered, bcrypt.gensalt(limits.password_cost))
    return f"1${keys.key_id}${hashed.decode()}"


def verify(password: str | None, record: str | None, keys: Keyring, limits: Limits) -> bool:
    """Return whether a password, normalised by `normalise`, matches the record.

    None stands for a malformed password or a missing record, and an unreadable record counts as
    missing: the result is False after one hash of the current scheme and cost, as for a wrong
    password.
    """
    current = _CURRENT[limits.password_scheme]
    parts = _parse(record, keys)
    if password is not None and parts is not None:
        try:
            if parts.re is _FOREIGN:
                return _verify_foreign(password, parts, keys, limits)
            matches = _matches(password, parts, keys)
        except ValueError:
            # bcrypt rejects some salts of valid characters, before it hashes anything.
            pass
        else:
            # A record of a lower cost would be rejected sooner than an unknown user. 2^n twice is
            # 2^(n+1): with these rounds the whole takes one hash of today's cost (LG-03).
            if not matches and current is _BCRYPT and parts.re is not _ARGON2:
                for missing_cost in range(int(parts["cost"]), limits.password_cost):
                    bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(missing_cost))
            return matches
    # Looks wrong because it hashes for an unknown user. Right because an immediate answer reveals
    # that there is no such account (CVE-2024-39329). Costs one hash.
    hash_password(password or "", keys, limits)
    return False


def needs_rehash(record: str, keys: Keyring, limits: Limits) -> bool:
    """Return whether the record should be replaced: another scheme or pepper, or a lower cost."""
    parts = _parse(record, keys)
    return (
        parts is None
        or parts.re is not _CURRENT[limits.password_scheme]
        or parts["key_id"] != keys.key_id
        or (parts.re is _BCRYPT and int(parts["cost"]) < limits.password_cost)
    )


def _parse(record: str | None, keys: Keyring) -> re.Match[str] | None:
    for pattern in (_BCRYPT, _IMPORTED, _ARGON2, _FOREIGN):
        parts = pattern.fullmatch(record or "")
        if parts and parts["key_id"] in keys.key_ids:
            return parts
    return None


def _matches(password: str, parts: re.Match[str], keys: Keyring) -> bool:
    if parts.re is _IMPORTED:
        # Looks wrong because a long password is cut. Right because the other system cut it when it
        # made this hash. Costs the security of that system, until the next login succeeds.
        hashed = bcrypt.hashpw(password.encode()[:_BCRYPT_BYTES], parts["salt"].encode()).decode()
        bound = _peppered_digest(hashed[len(parts["salt"]) :], keys, parts["key_id"])
        return hmac.compare_digest(bound, parts["digest"])
    peppered = keys.pepper(password.encode(), parts["key_id"])
    if parts.re is _ARGON2:
        # Hashed anew, since argon2's own check rejects some records before it hashes anything.
        salt = base64.b64decode(parts["salt"] + "==")
        return hmac.compare_digest(_argon2id(peppered, salt), parts["hash"])
    return bcrypt.checkpw(peppered, parts["hash"].encode())


def _verify_foreign(password: str, parts: re.Match[str], keys: Keyring, limits: Limits) -> bool:
    parameters = tuple(map(int, filter(None, parts["parameters"].split(","))))
    scheme = password_schemes.find_scheme(parts["name"], parameters)
    if scheme is None:
        raise ValueError("no scheme of ours, or parameters beyond its bounds")
    salt = base64.b64decode(parts["salt"])
    start = scheme.clock()
    digest = scheme.derive(password.encode(), parameters, salt)
    seconds = scheme.clock() - start
    bound = _peppered_digest(digest.hex(), keys, parts["key_id"])
    matches = hmac.compare_digest(bound, parts["digest"])
    if not matches and _CURRENT[limits.password_scheme] is _BCRYPT:
        _spend_rest(seconds, limits.password_cost)
    return matches


def _spend_rest(seconds: float, cost: int) -> None:
    """Hash as long as one hash of the cost takes beyond the seconds that were spent (LG-03).

    An eighth of that hash is timed first: how fast the schemes are compared with each other depends
    on the machine.
    """
    probe_cost = max(cost - 3, _MIN_COST)
    start = time.thread_time()
    bcrypt.hashpw(b"", bcrypt.gensalt(probe_cost))
    round_seconds = (time.thread_time() - start) / 2**probe_cost
    missing = int(2**cost - 2**probe_cost - seconds / round_seconds)
    for each in range(cost - 1, _MIN_COST - 1, -1):
        if missing >= 2**each:
            missing -= 2**each
            bcrypt.hashpw(b"", bcrypt.gensalt(each))


def _argon2id(peppered: bytes, salt: bytes) -> str:
    return argon2.hash_secret(
        peppered,
        salt,
        time_cost=_ARGON2_PASSES,
        memory_cost=_ARGON2_KIB,
        parallelism=_ARGON2_LANES,
        hash_len=32,
        type=argon2.Type.ID,
    ).decode()


def _peppered_digest(digest: str, keys: Keyring, key_id: str) -> str:
    # The NUL, which no password contains, keeps the two uses of the pepper apart.
    return keys.pepper(b"\0" + digest.encode(), key_id).decode()


def _clear_unused_bits(letter: str, *, unused_bits: int) -> str:
    return _BCRYPT_ALPHABET[_BCRYPT_ALPHABET.index(letter) >> unused_bits << unused_bits]
