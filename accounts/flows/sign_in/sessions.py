"""Logging in and out, and the sessions between."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlmodel import col

from accounts.crypto import password_hashing, tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidCredentials
from accounts.services import throttling
from accounts.services.credentials import SESSION, is_live, revoke, revoke_all
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.principal import Principal
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values import email_address, password_strength
from accounts.values.identifiers import new_id
from models import LoginSession, PasswordRecord, Tenant, User

__all__ = [
    "ListedSession",
    "OpenedSession",
    "list_sessions",
    "log_in",
    "log_out",
    "open_session",
    "revoke_other_sessions",
    "revoke_session",
]


class ListedSession(NamedTuple):
    """A live session, as its owner sees it."""

    id: str
    user_agent: str | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


_LIVE = (
    select(*columns_of(LoginSession, ListedSession))
    .where(
        col(LoginSession.user_id) == bindparam("user_id"), is_live(LoginSession, bindparam("now"))
    )
    .order_by(col(LoginSession.created_at).desc(), col(LoginSession.id))
)


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new session; the token is known here and never again."""

    user: UserView
    session_id: str
    token: str
    expires_at: datetime


def log_in(
    session: AccountSession, *, email: str, password: str, user_agent: str | None
) -> OpenedSession:
    """Open a session for whoever knows the password of this address.

    An unknown address, a disabled account and one whose password is kept elsewhere cost one hash
    like any other, and are refused alike (LG-01, LG-02). A failed attempt leaves a count and no
    event: it is nobody's.

    Raises:
        TooManyAttempts: The account or the source has failed too often.
        InvalidCredentials: No enabled local user has this address and this password.
    """
    user_id, record = _find_password(session, email)
    # By the person and not by the address, which whoever has a session could change in between.
    reservation = throttling.reserve_attempt(
        session,
        throttling.RateLimitScope.PASSWORD,
        user_id or email_address.canonical(email) or email,
    )
    entered = password_strength.normalise(password)
    renewed = None
    with session.outside_transaction():
        cost = session.limits.password_cost
        known = password_hashing.verify(entered, record, session.keys, cost)
        if (
            known
            and entered
            and record
            and password_hashing.needs_rehash(record, session.keys, cost)
        ):
            renewed = password_hashing.hash_password(entered, session.keys, cost)
    if user_id is not None:
        lock_account(session, user_id)
    # Read again: the password may have been changed, or the user disabled, during the hash.
    if not known or user_id is None or _find_password(session, email) != (user_id, record):
        raise InvalidCredentials
    if renewed is not None:
        session.core.execute(
            update(PasswordRecord)
            .where(col(PasswordRecord.user_id) == user_id)
            .values(record=renewed)
        )
    throttling.refund_attempt(session, reservation)
    opened = open_session(session, user_id, user_agent=user_agent)
    failures = reservation.failures
    record_event(
        session,
        EventKind.LOGIN_SUCCESS_AFTER_FAIL if failures else EventKind.LOGIN_SUCCESS,
        opened.user,
        session_id=opened.session_id,
        failures=failures,
    )
    return opened


def _find_password(session: AccountSession, email: str) -> tuple[str | None, str | None]:
    """The id and the password record of the enabled local user with this address, or two Nones."""
    row = session.core.execute(
        select(col(User.id), col(PasswordRecord.record))
        .join(PasswordRecord, col(PasswordRecord.user_id) == col(User.id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            # Nobody has an empty one; of None it would be another statement, and over all users.
            col(User.email_canonical) == (email_address.canonical(email) or ""),
            col(User.provider) == "local",
            ENABLED,
        )
    ).first()
    return (row[0], row[1]) if row else (None, None)


def open_session(
    session: AccountSession, user_id: str, *, user_agent: str | None = None
) -> OpenedSession:
    """Open a session for a user who has proved who they are.

    Past the largest number of sessions the oldest ends: refusing the login instead would let a
    thief who logs in often enough keep the owner out.
    """
    lock_account(session, user_id)
    oldest = list_sessions(session, user_id)[session.limits.max_sessions - 1 :]
    if oldest:
        session.core.execute(
            update(LoginSession)
            .where(col(LoginSession.id).in_([each.id for each in oldest]))
            .values(revoked_at=session.now)
        )
    token = tokens.mint(tokens.SESSION)
    expires_at = session.now + session.limits.session_lifetime
    session_id = new_id("ses_")
    session.add(
        LoginSession(
            id=session_id,
            user_id=user_id,
            token_digest=session.keys.digest(Purpose.SESSION, token),
            key_id=session.keys.key_id,
            user_agent=user_agent,
            created_at=session.now,
            expires_at=expires_at,
        )
    )
    user = find_user_view(session, user_id)
    record_event(session, EventKind.SESSION_CREATED, user, session_id=session_id)
    return OpenedSession(user, session_id, token, expires_at)


def list_sessions(session: AccountSession, user_id: str) -> Sequence[ListedSession]:
    """The live sessions of a user, newest first."""
    found = session.rows(_LIVE, {"user_id": user_id, "now": session.now})
    return [ListedSession._make(row) for row in found]


def log_out(session: AccountSession, principal: Principal) -> None:
    """End the session that the principal was recognised by."""
    revoke_session(session, principal.user, principal.credential.id)


def revoke_session(session: AccountSession, user: UserView, session_id: str) -> None:
    """End one of the person's sessions, and with it the JWTs and refresh tokens made of it.

    Raises:
        NotFound: The user has no live session of this id.
    """
    revoke(session, user, SESSION, session_id)


def revoke_other_sessions(session: AccountSession, principal: Principal) -> None:
    """End every session of the person but the one that the principal was recognised by."""
    revoke_all(session, principal.user, [SESSION], except_id=principal.credential.session_id)
