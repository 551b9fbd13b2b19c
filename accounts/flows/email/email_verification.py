"""Verifying the email address that an account shows."""

from accounts.errors import SecretInvalid
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.address_mail import mail_verification, shown_address, tell_of_undo
from accounts.services.one_time_secrets import (
    SecretPurpose,
    authorise_secret,
    find_secret,
    redeem_secret,
)
from accounts.services.recovery_address import own_address
from accounts.services.throttling import RateLimitScope, consume_for_source
from accounts.services.user_views import UserView, find_user_view
from accounts.services.users import find_enabled_user, is_taken
from models import OneTimeSecret, User


def request_email_verification(session: AccountSession, user: UserView) -> None:
    """Mail a secret to the address that the user shows, unless it is verified.

    Nothing is mailed while an earlier secret serves.

    Raises:
        TooManyAttempts: Too many requests from the source.
    """
    if user.email_verified:
        return
    lock_account(session, user.user_id)
    consume_for_source(session, RateLimitScope.MAIL, session.limits.source_budget)
    mail_verification(session, session.get_one(User, user.user_id, populate_existing=True))


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
    """Verify the address that the secret was mailed to: the account owns it from now on.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or has another address now, or
            another account owns the address.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or an address change superseded it.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    user = _find_owner(session, pending)
    address = shown_address(user)
    if is_taken(session, address.canonical, by_other_than=user.id):
        raise SecretInvalid
    is_new = user.claimed_email is not None
    own_address(session, user, address, verified=True)
    if is_new:
        tell_of_undo(session, user.id)
    view = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, view, fields="email_verified")


def _find_owner(session: AccountSession, secret: OneTimeSecret) -> User:
    user = find_enabled_user(session, secret.user_id)
    if user is None or shown_address(user).canonical != secret.address_canonical:
        raise SecretInvalid
    return user
