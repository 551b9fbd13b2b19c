"""Listing a user's own security events in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, tuple_
from sqlmodel import col

from accounts.crypto.jwt_claims import decode_base64url, encode_base64url
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.errors import InvalidRequest
from accounts.services.database import AccountSession, columns_of
from models import SecurityEvent
from models.columns import UtcDateTime


class ListedEvent(NamedTuple):
    """An event, as its owner sees it."""

    id: str
    kind: str
    occurred_at: datetime
    source: str | None
    credential_kind: str | None
    credential_id: str | None
    details: dict[str, Any]


_POSITION = (col(SecurityEvent.occurred_at), col(SecurityEvent.id))
_NEWEST = (
    select(*columns_of(SecurityEvent, ListedEvent))
    .where(col(SecurityEvent.user_id) == bindparam("user_id"))
    .order_by(*(column.desc() for column in _POSITION))
    .limit(bindparam("at_most"))
)
_OLDER = _NEWEST.where(
    tuple_(*_POSITION) < tuple_(bindparam("moment", type_=UtcDateTime), bindparam("event_id"))
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first; `next_cursor` leads to older ones, and is None on the last page."""

    events: Sequence[ListedEvent]
    next_cursor: str | None


def list_events(
    session: AccountSession, user_id: str, *, limit: int, cursor: str | None
) -> EventPage:
    """List the events of a user, newest first, from the start or after the page of a cursor.

    A page continues after an event and not after a number of events: events between two requests
    neither repeat an older event nor hide one. `limit` is at least 1; the document bounds it.

    Raises:
        InvalidRequest: The cursor was not issued to this user.
    """
    # One more than requested, to know whether there is another page.
    key = {"user_id": user_id, "at_most": limit + 1}
    if cursor is None:
        rows = session.rows(_NEWEST, key)
    else:
        occurred_at, event_id = _open(session, user_id, cursor)
        rows = session.rows(_OLDER, {**key, "moment": occurred_at, "event_id": event_id})
    events = [ListedEvent._make(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return EventPage(events, _seal(session, user_id, events[-1]) if has_more else None)


def _seal(session: AccountSession, user_id: str, last: ListedEvent) -> str:
    """Return the cursor that continues after an event: 136 opaque characters (HT-20)."""
    position = f"{last.occurred_at.isoformat(timespec='microseconds')}|{last.id}"
    return encode_base64url(session.keys.seal(Purpose.CURSOR, position, _bound_to(user_id)))


def _open(session: AccountSession, user_id: str, cursor: str) -> tuple[datetime, str]:
    try:
        position = session.keys.open(Purpose.CURSOR, decode_base64url(cursor), _bound_to(user_id))
    except (ValueError, SealBroken):
        raise InvalidRequest.of("cursor", "must be a cursor of an earlier page") from None
    occurred_at, event_id = position.split("|")
    return datetime.fromisoformat(occurred_at), event_id


def _bound_to(user_id: str) -> str:
    # Includes the name of the list, so that a cursor of another list of the user is rejected too.
    return f"events|{user_id}"
