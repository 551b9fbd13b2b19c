"""Changing the e-mail address: requested by one secret, done by another hand that has it."""

from sqlalchemy import update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.errors import SecretInvalid
from accounts.services import throttling, users
from accounts.services.credentials import REFRESH_TOKEN, SESSION, revoke_all
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_pending_address,
    is_pending,
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
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values import email_address
from accounts.values.email_address import Address
from models import OneTimeSecret, Tenant, User

__all__ = [
    "find_pending_email",
    "request_email_change",
    "undo_email_change",
    "validate_email_change",
]


def request_email_change(
    session: AccountSession, user: UserView, email: str
) -> tuple[str, str | None]:
    """Start a change; returns the address as it will be, and the secret that completes it.

    The caller mails the secret, as the Hantera page has it, unless the rules let the service mail
    it; then there is none for the caller. In either case the recovery address is told, and
    given what undoes the change for seven days: not an unverified one, which may be a thief's. For
    an address that another account has, all looks the same, but the secret will never validate, and
    it is that account that is told (EM-13).

    Raises:
        InvalidRequest: It is not an e-mail address.
        TooManyAttempts: One of the two was mailed too often, or the source asked too often.
    """
    address = email_address.parse_address(email)
    lock_account(session, user.user_id)
    throttling.consume_mail(session, address.canonical, SecretPurpose.EMAIL_CHANGE)
    told = recovery_address(session, user.user_id)
    throttling.consume_notification(session, user.user_id, MessageKind.EMAIL_CHANGE_NOTICE)
    record_event(session, EventKind.USER_UPDATED, user, fields="pending_email")
    mailed = session.limits.service_mails_email_changes
    secret = issue_secret(
        session, SecretPurpose.EMAIL_CHANGE, user.user_id, address, is_mailed=mailed
    )
    undo = issue_secret(session, SecretPurpose.EMAIL_UNDO, user.user_id, told)
    if users.is_taken(session, address.canonical, by_other_than=user.user_id):
        owner = users.find_owner(session, address.canonical)
        if owner is not None:
            post_message(
                session, MessageKind.EMAIL_ALREADY_IN_USE, find_user_view(session, owner.id)
            )
        # The row keeps the digest of a secret that nobody was given.
        secret = tokens.mint(tokens.ONE_TIME_SECRET)
    elif mailed:
        post_message(
            session,
            MessageKind.EMAIL_CHANGE_CONFIRMATION,
            user,
            to=address.entered,
            secret=secret,
            identity_id=user.identity_id,
        )
    # Told in any case: an address that is taken must not be told from one that is free.
    post_message(
        session,
        MessageKind.EMAIL_CHANGE_NOTICE,
        user,
        to=told.entered,
        new_address=address.entered,
        secret=undo,
    )
    return address.entered, None if mailed else secret


def find_pending_email(session: AccountSession, user_id: str) -> str | None:
    """The address of the user's pending change, if there is one."""
    return find_pending_address(session, SecretPurpose.EMAIL_CHANGE, user_id)


def validate_email_change(session: AccountSession, *, identity_id: str, secret: str) -> str:
    """Complete a change by its secret; returns the address that the account has now.

    The new address counts as verified if this service mailed the secret there, and not if a client
    did: that it was mailed is its word only. Until it is verified, a reset of the password goes to
    the address that was verified last.

    Raises:
        SecretInvalid: It is not a secret of this person's, or the address was taken meanwhile.
        SecretUsed: It was used before.
        SecretExpired: It is older than 24 hours.
        SecretSuperseded: A later request or a change of the password ended it.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    user = _find_user(session, pending)
    named = user is not None and user.uuid == identity_id.lower()
    if (
        user is None
        or not named
        or users.is_taken(session, pending.address_canonical, by_other_than=pending.user_id)
    ):
        raise SecretInvalid
    address = Address(pending.address, pending.address_canonical)
    if pending.is_mailed:
        accept_verification(session, user, address)
    else:
        _set_address(session, user, address)
    supersede_secrets(session, SecretPurpose.EMAIL_VERIFICATION, user.id)
    record_event(
        session, EventKind.USER_UPDATED, find_user_view(session, pending.user_id), fields="email"
    )
    return pending.address


def undo_email_change(session: AccountSession, secret: str) -> str:
    """Undo a change by what an address was mailed; returns that address, which is back.

    It is as verified as it was when the change was asked for. Whoever asks for it did not ask for
    the change, so somebody else is logged in: every session ends, and with it its JWTs and refresh
    tokens. A change that is pending ends as well.

    Raises:
        SecretInvalid: No such secret, its owner is disabled, or another account has the address.
        SecretUsed: It was used before.
        SecretExpired: It is older than seven days.
        SecretSuperseded: What was told of an earlier change was used since, or read.
    """
    pending = redeem_secret(session, SecretPurpose.EMAIL_UNDO, secret)
    user = _find_user(session, pending)
    if user is None or users.is_taken(
        session, pending.address_canonical, by_other_than=pending.user_id
    ):
        raise SecretInvalid
    supersede_secrets(session, SecretPurpose.EMAIL_CHANGE, user.id)
    restore_address(session, user, Address(pending.address, pending.address_canonical))
    _end_later_undos(session, pending)
    view = find_user_view(session, user.id)
    record_event(session, EventKind.USER_UPDATED, view, fields="email")
    revoke_all(session, view, [SESSION, REFRESH_TOKEN])
    return pending.address


def _end_later_undos(session: AccountSession, used: OneTimeSecret) -> None:
    """End what is about changes that came later, and are undone with the earlier one.

    Earlier ones stay: they were mailed to whoever had the account before.
    """
    session.core.execute(
        update(OneTimeSecret)
        .where(
            col(OneTimeSecret.user_id) == used.user_id,
            col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
            col(OneTimeSecret.created_at) > used.created_at,
            *is_pending(),
        )
        .values(superseded_at=session.now)
    )


def _find_user(session: AccountSession, pending: OneTimeSecret) -> User | None:
    """The enabled user whom a secret is of."""
    return session.exec(
        select(User)
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            col(User.id) == pending.user_id,
            ENABLED,
        )
    ).first()


def _set_address(session: AccountSession, user: User, address: Address) -> None:
    """Put an address there that nobody has shown to read; another spelling is still the same."""
    values: dict[str, object] = {"email": address.entered, "email_canonical": address.canonical}
    if user.email_canonical != address.canonical:
        values["email_verified_at"] = None
    elif user.email_verified_at is not None:
        values["verified_email"] = address.entered
    session.core.execute(update(User).where(col(User.id) == user.id).values(**values))
