"""Mail about addresses: is a claimed one the reader's, and can a changed one be undone."""

from collections.abc import Mapping
from operator import attrgetter

from sqlmodel import col, select

from accounts.errors import TooManyAttempts
from accounts.services import users
from accounts.services.database import AccountSession, lock_account
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_address_changes,
    is_link_due,
    is_redeemable,
    issue_secret,
)
from accounts.services.throttling import consume_notification
from accounts.services.user_views import find_user_view
from accounts.values.email_address import Address, mask
from models import OneTimeSecret, User

_MOST_CLAIMS = 5


def identify_account(user: User) -> Mapping[str, str]:
    """Return what names an account in a mail to an address that it does not own.

    Its own address, masked, and the day it was opened; no text that its user has written.
    """
    return {"account": mask(user.email), "opened_at": user.created_at.isoformat()}


def shown_address(user: User) -> Address:
    """Return the address that a user claims, else the one that they own."""
    return Address(
        user.claimed_email or user.email, user.claimed_email_canonical or user.email_canonical
    )


def mail_verification(session: AccountSession, user: User) -> None:
    """Mail a secret to the address that the user shows, by which its reader can verify it.

    The reader of a claimed address can release it instead. If another account owns that address,
    the mail goes to its owner, who can only release it; the claimant cannot tell the difference
    (EM-13). Nothing is mailed while an earlier secret serves, or if too many accounts claim the
    address. To be called while the account is locked.
    """
    address = shown_address(user)
    if not is_link_due(session, SecretPurpose.EMAIL_VERIFICATION, user.id, address):
        return
    if user.claimed_email is not None:
        try:
            consume_notification(session, address.canonical, SecretPurpose.EMAIL_VERIFICATION)
        except TooManyAttempts:
            return
    secret = issue_secret(session, SecretPurpose.EMAIL_VERIFICATION, user.id, address)
    is_claim = user.claimed_email is not None
    ask_reader(
        session,
        MessageKind.EMAIL_VERIFICATION,
        user,
        address,
        is_taken=is_claim and users.is_held(session, address.canonical, by_other_than=user.id),
        secret=secret,
        **(identify_account(user) if is_claim else {}),
    )


def ask_reader(
    session: AccountSession,
    kind: MessageKind,
    user: User,
    address: Address,
    *,
    is_taken: bool,
    **parameters: str,
) -> None:
    """Mail the reader of an address about a user's account; the owner of a taken one can refuse."""
    reader = user
    if is_taken:
        kind = MessageKind.EMAIL_ALREADY_IN_USE
        reader = users.find_owner(session, address.canonical) or user
    post_message(
        session,
        kind,
        find_user_view(session, reader.id),
        to=address.entered if reader is user else reader.email,
        **parameters,
    )


def mail_claim(session: AccountSession, user: User) -> None:
    """Ask the reader of the claimed address, if any; nothing is mailed while a secret serves."""
    if user.claimed_email is not None:
        mail_verification(session, user)


def mail_claims_of(session: AccountSession, canonical: str) -> None:
    """Ask the reader of an address about the accounts that claim it."""
    claimants = session.exec(
        select(User).where(col(User.claimed_email_canonical) == canonical).limit(_MOST_CLAIMS)
    )
    for user in claimants.all():
        lock_account(session, user.id)
        mail_claim(session, session.get_one(User, user.id, populate_existing=True))


def mail_undo_again(session: AccountSession, canonical: str) -> None:
    """Mail a further undo link to a former address; it expires when the present one does.

    For users who ask for a reset with an address that was taken from their account.
    """
    undos = session.exec(
        select(OneTimeSecret)
        .join(User, col(User.id) == col(OneTimeSecret.user_id))
        .where(
            col(OneTimeSecret.address_canonical) == canonical,
            col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
            col(User.email_canonical) != canonical,
            *is_redeemable(session.now),
        )
    ).all()
    if not undos:
        return
    undo = max(undos, key=attrgetter("expires_at"))
    lock_account(session, undo.user_id)
    address = Address(undo.address, undo.address_canonical)
    if not is_link_due(session, SecretPurpose.EMAIL_UNDO, undo.user_id, address):
        return
    secret = issue_secret(
        session, SecretPurpose.EMAIL_UNDO, undo.user_id, address, expires_at=undo.expires_at
    )
    user = session.get_one(User, undo.user_id, populate_existing=True)
    post_message(
        session,
        MessageKind.EMAIL_CHANGE_NOTICE,
        find_user_view(session, user.id),
        to=undo.address,
        new_address=user.email,
        secret=secret,
    )


def tell_of_undo(session: AccountSession, user_id: str) -> None:
    """Tell the reader of a newly owned address until when the account can be taken back."""
    undo = find_address_changes(session, user_id).undo
    if undo is not None:
        post_message(
            session,
            MessageKind.EMAIL_CHANGED,
            find_user_view(session, user_id),
            former_address=mask(undo.address),
            until=undo.until.isoformat(),
        )
