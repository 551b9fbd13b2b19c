"""Passwords at rest: bcrypt over a peppered digest, and the same time for whoever is not there."""

import hmac
import re

import bcrypt

from accounts.crypto.keyring import Keyring

__all__ = ["adopt_hash", "hash_password", "needs_rehash", "verify"]

# Scheme 1 is bcrypt(base64(HMAC-SHA-384(pepper, NFC of the OpaqueString in UTF-8))). A cost above
# 19 is half a minute and more, so no record of ours has one, and a forged one cannot ask for it.
_SCHEME = "1"
_RECORD = re.compile(
    r"1\$(?P<key_id>[0-9a-f]{8})\$(?P<hash>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{53})"
)
# Scheme 2 is for bcrypt hashes from elsewhere, until the next login makes the record anew: bcrypt's
# salt as it is, and HMAC-SHA-384(pepper, bcrypt's digest), so that it opens nothing by itself.
_ADOPTED = re.compile(
    r"2\$(?P<key_id>[0-9a-f]{8})\$(?P<salt>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{21}[.Oeu])"
    r"\$(?P<digest>[+/0-9A-Za-z]{64})"
)
#: A hash as other systems have it; `2x` is that of a defect, and no right password's.
_ELSEWHERE = re.compile(
    r"\$2[aby]\$(?P<cost>0[4-9]|1[0-9])\$(?P<salt>[./0-9A-Za-z]{22})(?P<digest>[./0-9A-Za-z]{31})"
)
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: What bcrypt reads of a password; most systems let it pass over the rest in silence.
_BCRYPT_BYTES = 72


def adopt_hash(hashed: str, keys: Keyring) -> tuple[str, int] | None:
    """Make a record of a bcrypt hash from elsewhere, with its cost; None for what is no such hash.

    It was made of the password alone. Whoever made it may have left bits in the last letters that
    bcrypt does not use; they are cleared, as bcrypt gives them.
    """
    parts = _ELSEWHERE.fullmatch(hashed)
    if parts is None:
        return None
    salt = parts["salt"][:-1] + _cleared(parts["salt"][-1], unused_bits=4)
    digest = parts["digest"][:-1] + _cleared(parts["digest"][-1], unused_bits=2)
    bound = _bound(digest, keys, keys.key_id)
    return f"2${keys.key_id}$$2b${parts['cost']}${salt}${bound}", int(parts["cost"])


def hash_password(password: str, keys: Keyring, cost: int) -> str:
    """Make the record of a password that `validate` has accepted: scheme, pepper id, and bcrypt.

    `cost` is bcrypt's: the base-2 logarithm of its rounds, 4 to 19.
    """
    hashed = bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(cost))
    return f"{_SCHEME}${keys.key_id}${hashed.decode()}"


def verify(password: str | None, record: str | None, keys: Keyring, cost: int) -> bool:
    """Tell whether the password, as `normalise` gave it, is the one that the record was made of.

    None is a password that cannot be right, or a user without a record: it is false after as much
    time as a wrong password, which is one bcrypt of the cost. A record that cannot be read is as
    none.
    """
    parts = _parse(record, keys)
    if password is not None and parts is not None:
        try:
            right = _matches(password, parts, keys)
        except ValueError:
            # bcrypt refuses some salts that have the right letters, and has hashed nothing then.
            pass
        else:
            # A record of a lower cost than today's would answer sooner than a user who is not
            # there. 2^n twice is 2^(n+1): with these, all of it is one hash of today's (LG-03).
            for lacking in () if right else range(int(parts["cost"]), cost):
                bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(lacking))
            return right
    # Looks wrong because nobody's password is hashed. Is right because an answer that comes at
    # once says that there is no such account (CVE-2024-39329). Costs one bcrypt.
    bcrypt.hashpw(keys.pepper((password or "").encode()), bcrypt.gensalt(cost))
    return False


def needs_rehash(record: str, keys: Keyring, cost: int) -> bool:
    """Tell whether the record should be made anew: another scheme or pepper, or a lower cost."""
    parts = _parse(record, keys)
    return (
        parts is None
        or parts.re is _ADOPTED
        or parts["key_id"] != keys.key_id
        or int(parts["cost"]) < cost
    )


def _parse(record: str | None, keys: Keyring) -> re.Match[str] | None:
    parts = _RECORD.fullmatch(record or "") or _ADOPTED.fullmatch(record or "")
    return parts if parts and parts["key_id"] in keys.key_ids else None


def _matches(password: str, parts: re.Match[str], keys: Keyring) -> bool:
    if parts.re is _ADOPTED:
        # Looks wrong because a long password is cut. Is right because it was there, when this hash
        # was made. Costs what it cost there, until the login that asks has succeeded once.
        hashed = bcrypt.hashpw(password.encode()[:_BCRYPT_BYTES], parts["salt"].encode()).decode()
        bound = _bound(hashed[len(parts["salt"]) :], keys, parts["key_id"])
        return hmac.compare_digest(bound, parts["digest"])
    return bcrypt.checkpw(keys.pepper(password.encode(), parts["key_id"]), parts["hash"].encode())


def _bound(digest: str, keys: Keyring, key_id: str) -> str:
    # With a NUL, which is in no password, so that the two uses of the pepper never meet.
    return keys.pepper(b"\0" + digest.encode(), key_id).decode()


def _cleared(letter: str, *, unused_bits: int) -> str:
    return _BCRYPT_ALPHABET[_BCRYPT_ALPHABET.index(letter) >> unused_bits << unused_bits]
