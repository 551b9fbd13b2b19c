"""The networks that accounts are logged in from, and what their owners are told of logins.

A row stands for one account and one network, whether or not there is such an account: a failed
login costs the same statements in either case (LG-02). No row contains an address.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.services.database import AccountSession
from accounts.services.mail.outbox import MessageKind, post_message, post_notification
from accounts.services.recovery_address import recovery_address
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values import email_address
from accounts.values.clock_skew import MAX_CLOCK_DIFFERENCE
from accounts.values.networks import network_of
from models import LoginNetwork, Tenant, User
from models.columns import UtcDateTime

_DAY = timedelta(days=1)
_BATCH = 50
#: Failed logins of a day that the owner of an account is told of. Fewer are mostly typing errors.
_MANY_FAILURES = 5

_TIMES = (bindparam("now", type_=UtcDateTime), bindparam("yesterday", type_=UtcDateTime))

_NOTE_FAILURE = text(
    """
    INSERT INTO login_network (name_digest, user_id, failures, failed_since, changed_at)
    VALUES (:name, :user_id, 1, :now, :now)
    ON CONFLICT (name_digest) DO UPDATE SET
        failures = CASE WHEN login_network.failed_since > :yesterday
                   THEN login_network.failures + 1 ELSE 1 END,
        failed_since = CASE WHEN login_network.failed_since > :yesterday
                       THEN login_network.failed_since ELSE :now END,
        changed_at = :now
    """
).bindparams(*_TIMES)

_NOTE_SUCCESS = text(
    """
    INSERT INTO login_network (name_digest, user_id, failures, succeeded_at, changed_at)
    VALUES (:name, :user_id, 0, :now, :now)
    ON CONFLICT (name_digest) DO UPDATE SET
        failures = 0, failed_since = NULL, succeeded_at = :now, changed_at = :now
    """
).bindparams(_TIMES[0])


def note_failed_login(session: AccountSession, user_id: str | None, email: str) -> None:
    """Count a failed login; `user_id` is None if the address has no account.

    To be called in a transaction that is committed although the login is refused.
    """
    name = _name(session, user_id or email_address.canonical(email) or email)
    session.core.execute(
        _NOTE_FAILURE,
        {
            "name": session.keys.digest(Purpose.ATTEMPTS, name),
            "user_id": user_id,
            "now": session.now,
            "yesterday": session.now - _DAY,
        },
    )


def note_login(session: AccountSession, user_id: str) -> bool:
    """Remember the network of a login or signup, and forget failures from there.

    Returns whether the account was not used from this network within 30 days. Without a client
    address it is False.
    """
    if session.origin.address is None:
        return False
    # The row may have been written under a former root secret.
    digests = session.keys.digests(Purpose.ATTEMPTS, _name(session, user_id))
    known = session.core.execute(
        update(LoginNetwork)
        .where(
            col(LoginNetwork.name_digest).in_(digests),
            col(LoginNetwork.succeeded_at) >= session.now - session.limits.known_source_lifetime,
        )
        .values(failures=0, failed_since=None, succeeded_at=session.now, changed_at=session.now)
    )
    if known.rowcount:
        return False
    session.core.execute(
        _NOTE_SUCCESS, {"name": digests[0], "user_id": user_id, "now": session.now}
    )
    return True


def notify_of_new_network(session: AccountSession, user: UserView) -> None:
    """Tell the owner of an account of a login from a new network (LG-15)."""
    post_notification(session, MessageKind.NEW_LOGIN, user)


def mail_failed_logins(session: AccountSession) -> int:
    """Tell the owners of accounts of many failed logins; returns how many (LG-15).

    Each is told at most once a day, at the recovery address. A job does this and not the login:
    its time must not reveal whether there is an account.
    """
    # Not the column: by its index SQLite would read every row, and not those of a day.
    owner = func.coalesce(col(LoginNetwork.user_id), literal_column("''"))
    failed = (
        select(owner, func.sum(col(LoginNetwork.failures)), func.count())
        .join(User, col(User.id) == col(LoginNetwork.user_id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            col(LoginNetwork.failed_since) > session.now - _DAY, ENABLED, ~_was_notified(session)
        )
        .group_by(owner)
        .having(func.sum(col(LoginNetwork.failures)) >= _MANY_FAILURES)
        .limit(_BATCH)
    )
    users: Sequence[Any] = session.core.execute(failed).all()
    for user_id, failures, networks in users:
        post_message(
            session,
            MessageKind.FAILED_LOGINS,
            find_user_view(session, user_id),
            to=recovery_address(session, user_id).entered,
            failures=str(failures),
            networks=str(networks),
        )
        session.core.execute(
            update(LoginNetwork)
            .where(col(LoginNetwork.user_id) == user_id)
            .values(failures=0, failed_since=None, notified_at=session.now, changed_at=session.now)
        )
    return len(users)


def delete_old_networks(session: AccountSession) -> int:
    """Delete networks without a login within 30 days and without a failure within a day."""
    long_ago = session.now - session.limits.known_source_lifetime
    succeeded_at = col(LoginNetwork.succeeded_at)
    return session.core.execute(
        delete(LoginNetwork).where(
            col(LoginNetwork.changed_at) < session.now - _DAY,
            or_(succeeded_at.is_(None), succeeded_at < long_ago),
        )
    ).rowcount


def _was_notified(session: AccountSession) -> ColumnElement[bool]:
    """Return the condition that the user was told of failed logins within a day.

    A time that is further ahead was written while the clock was wrong (OP-10).
    """
    other: Any = aliased(LoginNetwork)
    latest = session.now + MAX_CLOCK_DIFFERENCE
    return exists().where(
        other.user_id == col(LoginNetwork.user_id),
        other.notified_at.between(session.now - _DAY, latest),
    )


def _name(session: AccountSession, account: str) -> str:
    address = session.origin.address
    return f"login-network|{network_of(address) if address else 'unknown'}|{account}"
