"""The keys that sign JWTs: made, replaced and forgotten in a table that all replicas share."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import ColumnElement, delete, update
from sqlmodel import col, select

from accounts.crypto.jwts import LONGEST_LIFETIME, SKEW, HeldKey, KeySet, thumbprint
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.services.database import AccountSession
from models import SigningKey

__all__ = [
    "OVERLAP",
    "NoSigningKey",
    "delete_retired_keys",
    "ensure_signing_key",
    "has_active_key",
    "list_signing_keys",
    "load_key_set",
    "rotate_signing_key",
]

#: How long a key is published before it signs: long enough for every replica to have read it, and
#: for their clocks to differ, before one meets a token that is signed with it.
OVERLAP = timedelta(seconds=60)

_NAME = "signing keys"
_EXPONENT = 65537  # FIPS 186-5 section A.1.1
_BITS = 2048  # RFC 7518 section 3.3


class NoSigningKey(LookupError):
    """The table has no key that verifies; `ensure_signing_key` makes one."""

    def __init__(self) -> None:
        super().__init__("There is no key to sign and verify tokens with.")


def load_key_set(session: AccountSession) -> KeySet:
    """Read the keys that verify now, those among them that do not sign yet.

    Raises:
        NoSigningKey: There is none.
        SealBroken: One cannot be opened; the message names it.
    """
    rows = session.exec(
        select(SigningKey)
        .where(_is_unretired(session.now))
        .order_by(col(SigningKey.active_from), col(SigningKey.kid))
    ).all()
    if not rows:
        raise NoSigningKey
    return KeySet.of([_open(session, row) for row in rows], session.now)


def ensure_signing_key(session: AccountSession) -> None:
    """Make the first key, which signs at once, unless there is one that nothing replaces."""
    if _has_lasting_key(session):
        return
    with session.outside_transaction():
        private_key = _generate()
    # Another process may have made one in the meantime, or be about to.
    session.lock(_NAME)
    if not _has_lasting_key(session):
        _add(session, private_key, active_from=session.now)


def rotate_signing_key(session: AccountSession) -> SigningKey:
    """Make a key that is published at once and signs after `OVERLAP`; the former ones retire.

    They verify for as long as what they have signed until then, and what a host whose clock is
    behind signs a little later (JW-08).
    """
    with session.outside_transaction():
        private_key = _generate()
    session.lock(_NAME)
    active_from = session.now + OVERLAP
    retires_at = active_from + LONGEST_LIFETIME + SKEW
    # One that retires already is not given more time. It is given less if a host whose clock was
    # far ahead has replaced it: a key that somebody has stolen must not outlive this.
    session.core.execute(
        update(SigningKey).where(_is_unretired(retires_at)).values(retires_at=retires_at)
    )
    return _add(session, private_key, active_from=active_from)


def list_signing_keys(session: AccountSession) -> Sequence[SigningKey]:
    """List the stored signing keys, in the order in which they began or begin to sign."""
    return session.exec(select(SigningKey).order_by(col(SigningKey.active_from))).all()


def has_active_key(session: AccountSession) -> bool:
    """Return whether a key signs now."""
    active = select(SigningKey.kid).where(
        col(SigningKey.active_from) <= session.now, _is_unretired(session.now)
    )
    return session.core.execute(active).first() is not None


def delete_retired_keys(session: AccountSession) -> int:
    """Delete the keys that verify no longer, and tell how many they were."""
    return session.core.execute(
        delete(SigningKey).where(col(SigningKey.retires_at) <= session.now)
    ).rowcount


def _is_unretired(moment: datetime) -> ColumnElement[bool]:
    retires_at = col(SigningKey.retires_at)
    return retires_at.is_(None) | (retires_at > moment)


def _has_lasting_key(session: AccountSession) -> bool:
    lasting = select(SigningKey.kid).where(col(SigningKey.retires_at).is_(None)).limit(1)
    return session.core.execute(lasting).first() is not None


def _generate() -> RSAPrivateKey:
    return rsa.generate_private_key(_EXPONENT, _BITS)


def _add(session: AccountSession, private_key: RSAPrivateKey, active_from: datetime) -> SigningKey:
    kid = thumbprint(private_key.public_key())
    # Not encrypted in itself, since it is sealed, and leaves this function in no other way.
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    row = SigningKey(
        kid=kid,
        private_sealed=session.keys.seal(Purpose.SIGNING_KEY, pem, kid),
        key_id=session.keys.key_id,
        created_at=session.now,
        active_from=active_from,
    )
    session.add(row)
    session.flush()
    return row


def _open(session: AccountSession, row: SigningKey) -> HeldKey:
    try:
        pem = session.keys.open(Purpose.SIGNING_KEY, row.private_sealed, row.kid)
    except SealBroken as broken:
        raise SealBroken(f"The signing key {row.kid} cannot be opened. {broken}") from broken
    # Its arithmetic is not checked, which takes 27 ms: the seal shows that it is as `_add` left it.
    private_key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    return HeldKey(row.kid, cast("RSAPrivateKey", private_key), row.active_from, row.retires_at)
