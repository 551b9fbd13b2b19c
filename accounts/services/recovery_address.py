"""Which address a person has shown to read the mail of, and what follows when they show it.

The present address may be one that somebody has put there in a stolen session. What gives the
account back is therefore mailed to another: the recovery address, which is the one that was
verified last or, where none was, the one that the account was opened with.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlmodel import col

from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import SecretPurpose
from accounts.values.email_address import Address
from models import OneTimeSecret, User

__all__ = [
    "accept_verification",
    "has_recovery_address",
    "mark_verified",
    "recovers_by",
    "recovery_address",
    "recovery_address_of",
    "restore_address",
    "supersede_competing_undo_links",
]


def recovery_address(session: AccountSession, user_id: str) -> Address:
    """Where a secret is mailed that gives a person the account, whatever the present address is."""
    return recovery_address_of(session.get_one(User, user_id, populate_existing=True))


def recovery_address_of(user: User) -> Address:
    """The same, of a user who was read in this transaction."""
    # The present one is for a row that a replica of an earlier version has made.
    return Address(
        user.verified_email or user.first_email or user.email,
        user.verified_email_canonical or user.first_email_canonical or user.email_canonical,
    )


def recovers_by(canonical: str) -> ColumnElement[bool]:
    """Whether an address is a user's recovery address."""
    return or_(
        col(User.verified_email_canonical) == canonical,
        and_(
            col(User.first_email_canonical) == canonical,
            # And not IS NULL, by whose index SQLite might look at all who have verified nothing.
            func.coalesce(col(User.verified_email_canonical), "") == "",
        ),
    )


def has_recovery_address() -> ColumnElement[bool]:
    """Whether a user has one."""
    return or_(col(User.verified_email).is_not(None), col(User.first_email).is_not(None))


def mark_verified(user: User, now: datetime) -> None:
    """Let a user have verified the present address, whom an operator knows."""
    user.email_verified_at = user.email_verified_at or now
    user.verified_email, user.verified_email_canonical = user.email, user.email_canonical
    user.first_email = user.first_email_canonical = None


def accept_verification(session: AccountSession, user: User, address: Address) -> None:
    """Give a person the address whose mail they have shown to read, as a verified one.

    To be called while the account and the address are held.
    """
    values: dict[str, Any] = {
        "email": address.entered,
        "email_canonical": address.canonical,
        "email_verified_at": session.now,
        "verified_email": address.entered,
        "verified_email_canonical": address.canonical,
    }
    if user.first_email_canonical == address.canonical:
        values |= {"first_email": None, "first_email_canonical": None}
    session.core.execute(update(User).where(col(User.id) == user.id).values(values))
    supersede_competing_undo_links(session, user.id, address.canonical)


def restore_address(session: AccountSession, user: User, address: Address) -> None:
    """Give a person the address back that a change was told to, as verified as it was.

    Who was told of a change of an account that they never opened must not verify it by undoing the
    change: somebody else knows its password.
    """
    if user.first_email_canonical != address.canonical:
        accept_verification(session, user, address)
        return
    session.core.execute(
        update(User)
        .where(col(User.id) == user.id)
        .values(
            email=address.entered,
            email_canonical=address.canonical,
            email_verified_at=None,
            verified_email=None,
            verified_email_canonical=None,
        )
    )
    supersede_competing_undo_links(session, user.id, address.canonical)


def supersede_competing_undo_links(session: AccountSession, user_id: str, canonical: str) -> None:
    """End what would take the account from an address again whose mail somebody has just read.

    Of several addresses that were told of changes, the one that was told first had the account
    first. What was mailed to others later, a thief may have had mailed to addresses of their own.
    """
    undos = (
        col(OneTimeSecret.user_id) == user_id,
        col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
        col(OneTimeSecret.superseded_at).is_(None),
        col(OneTimeSecret.expires_at) > session.now,
    )
    told_at = session.core.execute(
        select(func.min(col(OneTimeSecret.created_at))).where(
            *undos, col(OneTimeSecret.address_canonical) == canonical
        )
    ).scalar()
    if told_at is None:
        return
    session.core.execute(
        update(OneTimeSecret)
        .where(
            *undos,
            col(OneTimeSecret.used_at).is_(None),
            col(OneTimeSecret.created_at) > told_at,
            col(OneTimeSecret.address_canonical) != canonical,
        )
        .values(superseded_at=session.now)
    )
