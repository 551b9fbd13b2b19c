"""The address that an account owns, the one that it claims, and those that it owned before.

The owned address is the one that was verified last or, if none was, the one that the account was
opened with. It is the recovery address: secrets that restore access are mailed there. An attacker
with a stolen session can only claim an address; it becomes the owned one once a mail is answered
there. The addresses owned before are a stack (ADR 32).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlmodel import col

from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import SecretPurpose, supersede_secrets
from accounts.values.email_address import Address
from models import FormerEmail, OneTimeSecret, User

_NO_CLAIM = {"claimed_email": None, "claimed_email_canonical": None}


def recovery_address(session: AccountSession, user_id: str) -> Address:
    """Return the address that a user owns, reading the user anew."""
    user = session.get_one(User, user_id, populate_existing=True)
    return Address(user.email, user.email_canonical)


def mark_verified(user: User, now: datetime) -> None:
    """Mark the owned address as verified on an operator's word."""
    owned = Address(user.email, user.email_canonical)
    for column, value in verified_columns(owned, user.email_verified_at or now).items():
        setattr(user, column, value)


def verified_columns(owned: Address, verified_at: datetime) -> dict[str, Any]:
    """Return the columns of a user whose owned address is verified."""
    return {"email_verified_at": verified_at, **_NO_CLAIM, **_for_earlier_releases(owned)}


def claim_address(session: AccountSession, user: User, address: Address) -> None:
    """Show an unverified address as the user's; another spelling of the owned one is still owned.

    A claim reserves nothing and gives no access: any account can own the address meanwhile.
    """
    if user.email_canonical != address.canonical:
        _update(
            session, user, claimed_email=address.entered, claimed_email_canonical=address.canonical
        )
        return
    _update(session, user, email=address.entered, **_NO_CLAIM, **_for_earlier_releases(address))


def release_claim(session: AccountSession, user: User) -> None:
    """Let the account show the address that it owns again."""
    _update(session, user, **_NO_CLAIM)


def own_address(session: AccountSession, user: User, address: Address, *, verified: bool) -> None:
    """Make an address the one that the account owns, and end its claim.

    If the account owned it before, all addresses that came after it are forgotten; if not, the
    present one is remembered as the last of the former ones. Undo links to addresses that are not
    among the former ones end: their readers had the account later, and may be attackers.

    An address that the account owned before is at least as verified as it was then; `verified`
    says that a mail was answered there now. To be called while the account and, if it is another
    one, the address are locked.
    """
    verified_at = user.email_verified_at
    if user.email_canonical != address.canonical:
        verified_at = _return_to(session, user, address)
    if verified:
        verified_at = verified_at or session.now
    _update(
        session,
        user,
        email=address.entered,
        email_canonical=address.canonical,
        email_verified_at=verified_at,
        **_NO_CLAIM,
        **_for_earlier_releases(address),
    )
    former = select(col(FormerEmail.address_canonical)).where(col(FormerEmail.user_id) == user.id)
    supersede_secrets(
        session,
        SecretPurpose.EMAIL_UNDO,
        user.id,
        col(OneTimeSecret.address_canonical) != address.canonical,
        col(OneTimeSecret.address_canonical).not_in(former),
    )


def _return_to(session: AccountSession, user: User, address: Address) -> datetime | None:
    """Move in the stack of former addresses; returns since when the address is verified."""
    of_user = col(FormerEmail.user_id) == user.id
    former = session.core.execute(
        select(col(FormerEmail.depth), col(FormerEmail.verified_at)).where(
            of_user, col(FormerEmail.address_canonical) == address.canonical
        )
    ).first()
    if former is not None:
        later = col(FormerEmail.depth) >= former.depth
        session.core.execute(delete(FormerEmail).where(of_user, later))
        verified_at: datetime | None = former.verified_at
        return verified_at
    depth = session.core.execute(select(func.count()).where(of_user)).scalar_one()
    session.core.execute(
        insert(FormerEmail).values(
            user_id=user.id,
            depth=depth,
            address_canonical=user.email_canonical,
            verified_at=user.email_verified_at,
            replaced_at=session.now,
        )
    )
    return None


def _for_earlier_releases(owned: Address) -> dict[str, str | None]:
    """Return the columns from which replicas of earlier releases read the recovery address."""
    return {
        "verified_email": owned.entered,
        "verified_email_canonical": owned.canonical,
        "first_email": None,
        "first_email_canonical": None,
    }


def _update(session: AccountSession, user: User, **values: Any) -> None:
    session.core.execute(update(User).where(col(User.id) == user.id).values(**values))
