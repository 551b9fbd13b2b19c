"""Changing the email address: requesting, completing and undoing a change."""

from sqlalchemy import update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.errors import SecretInvalid
from accounts.services import throttling, users
from accounts.services.credentials import REFRESH_TOKEN, SESSION, revoke_all
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_pending_address,
    issue_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.services.outbox import MessageKind, post_message
from accounts.services.recovery_address import (
    accept_verification,
    recovery_address,
    restore_address,
)
from accounts.services.user_views import UserView, find_user_view
from accounts.values import email_address
from accounts.values.email_address import Address
from models import OneTimeSecret, User


def request_email_change(
    session: AccountSession, user: UserView, email: str
) -> tuple[str, str | None]:
    """Request a change; returns the new address, and the secret that completes the change.

    The caller mails the secret, as documented on the Hantera page. If the limits let the service
    mail it, the second value is None. In both cases the recovery address is notified and gets a
    link that undoes the change for seven days; an unverified address does not, since it may be an
    attacker's. If another account has the new address, the response looks the same, but the secret
    never validates, and the owner of that account is notified (EM-13).

    Raises:
        InvalidRequest: It is not an email address.
        TooManyAttempts: One of the two addresses was mailed too often, or the source has made too
            many requests.
    """
    address = email_address.parse_address(email)
    lock_account(session, user.user_id)
    throttling.consume_mail(session, address.canonical, SecretPurpose.EMAIL_CHANGE)
    recovery = recovery_address(session, user.user_id)
    throttling.consume_notification(session, user.user_id, MessageKind.EMAIL_CHANGE_NOTICE)
    record_event(session, EventKind.USER_UPDATED, user, fields="pending_email")
    is_mailed = session.limits.service_mails_email_changes
    secret = issue_secret(
        session, SecretPurpose.EMAIL_CHANGE, user.user_id, address, is_mailed=is_mailed
    )
    undo = issue_secret(session, SecretPurpose.EMAIL_UNDO, user.user_id, recovery)
    if users.is_taken(session, address.canonical, by_other_than=user.user_id):
        owner = users.find_owner(session, address.canonical)
        if owner is not None:
            post_message(
                session, MessageKind.EMAIL_ALREADY_IN_USE, find_user_view(session, owner.id)
            )
        # The row keeps the digest of the first secret, which is never sent.
        secret = tokens.mint(tokens.ONE_TIME_SECRET)
    elif is_mailed:
        post_message(
            session,
            MessageKind.EMAIL_CHANGE_CONFIRMATION,
            user,
            to=address.entered,
            secret=secret,
            identity_id=user.identity_id,
        )
    # Notified in any case, so that a taken address cannot be told from a free one.
    post_message(
        session,
        MessageKind.EMAIL_CHANGE_NOTICE,
        user,
        to=recovery.entered,
        new_address=address.entered,
        secret=undo,
    )
    return address.entered, None if is_mailed else secret


def find_pending_email(session: AccountSession, user_id: str) -> str | None:
    """Return the address of the user's pending change, or None."""
    return find_pending_address(session, SecretPurpose.EMAIL_CHANGE, user_id)


def validate_email_change(session: AccountSession, *, identity_id: str, secret: str) -> UserView:
    """Complete a change by its secret; returns the user with the new address.

    The new address counts as verified if this service mailed the secret there. If a client did, it
    does not, since the mailing is not proven. Until the address is verified, password resets go to
    the address that was verified last.

    Raises:
        SecretInvalid: It is not a secret of this user, or the address was taken meanwhile.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or a password change superseded it.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    user = users.find_enabled_user(session, pending.user_id)
    if (
        user is None
        or user.uuid != identity_id.lower()
        or users.is_taken(session, pending.address_canonical, by_other_than=pending.user_id)
    ):
        raise SecretInvalid
    address = Address(pending.address, pending.address_canonical)
    if pending.is_mailed:
        accept_verification(session, user, address)
    else:
        _set_address(session, user, address)
    supersede_secrets(session, SecretPurpose.EMAIL_VERIFICATION, user.id)
    changed = find_user_view(session, pending.user_id)
    record_event(session, EventKind.USER_UPDATED, changed, fields="email")
    return changed


def undo_email_change(session: AccountSession, secret: str) -> str:
    """Undo a change by the secret of an undo link; returns the restored address.

    The address is as verified as it was when the change was requested. The owner did not request
    the change, so another person may be logged in: every session is revoked, and with it its JWTs
    and refresh tokens. A pending change is superseded.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or another account has the
            address.
        SecretUsed: It was used before.
        SecretExpired: It is older than seven days.
        SecretSuperseded: The undo link of an earlier change was used since, or its address was
            verified.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_UNDO, secret)
    user = users.find_enabled_user(session, pending.user_id)
    if user is None or users.is_taken(
        session, pending.address_canonical, by_other_than=pending.user_id
    ):
        raise SecretInvalid
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, user.id)
    restore_address(session, user, Address(pending.address, pending.address_canonical))
    # Later changes are undone with this one. Earlier links stay: they were mailed to addresses that
    # had the account before.
    supersede_secrets(
        session,
        SecretPurpose.EMAIL_UNDO,
        user.id,
        col(OneTimeSecret.created_at) > pending.created_at,
    )
    view = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, view, fields="email")
    revoke_all(session, view, [SESSION, REFRESH_TOKEN])
    return pending.address


def _set_address(session: AccountSession, user: User, address: Address) -> None:
    """Set an unverified address; another spelling of the current address stays verified."""
    values: dict[str, object] = {"email": address.entered, "email_canonical": address.canonical}
    if user.email_canonical != address.canonical:
        values["email_verified_at"] = None
    elif user.email_verified_at is not None:
        values["verified_email"] = address.entered
    session.core.execute(update(User).where(col(User.id) == user.id).values(**values))
