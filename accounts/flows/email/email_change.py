"""Changing the email address: requesting, completing and undoing a change."""

from typing import NamedTuple

from sqlmodel import col

from accounts.errors import NotLocalUser, SecretInvalid
from accounts.services import throttling, users
from accounts.services.credentials import revoke_everything
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.address_mail import (
    ask_reader,
    identify_account,
    mail_claim,
    tell_of_undo,
)
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import (
    SecretPurpose,
    issue_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.services.recovery_address import claim_address, own_address
from accounts.services.user_views import UserView, find_user_view
from accounts.values import email_address
from accounts.values.email_address import Address
from models import OneTimeSecret, User


class UndoneChange(NamedTuple):
    """The restored address, and the secret by which its reader sets a new password.

    The secret is None if an identity provider keeps the password.
    """

    address: str
    reset_secret: str | None


def request_email_change(
    session: AccountSession, user: UserView, email: str
) -> tuple[str, str | None]:
    """Request a change; returns the new address, and the secret that completes the change.

    The caller mails the secret, as documented on the Hantera page. If the limits let the service
    mail it, the second value is None. In both cases the recovery address is notified and gets a
    link that undoes the change for seven days. An address of another account gets the same
    response (EM-13): a caller can only claim it, and the service mails its secret to no reader but
    the owner, who can only refuse.

    Raises:
        NotLocalUser: An identity provider has the password, and knows the user by the address.
        InvalidRequest: It is not an email address.
        TooManyAttempts: One of the two addresses was mailed too often, or the source has made too
            many requests.
    """
    if user.provider != "local":
        raise NotLocalUser
    address = email_address.parse_address(email)
    lock_account(session, user.user_id)
    throttling.consume_mail(session, address.canonical, SecretPurpose.EMAIL_CHANGE)
    throttling.consume_notification(session, user.user_id, MessageKind.EMAIL_CHANGE_NOTICE)
    record_event(session, EventKind.USER_UPDATED, user, fields="pending_email")
    is_mailed = session.limits.service_mails_email_changes
    secret = issue_secret(
        session, SecretPurpose.EMAIL_CHANGE, user.user_id, address, is_mailed=is_mailed
    )
    account = session.get_one(User, user.user_id, populate_existing=True)
    if is_mailed:
        ask_reader(
            session,
            MessageKind.EMAIL_CHANGE_CONFIRMATION,
            account,
            address,
            is_taken=users.is_taken(session, address.canonical, by_other_than=account.id),
            secret=secret,
            identity_id=account.uuid,
            **identify_account(account),
        )
    owned = Address(account.email, account.email_canonical)
    # Notified in any case, so that a taken address cannot be told from a free one.
    post_message(
        session,
        MessageKind.EMAIL_CHANGE_NOTICE,
        user,
        to=owned.entered,
        new_address=address.entered,
        secret=issue_secret(session, SecretPurpose.EMAIL_UNDO, user.user_id, owned),
        until=(session.now + session.limits.undo_lifetime).isoformat(),
    )
    return address.entered, None if is_mailed else secret


def validate_email_change(session: AccountSession, *, identity_id: str, secret: str) -> UserView:
    """Complete a change by its secret; returns the user with the new address.

    If this service mailed the secret there, the account owns the address from now on. If a client
    did, the mailing is not proven: the account claims the address, and the service asks its reader.
    Until then users log in with the address that they own, and password resets go there. A claim is
    made of any address, so that a taken one cannot be told from a free one.

    Raises:
        SecretInvalid: It is not a secret of this user, or this service mailed it and the address
            was taken meanwhile.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or a password change superseded it.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    user = users.find_enabled_user(session, pending.user_id)
    if user is None or user.uuid != identity_id.lower():
        raise SecretInvalid
    address = Address(pending.address, pending.address_canonical)
    # Before the claim is mailed, which issues the next one.
    supersede_secrets(session, SecretPurpose.EMAIL_VERIFICATION, user.id)
    if pending.is_mailed:
        if users.is_taken(session, address.canonical, by_other_than=user.id):
            raise SecretInvalid
        own_address(session, user, address, verified=True)
        tell_of_undo(session, user.id)
    else:
        claim_address(session, user, address)
        session.refresh(user)
        mail_claim(session, user)
    changed = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, changed, fields="email")
    return changed


def undo_email_change(session: AccountSession, secret: str) -> UndoneChange:
    """Undo a change by the secret of an undo link, and take back what another person has made.

    The account owns the address again, as verified as it was when the change was requested. The
    owner did not request the change, so another person may know the password: no password logs in
    until the owner sets a new one, every credential is revoked, and pending changes, verifications
    and resets are superseded.

    Raises:
        SecretInvalid: There is no such secret, its user is disabled, or another account has the
            address.
        SecretUsed: It was used before.
        SecretExpired: It is older than seven days.
        SecretSuperseded: An address that had the account before was restored or verified since.
        Forbidden: A policy forbids it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_UNDO, secret)
    user = users.find_enabled_user(session, pending.user_id)
    if user is None or users.is_taken(
        session, pending.address_canonical, by_other_than=pending.user_id
    ):
        raise SecretInvalid
    address = Address(pending.address, pending.address_canonical)
    for purpose in (
        SecretPurpose.EMAIL_CHANGE,
        SecretPurpose.EMAIL_VERIFICATION,
        SecretPurpose.PASSWORD_RESET,
    ):
        supersede_secrets(session, purpose, user.id)
    own_address(session, user, address, verified=False)
    # Other links to the same address undo what is undone now.
    supersede_secrets(
        session,
        SecretPurpose.EMAIL_UNDO,
        user.id,
        col(OneTimeSecret.address_canonical) == address.canonical,
    )
    users.expire_password(session, user.id)
    view = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, view, fields="email")
    revoke_everything(session, view)
    if user.provider != "local":
        return UndoneChange(address.entered, None)
    reset_secret = issue_secret(
        session, SecretPurpose.PASSWORD_RESET, user.id, address, is_mailed=False
    )
    return UndoneChange(address.entered, reset_secret)
