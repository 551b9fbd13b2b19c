"""Reading one's own security events, a page at a time."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import tuple_
from sqlmodel import col, select

from accounts.database import AccountSession
from accounts.errors import InvalidRequest
from accounts.keyring import Purpose, SealBroken
from models import SecurityEvent

__all__ = ["EventPage", "list_events"]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, newest first; `next_cursor` leads to older ones, and is None at the end."""

    events: Sequence[SecurityEvent]
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
    place = (col(SecurityEvent.occurred_at), col(SecurityEvent.id))
    newest_first = (
        select(SecurityEvent)
        .where(col(SecurityEvent.user_id) == user_id)
        .order_by(*(column.desc() for column in place))
        .limit(limit + 1)
    )
    if cursor is not None:
        newest_first = newest_first.where(tuple_(*place) < _open(session, user_id, cursor))
    # One more than was asked for, to know whether there is another page without counting them.
    found = session.exec(newest_first).all()
    events = found[:limit]
    more = len(found) > limit
    return EventPage(events, _seal(session, user_id, events[-1]) if more else None)


def _seal(session: AccountSession, user_id: str, last: SecurityEvent) -> str:
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
        raise InvalidRequest.of(
            "cursor", "must be a cursor of an earlier page", place="query"
        ) from None
    moment, event_id = place.split("|")
    return datetime.fromisoformat(moment), event_id


def _bound_to(user_id: str) -> str:
    # With the name of the list: a cursor of another list of the same user is foreign here too.
    return f"events|{user_id}"


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
