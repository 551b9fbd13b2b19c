"""The recovery address of a user, and the effects of verifying an address.

An attacker with a stolen session may have set the current address. Secrets that restore access are
therefore mailed to the recovery address: the address that was verified last or, if none was, the
one that the account was opened with.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlmodel import col

from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import SecretPurpose, supersede_secrets
from accounts.values.email_address import Address
from models import OneTimeSecret, User


def recovery_address(session: AccountSession, user_id: str) -> Address:
    """Return the recovery address of a user, reading the user anew."""
    return recovery_address_of(session.get_one(User, user_id, populate_existing=True))


def recovery_address_of(user: User) -> Address:
    """Return the recovery address of a user who was loaded in this transaction."""
    # The current address is used for rows that a replica of an earlier version has created.
    return Address(
        user.verified_email or user.first_email or user.email,
        user.verified_email_canonical or user.first_email_canonical or user.email_canonical,
    )


def recovers_by(canonical: str) -> ColumnElement[bool]:
    """Return the condition that an address is the user's recovery address."""
    return or_(
        col(User.verified_email_canonical) == canonical,
        and_(
            col(User.first_email_canonical) == canonical,
            # Not IS NULL: by its index SQLite might scan all users without a verified address.
            func.coalesce(col(User.verified_email_canonical), "") == "",
        ),
    )


def has_recovery_address() -> ColumnElement[bool]:
    """Return the condition that a user has a recovery address."""
    return or_(col(User.verified_email).is_not(None), col(User.first_email).is_not(None))


def mark_verified(user: User, now: datetime) -> None:
    """Mark the current address as verified on an operator's word."""
    user.email_verified_at = user.email_verified_at or now
    user.verified_email, user.verified_email_canonical = user.email, user.email_canonical
    user.first_email = user.first_email_canonical = None


def accept_verification(session: AccountSession, user: User, address: Address) -> None:
    """Make an address the user's current and verified one, after they have read a mail there.

    To be called while the account and, if it is another one, the address are locked.
    """
    values: dict[str, Any] = {
        "email_verified_at": session.now,
        "verified_email": address.entered,
        "verified_email_canonical": address.canonical,
    }
    if user.first_email_canonical == address.canonical:
        values |= {"first_email": None, "first_email_canonical": None}
    _set_address(session, user, address, values)


def restore_address(session: AccountSession, user: User, address: Address) -> None:
    """Restore the address that was notified of a change, as verified as it was.

    The first address of an account stays unverified: its owner may never have opened the account,
    and another person knows the password, so undoing a change must not verify it.
    """
    if user.first_email_canonical == address.canonical:
        unverified = ("email_verified_at", "verified_email", "verified_email_canonical")
        _set_address(session, user, address, dict.fromkeys(unverified))
    else:
        accept_verification(session, user, address)


def _set_address(
    session: AccountSession, user: User, address: Address, values: Mapping[str, Any]
) -> None:
    """Set the current address with other columns, and supersede competing undo links.

    Of several addresses that were notified of changes, the one that was notified first had the
    account first. Later undo links may have been mailed to addresses of an attacker.
    """
    current = {"email": address.entered, "email_canonical": address.canonical}
    session.core.execute(update(User).where(col(User.id) == user.id).values({**current, **values}))
    notified_at = session.core.execute(
        select(func.min(col(OneTimeSecret.created_at))).where(
            col(OneTimeSecret.user_id) == user.id,
            col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
            col(OneTimeSecret.superseded_at).is_(None),
            col(OneTimeSecret.expires_at) > session.now,
            col(OneTimeSecret.address_canonical) == address.canonical,
        )
    ).scalar()
    if notified_at is None:
        return
    supersede_secrets(
        session,
        SecretPurpose.EMAIL_UNDO,
        user.id,
        col(OneTimeSecret.expires_at) > session.now,
        col(OneTimeSecret.created_at) > notified_at,
        col(OneTimeSecret.address_canonical) != address.canonical,
    )
