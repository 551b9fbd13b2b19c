"""Links of the event chain: how they are read, and the text that the digest of each is made of."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import JSON, Text, cast, select, type_coerce
from sqlalchemy.types import NullType
from sqlmodel import col

from models import EventErasure, EventLink, SecurityEvent, metadata


def as_stored(table: str) -> list[Any]:
    """Return the columns of a table, read without conversion.

    A value that cannot be converted was altered, and must not abort the verification that looks for
    it. JSON is read as text, so that not even a changed blank goes unnoticed.
    """
    return [
        cast(column, Text) if isinstance(column.type, JSON) else type_coerce(column, NullType())
        for column in metadata.tables[table].columns
    ]


EVENT = as_stored("security_event")
EVENT_NAMES = metadata.tables["security_event"].columns.keys()
LINK = as_stored("event_link")
LINK_NAMES = metadata.tables["event_link"].columns.keys()

ERASURE = as_stored("event_erasure")
ERASURE_NAMES = metadata.tables["event_erasure"].columns.keys()

LINK_OF_EVENT = col(EventLink.event_id) == col(SecurityEvent.id)
ERASURE_OF_LINK = col(EventErasure.sequence) == col(EventLink.sequence)
OLDEST_FIRST = (col(SecurityEvent.occurred_at), col(SecurityEvent.id))
NEWEST_LINK = select(*LINK).order_by(col(EventLink.sequence).desc()).limit(1)


class ChainedEvent(NamedTuple):
    """A link with its event and, if the client address was erased from that, the erasure."""

    link: Mapping[str, Any]
    event: Sequence[Any]
    erasure: Mapping[str, Any] | None = None


def content_of(
    previous: bytes, link: Mapping[str, Any], event: Sequence[Any]
) -> Mapping[str, object]:
    """Return what the digest of a link covers: the previous digest, the link and its event.

    Null values are left out, so that a column that is added later, and is null in older rows, does
    not change their texts.
    """
    rows = {"link": link, "event": dict(zip(EVENT_NAMES, event, strict=True))}
    content = {
        table: {
            name: value
            for name, value in row.items()
            if value is not None and name != "chain_digest"
        }
        for table, row in rows.items()
    }
    return {"before": previous.hex(), **content}


def erased_text(
    content: Mapping[str, object], chain_digest: str, erasure: Mapping[str, Any]
) -> str:
    """Return the text that the digest of an erasure covers.

    `content` is that of the link and of what is left of its event, and `chain_digest` the digest of
    the link in hexadecimal: it still covers what was erased, so it cannot be computed again.
    """
    kept = {name: value for name, value in erasure.items() if name != "erasure_digest"}
    return text_of({**content, "digest": chain_digest, "erasure": kept})


def text_of(content: Mapping[str, object]) -> str:
    """Return the text of a record: unique for each, and stable for ever."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=plain)


def plain(value: object) -> object:
    """Return a time in SQLite's format on every database; other types as an unmistakable object."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return {"value": repr(value)}


def least_id(event_id: object, now: datetime, before: timedelta) -> str:
    """Return the least id of an event that was made at most so long before another one.

    The id is the primary key and begins with the time (RFC 9562 section 5.7), so that only a part
    of the table is searched, however large it is.
    """
    created_ms = 0
    # An id that is not a UUID was inserted by hand: then the whole table is searched once.
    with suppress(ValueError):
        created_ms = int(str(event_id)[:13].replace("-", ""), 16)
    # An id from the future must not hide events until then.
    begin = min(created_ms, int(now.timestamp() * 1000)) - before // timedelta(milliseconds=1)
    digits = f"{max(begin, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def as_bytes(value: object) -> bytes:
    """Return a stored digest; an altered one that is no bytes matches nothing."""
    return value if isinstance(value, bytes) else b""
