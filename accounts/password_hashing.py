"""Passwords at rest: bcrypt over a peppered digest, and the same time for whoever is not there."""

import re

import bcrypt

from accounts.keyring import Keyring

__all__ = ["hash_password", "outdated", "verify"]

# Scheme 1 is bcrypt(base64(HMAC-SHA-384(pepper, NFC of the OpaqueString in UTF-8))). A cost above
# 19 is half a minute and more, so no record of ours has one, and a forged one cannot ask for it.
_SCHEME = "1"
_RECORD = re.compile(
    r"1\$(?P<key_id>[0-9a-f]{8})\$(?P<hash>\$2b\$(?P<cost>0[4-9]|1[0-9])\$[./0-9A-Za-z]{53})"
)


def hash_password(password: str, keys: Keyring, cost: int) -> str:
    """Make the record of a password that `judge` has accepted: scheme, pepper id, and bcrypt.

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
            right = bcrypt.checkpw(
                keys.pepper(password.encode(), parts["key_id"]), parts["hash"].encode()
            )
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


def outdated(record: str, keys: Keyring, cost: int) -> bool:
    """Tell whether the record should be made anew: another scheme or pepper, or a lower cost."""
    parts = _parse(record, keys)
    return parts is None or parts["key_id"] != keys.key_id or int(parts["cost"]) < cost


def _parse(record: str | None, keys: Keyring) -> re.Match[str] | None:
    parts = _RECORD.fullmatch(record or "")
    return parts if parts and parts["key_id"] in keys.key_ids else None
