"""The keys that sign JWTs: created, rotated and deleted in a table that all replicas share."""

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

from accounts.crypto.jwts import MAX_LIFETIME, SKEW, KeySet, LoadedKey, thumbprint
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.services.database import AccountSession
from models import SigningKey

#: How long a key is published before it signs. Every replica must have read it before a token
#: arrives that is signed with it, even if their clocks differ.
OVERLAP = timedelta(seconds=60)

_LOCK = "signing keys"
_EXPONENT = 65537  # FIPS 186-5 section A.1.1
_BITS = 2048  # RFC 7518 section 3.3


class NoSigningKey(LookupError):
    """The table has no key that verifies; `ensure_signing_key` creates one."""


def load_key_set(session: AccountSession) -> KeySet:
    """Read the keys that verify now, including those that do not sign yet.

    Raises:
        NoSigningKey: There is no such key.
        SealBroken: A key cannot be unsealed; the message names it.
    """
    rows = session.exec(
        select(SigningKey)
        .where(_is_unretired(session.now))
        .order_by(col(SigningKey.active_from), col(SigningKey.kid))
    ).all()
    if not rows:
        raise NoSigningKey("There is no key to sign and verify tokens with.")
    return KeySet(tuple(_open(session, row) for row in rows))


def ensure_signing_key(session: AccountSession) -> None:
    """Create the first key, which signs at once, unless there is a key that does not retire."""
    if _has_permanent_key(session):
        return
    with session.outside_transaction():
        private_key = _generate()
    # Another process may have created one meanwhile, or be about to.
    session.lock(_LOCK)
    if not _has_permanent_key(session):
        _add(session, private_key, active_from=session.now)


def rotate_signing_key(session: AccountSession) -> SigningKey:
    """Create a key that is published at once and signs after `OVERLAP`; earlier keys retire.

    A retiring key verifies until the last token that it signs has expired, including those that a
    host whose clock is behind signs a little later (JW-08).
    """
    with session.outside_transaction():
        private_key = _generate()
    session.lock(_LOCK)
    active_from = session.now + OVERLAP
    retires_at = active_from + MAX_LIFETIME + SKEW
    # A key that retires already gets no more time. It gets less if a host whose clock was far ahead
    # has rotated it: a stolen key must not outlive this rotation.
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
    """Delete the keys that no longer verify; returns how many."""
    return session.core.execute(
        delete(SigningKey).where(col(SigningKey.retires_at) <= session.now)
    ).rowcount


def _is_unretired(moment: datetime) -> ColumnElement[bool]:
    retires_at = col(SigningKey.retires_at)
    return retires_at.is_(None) | (retires_at > moment)


def _has_permanent_key(session: AccountSession) -> bool:
    permanent = select(SigningKey.kid).where(col(SigningKey.retires_at).is_(None)).limit(1)
    return session.core.execute(permanent).first() is not None


def _generate() -> RSAPrivateKey:
    return rsa.generate_private_key(_EXPONENT, _BITS)


def _add(session: AccountSession, private_key: RSAPrivateKey, active_from: datetime) -> SigningKey:
    kid = thumbprint(private_key.public_key())
    # Not encrypted by itself, since it is sealed and leaves this function in no other way.
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


def _open(session: AccountSession, row: SigningKey) -> LoadedKey:
    try:
        pem = session.keys.open(Purpose.SIGNING_KEY, row.private_sealed, row.kid)
    except SealBroken as error:
        raise SealBroken(f"The signing key {row.kid} cannot be opened. {error}") from error
    # Checking its arithmetic takes 27 ms, and the seal shows that it is unchanged since `_add`.
    private_key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    return LoadedKey(row.kid, cast("RSAPrivateKey", private_key), row.active_from, row.retires_at)
