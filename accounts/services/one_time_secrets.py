"""One-time secrets, each for one purpose, one user and one address."""

from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, or_, update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import (
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    TooManyAttempts,
)
from accounts.limits import Limits
from accounts.services.database import AccountSession, lock_account
from accounts.services.principal import PublicCredential
from accounts.services.throttling import consume_repeated_link
from accounts.services.user_views import find_user_view
from accounts.values.email_address import Address
from accounts.values.identifiers import new_id
from models import OneTimeSecret, User

#: How long a mailed link is neither replaced nor mailed again.
_LINK_INTERVAL = timedelta(minutes=10)


class SecretPurpose(StrEnum):
    """Purposes of secrets; a secret is never valid for another purpose (EM-08)."""

    ACCOUNT_RESTORATION = "account_restoration"
    EMAIL_CHANGE = "email_change"
    EMAIL_UNDO = "email_undo"
    EMAIL_VERIFICATION = "email_verification"
    PASSWORD_RESET = "password_reset"  # noqa: S105 # the name of a purpose


def is_pending() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a secret is neither used nor superseded, expired or not."""
    return col(OneTimeSecret.used_at).is_(None), col(OneTimeSecret.superseded_at).is_(None)


def is_redeemable(now: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a secret can be redeemed now.

    `now` is a time or a bind parameter.
    """
    return (*is_pending(), col(OneTimeSecret.expires_at) > now)


def issue_secret(
    session: AccountSession,
    purpose: SecretPurpose,
    user_id: str,
    address: Address,
    *,
    is_mailed: bool = True,
    expires_at: datetime | None = None,
) -> str:
    """Issue a secret, superseding an earlier one of the same user and purpose.

    It is valid as long as the limits say, unless `expires_at` is given.

    Undo secrets are not superseded: otherwise an attacker who changes the address twice would
    disable the undo link that the owner got with the first notice. A deleted account is restored
    from several addresses.
    """
    if purpose not in {SecretPurpose.EMAIL_UNDO, SecretPurpose.ACCOUNT_RESTORATION}:
        supersede_secrets(session, purpose, user_id)
    secret = tokens.mint(tokens.ONE_TIME_SECRET)
    session.add(
        OneTimeSecret(
            id=new_id("ots_"),
            purpose=purpose,
            user_id=user_id,
            address=address.entered,
            address_canonical=address.canonical,
            secret_digest=session.keys.digest(Purpose.ONE_TIME_SECRET, secret),
            key_id=session.keys.key_id,
            created_at=session.now,
            expires_at=expires_at or session.now + _lifetime(session.limits, purpose),
            is_mailed=is_mailed,
        )
    )
    return secret


def _lifetime(limits: Limits, purpose: SecretPurpose) -> timedelta:
    if purpose is SecretPurpose.PASSWORD_RESET:
        return limits.reset_lifetime
    if purpose is SecretPurpose.EMAIL_UNDO:
        return limits.undo_lifetime
    return limits.one_time_secret_lifetime


def supersede_secrets(
    session: AccountSession, purpose: SecretPurpose, user_id: str, *conditions: ColumnElement[bool]
) -> None:
    """Supersede the user's pending secrets of one purpose, or those that meet the conditions."""
    session.flush()
    session.core.execute(
        update(OneTimeSecret)
        .where(
            col(OneTimeSecret.purpose) == purpose,
            col(OneTimeSecret.user_id) == user_id,
            *is_pending(),
            *conditions,
        )
        .values(superseded_at=session.now)
    )


class Undo(NamedTuple):
    """An undo link that is still valid: the address that it restores, and until when."""

    address: str
    until: datetime


class AddressChanges(NamedTuple):
    """The address of the user's pending change, and the undo of completed ones, each if any."""

    pending_address: str | None
    undo: Undo | None


#: Built once, since every profile that is read includes it.
_CHANGES = (
    select(col(OneTimeSecret.purpose), col(OneTimeSecret.address), col(OneTimeSecret.expires_at))
    .join(User, col(User.id) == col(OneTimeSecret.user_id))
    .where(
        col(OneTimeSecret.user_id) == bindparam("user_id"),
        or_(
            col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_CHANGE,
            and_(
                col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
                col(OneTimeSecret.address_canonical) != col(User.email_canonical),
            ),
        ),
        *is_redeemable(bindparam("now")),
    )
)


def find_address_changes(session: AccountSession, user_id: str) -> AddressChanges:
    """Return what is pending or can be undone; of several undo links the one valid longest."""
    pending, undo = None, None
    rows = session.rows(_CHANGES, {"user_id": user_id, "now": session.now})
    for purpose, address, expires_at in sorted(rows, key=itemgetter(2)):
        if purpose == SecretPurpose.EMAIL_CHANGE:
            pending = address
        else:
            undo = Undo(address, expires_at)
    return AddressChanges(pending, undo)


def is_link_due(
    session: AccountSession, purpose: SecretPurpose, user_id: str, address: Address
) -> bool:
    """Return whether to mail a new link, or whether the user has one that serves (EM-14).

    To be called while the account is locked. A request may come from an attacker, who must neither
    flood the mailbox nor keep the owner from getting a link. Requests are therefore merged, and not
    rejected: another link is mailed after ten minutes at the earliest and, after a few times in a
    day, only shortly before the last one expires. Whenever the owner asks, a link that works is in
    the mailbox.
    """
    links = session.core.execute(
        select(
            col(OneTimeSecret.created_at),
            col(OneTimeSecret.expires_at),
            col(OneTimeSecret.is_mailed),
        ).where(
            col(OneTimeSecret.purpose) == purpose,
            col(OneTimeSecret.user_id) == user_id,
            col(OneTimeSecret.address_canonical) == address.canonical,
            *is_redeemable(session.now),
        )
    ).all()
    if not links:
        return True
    link = max(links, key=attrgetter("created_at"))
    if link.created_at > session.now - _LINK_INTERVAL:
        return False
    if not link.is_mailed or link.expires_at <= session.now + _LINK_INTERVAL:
        return True
    try:
        consume_repeated_link(session, user_id, purpose)
    except TooManyAttempts:
        return False
    return True


def redeem_secret(session: AccountSession, purpose: SecretPurpose, secret: str) -> OneTimeSecret:
    """Redeem a secret, and return its row.

    One conditional UPDATE: of concurrent requests with the same secret exactly one wins (EM-07). A
    wrong secret matches no row and uses nothing up; a malformed one is rejected without the
    database. The policies decide here, so that no act by a mailed secret can omit it; a secret
    whose use they forbid stays valid.

    Raises:
        SecretInvalid: There is no such secret, or it has another purpose.
        SecretUsed: It was used before.
        SecretExpired: It has expired; this is checked here, not by a cleanup job (EM-05).
        SecretSuperseded: A later request replaced it.
        Forbidden: A policy forbids the act.
    """
    matches = _matches(session, purpose, secret)
    session.flush()
    owner = session.core.execute(select(col(OneTimeSecret.user_id)).where(*matches)).scalar()
    if owner is None:
        raise SecretInvalid
    # Before writing to the row: a transaction that has the account may be about to supersede it.
    lock_account(session, owner)
    redeemed = session.core.execute(
        update(OneTimeSecret)
        .where(*matches, *is_redeemable(session.now))
        .values(used_at=session.now)
    )
    row = session.exec(
        select(OneTimeSecret).where(*matches).execution_options(populate_existing=True)
    ).one()
    if not redeemed.rowcount:
        raise _reason(row)
    authorise_secret(session, row)
    return row


def authorise_secret(session: AccountSession, row: OneTimeSecret) -> None:
    """Ask the policies about the user of a mailed secret.

    Raises:
        Forbidden: A policy forbids the act.
    """
    user = find_user_view(session, row.user_id)
    session.authorise_public(user, PublicCredential.MAILED_SECRET)


def read_secret(session: AccountSession, purpose: SecretPurpose, secret: str) -> OneTimeSecret:
    """Return the row of a secret that could be redeemed now, without redeeming it.

    Raises:
        SecretInvalid, SecretUsed, SecretExpired, SecretSuperseded: As `redeem_secret`.
    """
    row = find_secret(session, purpose, secret)
    if row.used_at or row.superseded_at or row.expires_at <= session.now:
        raise _reason(row)
    return row


def find_secret(session: AccountSession, purpose: SecretPurpose, secret: str) -> OneTimeSecret:
    """Return the row of a secret, redeemable or not.

    Raises:
        SecretInvalid: There is no such secret, or it has another purpose.
    """
    row = session.exec(select(OneTimeSecret).where(*_matches(session, purpose, secret))).first()
    if row is None:
        raise SecretInvalid
    return row


def find_locale(session: AccountSession, purpose: SecretPurpose, secret: str) -> str | None:
    """Return the locale of a secret's user; None if the secret is wrong or the user has none."""
    try:
        row = find_secret(session, purpose, secret)
    except SecretInvalid:
        return None
    locale: str | None = session.core.execute(
        select(col(User.locale)).where(col(User.id) == row.user_id)
    ).scalar()
    return locale


def _matches(
    session: AccountSession, purpose: SecretPurpose, secret: str
) -> tuple[ColumnElement[bool], ...]:
    if not tokens.is_well_formed(secret, tokens.ONE_TIME_SECRET):
        raise SecretInvalid
    digests = session.keys.digests(Purpose.ONE_TIME_SECRET, secret)
    return col(OneTimeSecret.secret_digest).in_(digests), col(OneTimeSecret.purpose) == purpose


def _reason(row: OneTimeSecret) -> SecretUsed | SecretSuperseded | SecretExpired:
    """Return the reason why a secret cannot be redeemed; for callers who sent the right secret."""
    if row.used_at is not None:
        return SecretUsed()
    if row.superseded_at is not None:
        return SecretSuperseded()
    return SecretExpired()
