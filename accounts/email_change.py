"""Changing the e-mail address: requested by one secret, done by another hand that has it."""

from sqlalchemy import update
from sqlmodel import col, select

from accounts import addresses, tokens, users
from accounts.database import AccountSession
from accounts.errors import SecretInvalid
from accounts.events import EventKind, record_event
from accounts.one_time_secrets import (
    SecretPurpose,
    burn_secret,
    find_pending,
    issue_secret,
    supersede_secrets,
)
from accounts.outbox import MessageKind, post_message
from accounts.people import Person, find_person
from models import Tenant, User

__all__ = ["find_pending_email", "request_email_change", "validate_email_change"]


def request_email_change(session: AccountSession, person: Person, email: str) -> tuple[str, str]:
    """Start a change; returns the address as it will be, and the secret that completes it.

    The caller mails the secret, as the Hantera page has it; what is mailed from here is a notice
    to the present address. For an address that another account has, all looks the same, but the
    secret will never validate, and it is that account that gets a notice (EM-13).

    Raises:
        InvalidRequest: It is not an e-mail address.
    """
    address = addresses.parse_address(email)
    record_event(session, EventKind.USER_UPDATED, person, fields="pending_email")
    secret = issue_secret(session, SecretPurpose.EMAIL_CHANGE, person.user_id, address)
    if users.is_taken(session, address.canonical, by_other_than=person.user_id):
        owner = users.find_user_by_email(session, address.canonical)
        post_message(session, MessageKind.EMAIL_ALREADY_IN_USE, find_person(session, owner.id))
        # The row keeps the digest of a secret that nobody was given.
        secret = tokens.mint(tokens.ONE_TIME_SECRET)
    else:
        post_message(session, MessageKind.EMAIL_CHANGE_NOTICE, person, new_address=address.entered)
    return address.entered, secret


def find_pending_email(session: AccountSession, user_id: str) -> str | None:
    """The address of the user's pending change, if there is one."""
    pending = find_pending(session, SecretPurpose.EMAIL_CHANGE, user_id)
    return pending.address if pending else None


def validate_email_change(session: AccountSession, *, identity_id: str, secret: str) -> str:
    """Complete a change by its secret; returns the address that the account has now.

    The new address counts as unverified: that the client mailed the secret there is its word only.
    Until it is verified, a reset of the password goes to the address that was verified last.

    Raises:
        SecretInvalid: It is not a secret of this person's, or the address was taken meanwhile.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or a change of the password ended it.
    """
    pending = burn_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    user = session.exec(
        select(User)
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            col(User.id) == pending.user_id,
            col(User.uuid) == identity_id.lower(),
            col(User.disabled_at).is_(None),
            col(Tenant.disabled_at).is_(None),
        )
    ).first()
    if user is None or users.is_taken(
        session, pending.address_canonical, by_other_than=pending.user_id
    ):
        raise SecretInvalid
    same = user.email_canonical == pending.address_canonical
    session.core.execute(
        update(User)
        .where(col(User.id) == user.id)
        .values(
            email=pending.address,
            email_canonical=pending.address_canonical,
            email_verified_at=user.email_verified_at if same else None,
        )
    )
    supersede_secrets(session, SecretPurpose.EMAIL_VERIFICATION, user.id)
    record_event(
        session, EventKind.USER_UPDATED, find_person(session, pending.user_id), fields="email"
    )
    return pending.address
