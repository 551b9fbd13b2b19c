"""Releasing an address from an account that merely claims it, by the reader of the address."""

from datetime import datetime
from typing import NamedTuple

from sqlmodel import col

from accounts.errors import SecretInvalid
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import (
    SecretPurpose,
    read_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.services.recovery_address import release_claim
from accounts.services.user_views import find_user_view
from accounts.values.email_address import mask
from models import OneTimeSecret, User

#: The name of another person's account is cut, since its user may have written anything.
_SHOWN_NAME = 40


class ClaimingAccount(NamedTuple):
    """An account that is about to use an address: its own address masked, its name, its age."""

    address: str
    name: str
    opened_at: datetime


def read_claim(session: AccountSession, secret: str) -> OneTimeSecret:
    """Return the row of a secret that could release an address now, without redeeming it.

    Raises:
        SecretInvalid, SecretUsed, SecretExpired, SecretSuperseded: As `release_address`.
    """
    try:
        pending = read_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    except SecretInvalid:
        return read_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    if not _is_claimed(session.get_one(User, pending.user_id), pending):
        raise SecretInvalid
    return pending


def identify_claimant(session: AccountSession, pending: OneTimeSecret) -> ClaimingAccount | None:
    """Return the account of a secret, or None if it owns the address already."""
    user = session.get_one(User, pending.user_id)
    if user.email_canonical == pending.address_canonical:
        return None
    name = find_user_view(session, user.id).name[:_SHOWN_NAME]
    return ClaimingAccount(mask(user.email), name, user.created_at)


def release_address(session: AccountSession, secret: str) -> None:
    """Take an address from the account that claims it, at the word of the address's reader.

    By the secret that was mailed there, to verify the address or to complete a change. The account
    shows the address that it owns again, also if it is disabled; no credential is affected.

    Raises:
        SecretInvalid: There is no such secret, or the account does not claim its address.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or an address change superseded it.
    """
    try:
        pending = redeem_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    except SecretInvalid:
        pending = redeem_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    user = session.get_one(User, pending.user_id, populate_existing=True)
    if _is_claimed(user, pending):
        release_claim(session, user)
    elif pending.purpose == SecretPurpose.EMAIL_VERIFICATION:
        raise SecretInvalid
    # The claim and a pending change can be of the same address.
    for purpose in (SecretPurpose.EMAIL_CHANGE, SecretPurpose.EMAIL_VERIFICATION):
        supersede_secrets(
            session,
            purpose,
            user.id,
            col(OneTimeSecret.address_canonical) == pending.address_canonical,
        )
    record_event(session, EventKind.USER_UPDATED, find_user_view(session, user.id), fields="email")


def _is_claimed(user: User, pending: OneTimeSecret) -> bool:
    return user.claimed_email_canonical == pending.address_canonical
