"""Reading one's own security events, a page at a time."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, tuple_
from sqlmodel import col

from accounts.crypto.keyring import Purpose, SealBroken
from accounts.errors import InvalidRequest
from accounts.services.database import AccountSession, columns_of
from models import SecurityEvent
from models.columns import UtcDateTime

__all__ = ["EventPage", "ListedEvent", "list_events"]


class ListedEvent(NamedTuple):
    """An event, as its owner sees it."""

    id: str
    kind: str
    occurred_at: datetime
    source: str | None
    credential_kind: str | None
    credential_id: str | None
    details: dict[str, Any]


_PLACE = (col(SecurityEvent.occurred_at), col(SecurityEvent.id))
_NEWEST = (
    select(*columns_of(SecurityEvent, ListedEvent))
    .where(col(SecurityEvent.user_id) == bindparam("user_id"))
    .order_by(*(column.desc() for column in _PLACE))
    .limit(bindparam("at_most"))
)
_OLDER = _NEWEST.where(
    tuple_(*_PLACE) < tuple_(bindparam("moment", type_=UtcDateTime), bindparam("event_id"))
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, newest first; `next_cursor` leads to older ones, and is None at the end."""

    events: Sequence[ListedEvent]
    next_cursor: str | None


def list_events(
    session: AccountSession, user_id: str, *, limit: int, cursor: str | None
) -> EventPage:
    """List the events of a user, newest first, from the start or from where a page ended.

    A page goes on after an event, not after a number of events: what happens between two pages
    neither repeats an older event nor hides one. `limit` is at least 1, and the document bounds it.

    Raises:
        InvalidRequest: The cursor is not one that this user was given.
    """
    # One more than was asked for, to know whether there is another page without counting them.
    key = {"user_id": user_id, "at_most": limit + 1}
    if cursor is None:
        rows = session.rows(_NEWEST, key)
    else:
        moment, event_id = _open(session, user_id, cursor)
        rows = session.rows(_OLDER, {**key, "moment": moment, "event_id": event_id})
    found = [ListedEvent._make(row) for row in rows]
    events = found[:limit]
    more = len(found) > limit
    return EventPage(events, _seal(session, user_id, events[-1]) if more else None)


def _seal(session: AccountSession, user_id: str, last: ListedEvent) -> str:
    """Make the cursor that follows an event: 136 characters that tell nothing (HT-20)."""
    place = f"{last.occurred_at.isoformat(timespec='microseconds')}|{last.id}"
    return _encode(session.keys.seal(Purpose.CURSOR, place, _bound_to(user_id)))


def _open(session: AccountSession, user_id: str, cursor: str) -> tuple[datetime, str]:
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        # The reader also takes + and /, and drops spare bits: other spellings of the same cursor.
        if _encode(sealed) != cursor:
            raise SealBroken  # noqa: TRY301 # it is refused like any other that we did not make
        place = session.keys.open(Purpose.CURSOR, sealed, _bound_to(user_id))
    except (ValueError, SealBroken):
        raise InvalidRequest.of("cursor", "must be a cursor of an earlier page") from None
    moment, event_id = place.split("|")
    return datetime.fromisoformat(moment), event_id


def _bound_to(user_id: str) -> str:
    # With the name of the list: a cursor of another list of the same user is foreign here too.
    return f"events|{user_id}"


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
