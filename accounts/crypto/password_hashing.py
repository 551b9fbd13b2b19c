"""Password hashes: bcrypt over a peppered digest, in constant time for unknown users."""

import hmac
import re

import bcrypt

from accounts.crypto.keyring import Keyring

# Scheme 1 is bcrypt(base64(HMAC-SHA-384(pepper, NFC of the OpaqueString in UTF-8))). A cost above
# 19 takes half a minute or more: no record of ours has one, and a forged record cannot ask for it.
_SCHEME = "1"
_RECORD = re.compile(
    r"1\$(?P<key_id>[0-9a-f]{8})\$(?P<hash>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{53})"
)
# Scheme 2 is an imported bcrypt hash, until the next login replaces the record: bcrypt's salt as it
# is, and HMAC-SHA-384(pepper, bcrypt's digest), which cannot be used without the pepper.
_IMPORTED = re.compile(
    r"2\$(?P<key_id>[0-9a-f]{8})\$(?P<salt>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{21}[.Oeu])"
    r"\$(?P<digest>[+/0-9A-Za-z]{64})"
)
#: As in shadow(5): no password has this record. Its row is kept, to be overwritten by a reset.
NO_PASSWORD = "!"  # noqa: S105 # the sign that there is none
#: A bcrypt hash of another system. `2x` marks the hashes of a defect and is not accepted.
_FOREIGN_HASH = re.compile(
    r"\$2[aby]\$(?P<cost>0[4-9]|1[0-9])\$(?P<salt>[./0-9A-Za-z]{22})(?P<digest>[./0-9A-Za-z]{31})"
)
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: The bytes of a password that bcrypt reads; most systems silently ignore the rest.
_BCRYPT_BYTES = 72


def import_hash(hashed: str, keys: Keyring) -> tuple[str, int] | None:
    """Return a record for an imported bcrypt hash and its cost, or None for other hashes.

    The hash was made of the password alone. Other implementations may set bits in the last letters
    that bcrypt does not use; they are cleared, as bcrypt writes them.
    """
    parts = _FOREIGN_HASH.fullmatch(hashed)
    if parts is None:
        return None
    salt = parts["salt"][:-1] + _clear_unused_bits(parts["salt"][-1], unused_bits=4)
    digest = parts["digest"][:-1] + _clear_unused_bits(parts["digest"][-1], unused_bits=2)
    bound = _peppered_digest(digest, keys, keys.key_id)
    return f"2${keys.key_id}$$2b${parts['cost']}${salt}${bound}", int(parts["cost"])


def hash_password(password: str, keys: Keyring, cost: int) -> str:
    """Return the record of a validated password: scheme, pepper id and bcrypt hash.

    `cost` is bcrypt's: the base-2 logarithm of its rounds, 4 to 19.
    """
    hashed = bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(cost))
    return f"{_SCHEME}${keys.key_id}${hashed.decode()}"


def verify(password: str | None, record: str | None, keys: Keyring, cost: int) -> bool:
    """Return whether a password, normalised by `normalise`, matches the record.

    None stands for a malformed password or a missing record, and an unreadable record counts as
    missing: the result is False after one bcrypt of the cost, as for a wrong password.
    """
    parts = _parse(record, keys)
    if password is not None and parts is not None:
        try:
            matches = _matches(password, parts, keys)
        except ValueError:
            # bcrypt rejects some salts of valid characters, before it hashes anything.
            pass
        else:
            # A record of a lower cost would be rejected sooner than an unknown user. 2^n twice is
            # 2^(n+1): with these rounds the whole takes one hash of today's cost (LG-03).
            for missing_cost in () if matches else range(int(parts["cost"]), cost):
                bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(missing_cost))
            return matches
    # Looks wrong because it hashes for an unknown user. Right because an immediate answer reveals
    # that there is no such account (CVE-2024-39329). Costs one bcrypt.
    bcrypt.hashpw(keys.pepper((password or "").encode()), bcrypt.gensalt(cost))
    return False


def needs_rehash(record: str, keys: Keyring, cost: int) -> bool:
    """Return whether the record should be replaced: another scheme or pepper, or a lower cost."""
    parts = _parse(record, keys)
    return (
        parts is None
        or parts.re is _IMPORTED
        or parts["key_id"] != keys.key_id
        or int(parts["cost"]) < cost
    )


def _parse(record: str | None, keys: Keyring) -> re.Match[str] | None:
    parts = _RECORD.fullmatch(record or "") or _IMPORTED.fullmatch(record or "")
    return parts if parts and parts["key_id"] in keys.key_ids else None


def _matches(password: str, parts: re.Match[str], keys: Keyring) -> bool:
    if parts.re is _IMPORTED:
        # Looks wrong because a long password is cut. Right because the other system cut it when it
        # made this hash. Costs the security of that system, until the next login succeeds.
        hashed = bcrypt.hashpw(password.encode()[:_BCRYPT_BYTES], parts["salt"].encode()).decode()
        bound = _peppered_digest(hashed[len(parts["salt"]) :], keys, parts["key_id"])
        return hmac.compare_digest(bound, parts["digest"])
    return bcrypt.checkpw(keys.pepper(password.encode(), parts["key_id"]), parts["hash"].encode())


def _peppered_digest(digest: str, keys: Keyring, key_id: str) -> str:
    # The NUL, which no password contains, keeps the two uses of the pepper apart.
    return keys.pepper(b"\0" + digest.encode(), key_id).decode()


def _clear_unused_bits(letter: str, *, unused_bits: int) -> str:
    return _BCRYPT_ALPHABET[_BCRYPT_ALPHABET.index(letter) >> unused_bits << unused_bits]
