"""Deleting records that were revoked, used or expired longer ago than the retention time.

Until then users and operators can still ask about them. Security events stay until an operator
archives them (LO-04).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, update
from sqlmodel import col, select

from accounts.services.credentials import REVOCABLE
from accounts.services.database import AccountSession
from accounts.services.idle_sessions import idle_since, used_after
from models import (
    Client,
    LoginSession,
    OneTimeSecret,
    OutboxMessage,
    PersonalAccessToken,
    RefreshToken,
)

_BATCH = 500


def delete_expired_records(session: AccountSession, *, at_most: int = _BATCH) -> int:
    """Delete one part of the records that ended before the retention time; returns how many.

    For a job that repeats it until nothing is left, so that other writers wait for one part only.
    A used refresh token stays as long as its family is usable, since a second use of it must be
    detected (RFC 9700 section 4.14.2).
    """
    before = session.now - session.limits.retention
    ended = {type_.table: _ended(type_.table, before) for type_ in REVOCABLE}
    # A session stays until every row that refers to it is deleted, which may take several parts.
    refers_to_it = col(RefreshToken.session_id) == col(LoginSession.id)
    ended[LoginSession] &= ~select(RefreshToken.id).where(refers_to_it).exists()
    ended_sessions = select(LoginSession.id).where(_ended(LoginSession, before))
    ended[RefreshToken] |= col(RefreshToken.session_id).in_(ended_sessions)
    over = {
        **dict(reversed(ended.items())),
        OneTimeSecret: _past(before, OneTimeSecret.used_at, OneTimeSecret.superseded_at)
        | (col(OneTimeSecret.expires_at) < before),
        OutboxMessage: _past(before, OutboxMessage.delivered_at, OutboxMessage.gave_up_at),
        Client: _past(before, Client.removed_at) & ~_is_referred_to(),
    }
    return sum(_delete(session, table, is_over, at_most) for table, is_over in over.items())


def revoke_idle_sessions(session: AccountSession, *, at_most: int = _BATCH) -> int:
    """Revoke some sessions that have ended by idling; returns how many.

    They are rejected since then. Revoked, they stay so when the idle timeout is raised, and are
    deleted after the retention time.
    """
    if session.limits.session_idle_timeout is None:
        return 0
    has_ended = ~used_after(idle_since(session.limits, session.now))
    ids = session.exec(
        select(LoginSession.id)
        .where(col(LoginSession.revoked_at).is_(None), has_ended)
        .limit(at_most)
    ).all()
    return session.core.execute(
        update(LoginSession)
        .where(col(LoginSession.id).in_(ids), has_ended)
        .values(revoked_at=session.now)
    ).rowcount


def _is_referred_to() -> ColumnElement[bool]:
    """Return the condition that a token was issued through a client, and is not deleted yet."""
    return or_(
        *(
            select(table.id).where(col(table.client_id) == col(Client.id)).exists()
            for table in (PersonalAccessToken, RefreshToken)
        )
    )


def _ended(table: Any, before: datetime) -> ColumnElement[bool]:
    return or_(_past(before, table.revoked_at), table.expires_at < before)


def _past(before: datetime, *times: datetime | None) -> ColumnElement[bool]:
    """Return the condition that one of these columns is earlier; null never is."""
    return or_(*(col(time) < before for time in times))


def _delete(session: AccountSession, table: Any, is_over: ColumnElement[bool], at_most: int) -> int:
    """Delete at most `at_most` of the rows that are over."""
    ids: Sequence[str] = (
        session.core.execute(select(table.id).where(is_over).limit(at_most)).scalars().all()
    )
    if not ids:
        return 0
    return session.core.execute(delete(table).where(table.id.in_(ids))).rowcount
