"""Verifying the email address of a user."""

from sqlalchemy import case, exists, null, update
from sqlmodel import col, select

from accounts.errors import SecretInvalid
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_secret,
    issue_secret,
    redeem_secret,
)
from accounts.services.outbox import MessageKind, post_message
from accounts.services.recovery_address import supersede_competing_undo_links
from accounts.services.throttling import consume_mail
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values.email_address import parse_address
from models import Tenant, User

__all__ = ["confirm_email", "request_email_verification", "resend_verification"]

_IS_FIRST = col(User.first_email_canonical) == col(User.email_canonical)


def request_email_verification(session: AccountSession, user: UserView) -> None:
    """Mail a secret to the user's address, unless it is verified.

    Raises:
        TooManyAttempts: Too many mails to the address, or requests from the source.
    """
    if user.email_verified:
        return
    address = parse_address(user.email)
    lock_account(session, user.user_id)
    consume_mail(session, address.canonical, SecretPurpose.EMAIL_VERIFICATION)
    secret = issue_secret(session, SecretPurpose.EMAIL_VERIFICATION, user.user_id, address)
    post_message(session, MessageKind.EMAIL_VERIFICATION, user, secret=secret)


def resend_verification(session: AccountSession, secret: str) -> None:
    """Mail a new secret in place of an expired one, to the same address, unless it is verified.

    The old secret shows that the caller has read its mail; all it yields is the same mail again.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or has another address now.
        TooManyAttempts: The address was mailed too often.
    """
    row = find_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    lock_account(session, row.user_id)
    owner = session.core.execute(
        select(col(User.id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            col(User.id) == row.user_id, col(User.email_canonical) == row.address_canonical, ENABLED
        )
    ).scalar()
    if owner is None:
        raise SecretInvalid
    request_email_verification(session, find_user_view(session, owner))


def confirm_email(session: AccountSession, secret: str) -> None:
    """Mark the address that the secret was mailed to as verified.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or has another address now.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or an address change superseded it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    verified = session.core.execute(
        update(User)
        .where(
            col(User.id) == pending.user_id,
            col(User.email_canonical) == pending.address_canonical,
            col(User.disabled_at).is_(None),
            exists().where(
                col(Tenant.id) == col(User.tenant_id), col(Tenant.disabled_at).is_(None)
            ),
        )
        .values(
            email_verified_at=session.now,
            verified_email=col(User.email),
            verified_email_canonical=col(User.email_canonical),
            # The first address of an account is cleared once it is verified.
            first_email=case((_IS_FIRST, null()), else_=col(User.first_email)),
            first_email_canonical=case((_IS_FIRST, null()), else_=col(User.first_email_canonical)),
        )
    )
    if not verified.rowcount:
        raise SecretInvalid
    supersede_competing_undo_links(session, pending.user_id, pending.address_canonical)
    user = find_user_view(session, pending.user_id)
    record_event(session, EventKind.USER_UPDATED, user, fields="email_verified")
