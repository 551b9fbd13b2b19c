"""Deleting records that were revoked, used or expired longer ago than the retention time.

Until then users and operators can still ask about them. Security events stay until an operator
archives them (LO-04).

The rows are found by reads in the order of an index, which block no other transaction. Short parts
then delete them: on SQLite, all other writers wait for a part.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, true, update
from sqlmodel import col, select

from accounts.services.credentials import REVOCABLE
from accounts.services.database import AccountSession
from accounts.services.idle_sessions import idle_since, used_after
from models import (
    Client,
    LoginChallenge,
    LoginSession,
    OneTimeSecret,
    OutboxMessage,
    PersonalAccessToken,
    RefreshToken,
)

#: A short transaction; returns how many rows it has changed.
Part = Callable[[AccountSession], int]

#: How many rows one part changes: on SQLite, writers wait for the four index pages of each.
_BATCH = 100
#: How many rows are found at once: by an index, and by reading all sessions.
_AT_MOST, _AT_MOST_IDLE = 1_000, 10_000

#: By table, the times of which the earliest ends a row. Each column has an index.
_ENDS: dict[Any, Sequence[Any]] = {
    **{type_.table: (type_.table.revoked_at, type_.table.expires_at) for type_ in REVOCABLE},
    OneTimeSecret: (OneTimeSecret.used_at, OneTimeSecret.superseded_at, OneTimeSecret.expires_at),
    LoginChallenge: (LoginChallenge.ended_at, LoginChallenge.expires_at),
    OutboxMessage: (OutboxMessage.delivered_at, OutboxMessage.gave_up_at),
    Client: (Client.removed_at,),
}


def find_expired_records(
    session: AccountSession, *, at_most: int = _AT_MOST, batch: int = _BATCH
) -> list[Part]:
    """Return the parts that delete records which ended before the retention time.

    For a job that repeats this until there are none. A used refresh token stays as long as its
    family is usable, since a second use of it must be detected (RFC 9700 section 4.14.2).
    """
    before = session.now - session.limits.retention
    return [
        partial(_delete, table=table, ids=ids, before=before, batch=batch)
        for table in _ENDS
        for ids in _batches(_find(session, table, before, at_most), batch)
    ]


def find_idle_sessions(
    session: AccountSession, *, at_most: int = _AT_MOST_IDLE, batch: int = _BATCH
) -> list[Part]:
    """Return the parts that revoke sessions which have ended by idling.

    They are rejected since then. Revoked, they stay so when the idle timeout is raised, and are
    deleted after the retention time.
    """
    if session.limits.session_idle_timeout is None:
        return []
    is_idle = ~used_after(idle_since(session.limits, session.now))
    found = select(LoginSession.id).where(col(LoginSession.revoked_at).is_(None), is_idle)
    return [
        partial(_revoke_idle, ids=ids, is_idle=is_idle)
        for ids in _batches(session.exec(found.limit(at_most)).all(), batch)
    ]


def _find(session: AccountSession, table: Any, before: datetime, at_most: int) -> list[str]:
    """Return ids of rows that are over, those first that ended first."""
    found: dict[str, None] = {}
    for end in _ENDS[table]:
        # One statement for each index: for an OR, PostgreSQL may read the whole table.
        is_over = (col(end) < before) & _is_deletable(table)
        over = select(table.id).where(is_over).order_by(col(end)).limit(at_most)
        found |= dict.fromkeys(session.exec(over).all())
    return [*found]


def _batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _delete(
    session: AccountSession, *, table: Any, ids: Sequence[str], before: datetime, batch: int
) -> int:
    """Delete those of the rows that are still over."""
    if table is LoginSession:
        tokens = _delete_tokens(session, ids, batch)
        if tokens == batch:
            return tokens  # and there may be more; the sessions are found again after them
    else:
        tokens = 0
    is_over = or_(*(col(end) < before for end in _ENDS[table])) & _is_deletable(table)
    rows = session.core.execute(delete(table).where(table.id.in_(ids), is_over)).rowcount
    return tokens + rows


def _delete_tokens(session: AccountSession, session_ids: Sequence[str], batch: int) -> int:
    """Delete refresh tokens of ended sessions, which ended with these and refer to them."""
    ids = select(RefreshToken.id).where(col(RefreshToken.session_id).in_(session_ids)).limit(batch)
    return session.core.execute(delete(RefreshToken).where(col(RefreshToken.id).in_(ids))).rowcount


def _is_deletable(table: Any) -> ColumnElement[bool]:
    """Return the condition that no token refers to a client; other rows always are."""
    if table is not Client:
        return true()
    return ~or_(
        *(
            select(issued.id).where(col(issued.client_id) == col(Client.id)).exists()
            for issued in (PersonalAccessToken, RefreshToken)
        )
    )


def _revoke_idle(
    session: AccountSession, *, ids: Sequence[str], is_idle: ColumnElement[bool]
) -> int:
    """Revoke those of the sessions that were not used in the meantime."""
    return session.core.execute(
        update(LoginSession)
        .where(col(LoginSession.id).in_(ids), col(LoginSession.revoked_at).is_(None), is_idle)
        .values(revoked_at=session.now)
    ).rowcount
