"""Deleting an account: its access ends at once, and its data after a time of grace.

Until then a mailed link restores it, so that neither a stolen session nor a mistake destroys what
cannot be made again. `accounts.jobs.erasure` erases it afterwards.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlmodel import col, select

from accounts.errors import NotFound, SecretInvalid
from accounts.services.credentials import revoke_everything
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import (
    SecretPurpose,
    is_redeemable,
    issue_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.services.user_views import UserView, find_user_view
from accounts.values.email_address import Address
from models import OneTimeSecret, User

#: Pending acts that end with the account. An undo link stays: whoever took the account may have
#: deleted it.
_ENDED = (
    SecretPurpose.EMAIL_CHANGE,
    SecretPurpose.EMAIL_VERIFICATION,
    SecretPurpose.PASSWORD_RESET,
)


def delete_account(session: AccountSession, user: UserView, *, at_once: bool = False) -> datetime:
    """Delete an account, and return the time of its erasure.

    Every credential ends. A link to restore the account is mailed to the address that it owns, and
    to each former one that can still undo a change: the present one may be an attacker's. A second
    deletion changes nothing; only an operator deletes `at_once`, without a link.
    """
    lock_account(session, user.user_id)
    account = session.get_one(User, user.user_id, populate_existing=True)
    if account.deletion_due_at is not None and not at_once:
        return account.deletion_due_at
    due_at = session.now if at_once else session.now + session.limits.deletion_grace
    revoke_everything(session, user)
    for purpose in (*_ENDED, SecretPurpose.ACCOUNT_RESTORATION):
        supersede_secrets(session, purpose, user.user_id)
    account.deletion_due_at = due_at
    session.add(account)
    session.flush()
    record_event(session, EventKind.USER_ARCHIVED, user, act="account_deleted")
    if not at_once:
        for address in _addresses(session, account):
            secret = issue_secret(
                session, SecretPurpose.ACCOUNT_RESTORATION, user.user_id, address, expires_at=due_at
            )
            post_message(
                session,
                MessageKind.ACCOUNT_DELETED,
                user,
                to=address.entered,
                secret=secret,
                until=due_at.isoformat(),
            )
    return due_at


def restore_account(session: AccountSession, secret: str) -> UserView:
    """Restore a deleted account by the mailed secret; its former credentials stay ended.

    An account that an operator has disabled stays disabled.

    Raises:
        SecretInvalid: There is no such secret, or the account was erased.
        SecretUsed: It was used before.
        SecretExpired: The time of grace is over.
        SecretSuperseded: The account was restored otherwise.
        Forbidden: A policy forbids it; the secret stays valid.
    """
    pending = redeem_secret(session, SecretPurpose.ACCOUNT_RESTORATION, secret)
    account = session.get_one(User, pending.user_id, populate_existing=True)
    if account.deletion_due_at is None:
        raise SecretInvalid
    return _restore(session, account)


def restore_user(session: AccountSession, user_id: str) -> UserView:
    """Restore a deleted account at the word of an operator.

    Raises:
        NotFound: The account is not deleted.
    """
    lock_account(session, user_id)
    account = session.get(User, user_id, populate_existing=True)
    if account is None or account.deletion_due_at is None:
        raise NotFound
    return _restore(session, account)


def _restore(session: AccountSession, account: User) -> UserView:
    account.deletion_due_at = None
    session.add(account)
    supersede_secrets(session, SecretPurpose.ACCOUNT_RESTORATION, account.id)
    user = find_user_view(session, account.id)
    record_event(session, EventKind.USER_UPDATED, user, fields="deletion_due_at")
    return user


def _addresses(session: AccountSession, account: User) -> Iterator[Address]:
    """Yield the address that the account owns, and those that can undo a change."""
    yield Address(account.email, account.email_canonical)
    former = (
        select(OneTimeSecret.address, OneTimeSecret.address_canonical)
        .where(
            col(OneTimeSecret.user_id) == account.id,
            col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
            col(OneTimeSecret.address_canonical) != account.email_canonical,
            *is_redeemable(session.now),
        )
        .distinct()
    )
    found = {canonical: entered for entered, canonical in session.exec(former).all()}
    for canonical, entered in found.items():
        yield Address(entered, canonical)
