"""What has ended is kept for a while, so that people and operators can ask about it, and no longer.

Security events are no part of it: they are only ever added (LO-04).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, or_
from sqlmodel import col, select

from accounts.services.credentials import REVOCABLE
from accounts.services.database import AccountSession
from models import LoginSession, OneTimeSecret, OutboxMessage, RefreshToken

__all__ = ["delete_expired_records"]

_BATCH = 500


def delete_expired_records(session: AccountSession, *, at_most: int = _BATCH) -> int:
    """Delete what ended longer ago than is set, a bounded part of it; returns how many rows.

    For a job that goes on while there is something: nobody waits for longer than one part takes.
    A used refresh token stays as long as its family could be used, since a second use of it has to
    be noticed (RFC 9700 section 4.14.2).
    """
    before = session.now - session.limits.retention
    ended = {type_.table: _ended(type_.table, before) for type_ in REVOCABLE}
    # A session stays until all that refers to it is deleted, which may take more than one part.
    refers_to_it = col(RefreshToken.session_id) == col(LoginSession.id)
    ended[LoginSession] &= ~select(RefreshToken.id).where(refers_to_it).exists()
    ended_sessions = select(LoginSession.id).where(_ended(LoginSession, before))
    ended[RefreshToken] |= col(RefreshToken.session_id).in_(ended_sessions)
    over = {
        **dict(reversed(ended.items())),
        OneTimeSecret: _past(before, OneTimeSecret.used_at, OneTimeSecret.superseded_at)
        | (col(OneTimeSecret.expires_at) < before),
        OutboxMessage: _past(before, OutboxMessage.delivered_at, OutboxMessage.gave_up_at),
    }
    return sum(_delete(session, table, is_over, at_most) for table, is_over in over.items())


def _ended(table: Any, before: datetime) -> ColumnElement[bool]:
    return or_(_past(before, table.revoked_at), table.expires_at < before)


def _past(before: datetime, *moments: datetime | None) -> ColumnElement[bool]:
    """Whether one of the moments is past; null is none."""
    return or_(*(col(moment) < before for moment in moments))


def _delete(session: AccountSession, table: Any, is_over: ColumnElement[bool], at_most: int) -> int:
    """Delete the rows that are over, or as many as go in one part."""
    ids: Sequence[str] = (
        session.core.execute(select(table.id).where(is_over).limit(at_most)).scalars().all()
    )
    if not ids:
        return 0
    return session.core.execute(delete(table).where(table.id.in_(ids))).rowcount
