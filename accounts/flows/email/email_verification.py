"""Verifying the email address of a user."""

from accounts.errors import SecretInvalid
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import (
    SecretPurpose,
    authorise_secret,
    find_secret,
    is_link_due,
    issue_secret,
    redeem_secret,
)
from accounts.services.outbox import MessageKind, post_message
from accounts.services.recovery_address import accept_verification
from accounts.services.throttling import RateLimitScope, consume_for_source
from accounts.services.user_views import UserView, find_user_view
from accounts.services.users import find_enabled_user
from accounts.values.email_address import Address, parse_address
from models import OneTimeSecret, User


def request_email_verification(session: AccountSession, user: UserView) -> None:
    """Mail a secret to the user's address, unless it is verified or has a secret that serves.

    Raises:
        TooManyAttempts: Too many requests from the source.
    """
    if user.email_verified:
        return
    address = parse_address(user.email)
    lock_account(session, user.user_id)
    consume_for_source(session, RateLimitScope.MAIL, session.limits.source_budget)
    if not is_link_due(session, SecretPurpose.EMAIL_VERIFICATION, user.user_id, address):
        return
    secret = issue_secret(session, SecretPurpose.EMAIL_VERIFICATION, user.user_id, address)
    post_message(session, MessageKind.EMAIL_VERIFICATION, user, secret=secret)


def resend_verification(session: AccountSession, secret: str) -> None:
    """Mail a new secret in place of an expired one, to the same address, unless it is verified.

    The old secret shows that the caller has read its mail; all it yields is the same mail again.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or has another address now.
        Forbidden: A policy forbids it.
        TooManyAttempts: Too many requests from the source.
    """
    row = find_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    lock_account(session, row.user_id)
    user = _find_owner(session, row)
    authorise_secret(session, row)
    request_email_verification(session, find_user_view(session, user.id))


def confirm_email(session: AccountSession, secret: str) -> None:
    """Mark the address that the secret was mailed to as verified.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or has another address now.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or an address change superseded it.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    user = _find_owner(session, pending)
    accept_verification(session, user, Address(user.email, user.email_canonical))
    view = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, view, fields="email_verified")


def _find_owner(session: AccountSession, secret: OneTimeSecret) -> User:
    user = find_enabled_user(session, secret.user_id)
    if user is None or user.email_canonical != secret.address_canonical:
        raise SecretInvalid
    return user
