"""Keeping passwords: bcrypt over a keyed hash of them."""

import re
import secrets
from functools import cache

import bcrypt

from accounts.keyring import Keyring

__all__ = ["hash_password", "outdated", "verify"]

_SCHEME = "1"
_RECORD = re.compile(
    _SCHEME + r"\$(?P<pepper>[0-9a-f]{8})\$(?P<hashed>\$2b\$[0-9]{2}\$[./A-Za-z0-9]{53})"
)


def hash_password(password: str, keys: Keyring, cost: int) -> str:
    """The record of a normalised password: scheme, id of the pepper, bcrypt of that cost."""
    hashed = bcrypt.hashpw(keys.pepper(password.encode()), bcrypt.gensalt(cost)).decode()
    return f"{_SCHEME}${keys.key_id}${hashed}"


def verify(password: str | None, record: str | None, keys: Keyring, cost: int) -> bool:
    """Whether a password is the record's. Exactly one bcrypt is computed, whatever is missing.

    Without a record, or with one that cannot be read (PW-16), it is computed over a hash of the
    present cost that matches nothing, so that the time tells nothing (LG-02).
    """
    given = keys.pepper((password or "").encode())
    hashed = _bcrypt_of(record, keys)
    if hashed is not None and password is not None:
        try:
            return bcrypt.checkpw(given, hashed)
        except ValueError:
            pass  # it has the form of a hash and is none: at no cost, so the one below is due
    bcrypt.checkpw(given, _nobodys(cost))
    return False


def outdated(record: str, keys: Keyring, cost: int) -> bool:
    """Whether a record was made with another scheme, pepper or cost than one made now."""
    hashed = _bcrypt_of(record, keys)
    return hashed is None or int(hashed[4:6]) != cost


def _bcrypt_of(record: str | None, keys: Keyring) -> bytes | None:
    """The bcrypt in a record of our scheme and pepper, if it looks like one."""
    matched = _RECORD.fullmatch(record or "")
    return matched["hashed"].encode() if matched and matched["pepper"] == keys.key_id else None


@cache
def _nobodys(cost: int) -> bytes:
    return bcrypt.hashpw(secrets.token_bytes(32), bcrypt.gensalt(cost))
