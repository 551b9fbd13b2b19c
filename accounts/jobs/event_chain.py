"""The chain over the security events: a link holds a digest of one event and of the link before.

The digests are keyed, by the root secret. Who has the database and not the secret can neither
alter, take out nor put in an event within the chain unnoticed, nor write another chain that fits
(LO-04). What the chain cannot show:

- That its end was cut off: what is left is a chain, only a shorter one. Where the events are left,
  the job chains them again, as they are by then. So each head is written to the log, which is best
  kept elsewhere, and `doctor --head` tells whether a head is still in the chain.
- What was done to an event before it had a link, which is as long as the job takes to come round,
  nor that somebody put in one as if it had just happened: the job chains what is in the table.
- Anything against somebody who has the root secret.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Text, bindparam, cast, event, select, type_coerce
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import NullType
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.services.database import AccountSession
from models import EventLink, SecurityEvent, metadata
from models.columns import UtcDateTime

__all__ = ["ChainReport", "chain_events", "holds_head", "verify_chain"]

_log = logging.getLogger(__name__)

_BATCH = 500
_MOST_PROBLEMS = 100
_MOST_CHARACTERS = 60

#: How long an event may be without a link before that is a problem.
_GRACE = timedelta(minutes=10)

# Transactions do not commit in the order of their times, and this is far more than the longest
# takes. What turns up later than that was not written by the service: it is reported, not chained.
_LATEST = timedelta(hours=1)


def _as_stored(table: str) -> list[Any]:
    """The columns of a table, read as the driver has them.

    A value that was made unreadable was altered, and must not stop whoever looks for that. JSON is
    read as its text, so that not even a blank in it changes unseen.
    """
    return [
        cast(column, Text) if isinstance(column.type, JSON) else type_coerce(column, NullType())
        for column in metadata.tables[table].columns
    ]


_EVENT = _as_stored("security_event")
_EVENT_NAMES = metadata.tables["security_event"].columns.keys()
_LINK = _as_stored("event_link")
_LINK_NAMES = metadata.tables["event_link"].columns.keys()

_LINK_OF_EVENT = col(EventLink.event_id) == col(SecurityEvent.id)
_OLDEST_FIRST = (col(SecurityEvent.occurred_at), col(SecurityEvent.id))

_NEWEST_LINK = select(*_LINK).order_by(col(EventLink.sequence).desc()).limit(1)

# The id is the primary key and begins with the time (RFC 9562 section 5.7), so that only the newest
# end of the table is looked through, however long it has become.
_UNCHAINED = (
    select(*_EVENT)
    .outerjoin(EventLink, _LINK_OF_EVENT)
    .where(col(EventLink.event_id).is_(None), col(SecurityEvent.id) >= bindparam("first"))
    .order_by(*_OLDEST_FIRST)
    .limit(bindparam("at_most"))
)

_CHAIN = (
    select(*_LINK, *_EVENT)
    .select_from(EventLink)
    .outerjoin(SecurityEvent, _LINK_OF_EVENT)
    .order_by(col(EventLink.sequence))
)

_WITHOUT_LINK = (
    select(
        col(SecurityEvent.id),
        col(SecurityEvent.occurred_at) < bindparam("due", type_=UtcDateTime),
    )
    .outerjoin(EventLink, _LINK_OF_EVENT)
    .where(col(EventLink.event_id).is_(None))
    .order_by(*_OLDEST_FIRST)
)

_LINK_WITH_DIGEST = (
    select(col(EventLink.sequence)).where(col(EventLink.chain_digest) == bindparam("head")).limit(1)
)


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was found: links read, events without one, the last digest in hex, and what is wrong.

    A problem names a link by its sequence and an event by its id, and no value. The first hundred
    are given, and the number of those that follow.
    """

    checked: int
    unchained: int
    head: str | None
    problems: tuple[str, ...]


def chain_events(session: AccountSession, *, at_most: int = _BATCH) -> int:
    """Append a link for each of the oldest events without one, and return how many; for a job.

    Who writes an event neither reads the chain nor waits for it. Of two replicas that append at
    once one gets the sequence, which is a primary key. The other appends nothing, returns 0, and
    goes on from there when it is run again. The head is logged once it is committed.
    """
    session.flush()
    newest = session.core.execute(_NEWEST_LINK).first()
    last = dict(zip(_LINK_NAMES, newest, strict=True)) if newest else {}
    sequence, digest = last.get("sequence", 0), _bytes(last.get("chain_digest"))
    first = _first_to_look_at(last.get("event_id"), session.now)
    links = []
    for row in session.core.execute(_UNCHAINED, {"first": first, "at_most": at_most}):
        link = {
            "sequence": sequence + 1,
            "event_id": row[0],
            "key_id": session.keys.key_id,
            "chained_at": session.now,
        }
        sequence += 1
        digest = session.keys.digest(Purpose.EVENT_CHAIN, _text(digest, link, row))
        links.append(EventLink(**link, chain_digest=digest))
    if not links:
        return 0
    try:
        # A savepoint: who loses the race is left with a transaction that ends like any other.
        with session.begin_nested():
            session.add_all(links)
    except IntegrityError:
        _log.debug("another replica has appended to the chain of events")
        return 0
    told = {"sequence": sequence, "head": digest.hex()}

    def tell(_session: object) -> None:
        _log.info("the chain of events was extended", extra=told)

    # No sooner: a head that is written down and then rolled back looks like a chain that was cut.
    event.listen(session, "after_commit", tell, once=True)
    return len(links)


def verify_chain(session: AccountSession) -> ChainReport:
    """Read the whole chain, and every event without a link, and report what does not fit.

    For a transaction in which all that is read is of one moment.

    Raises:
        sqlalchemy.exc.DBAPIError: The database cannot read a row at all.
    """
    session.flush()
    problems = _Problems()
    checked, last, digest = 0, 0, b""
    for row in session.core.execute(_CHAIN, execution_options={"yield_per": _BATCH}):
        link = dict(zip(_LINK_NAMES, row, strict=False))
        stored = row[len(_LINK) :]
        checked += 1
        number = link["sequence"]
        if not isinstance(number, int) or number <= last:
            problems.add(f"link {_name(number)} is out of place")
            continue
        if number > last + 1:
            problems.add(_gap(last + 1, number - 1))
        problem = _judge(session, digest if number == last + 1 else None, link, stored)
        if problem is not None:
            problems.add(problem)
        last, digest = number, _bytes(link["chain_digest"])
    unchained = 0
    due = {"due": session.now - _GRACE}
    for event_id, overdue in session.core.execute(
        _WITHOUT_LINK, due, execution_options={"yield_per": _BATCH}
    ):
        unchained += 1
        if overdue:
            problems.add(f"event {_name(event_id)} is older than ten minutes and has no link")
    return ChainReport(checked, unchained, digest.hex() or None, tuple(problems))


def holds_head(session: AccountSession, head: bytes) -> bool:
    """Whether a digest that was the last one is in the chain; only a whole chain proves it."""
    return session.core.execute(_LINK_WITH_DIGEST, {"head": head}).first() is not None


class _Problems:
    """The first problems, and a count of the others: a lost root makes one of every link."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._others = 0

    def add(self, problem: str) -> None:
        if len(self._first) < _MOST_PROBLEMS:
            self._first.append(problem)
        else:
            self._others += 1

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        if self._others:
            yield f"and {self._others} more"


def _gap(first: int, last: int) -> str:
    return f"link {first} is missing" if first == last else f"links {first} to {last} are missing"


def _judge(
    session: AccountSession, before: bytes | None, link: Mapping[str, Any], stored: Sequence[Any]
) -> str | None:
    """What is wrong with a link and its event; `before` is None where a link is missing before."""
    number, event_id = link["sequence"], _name(link["event_id"])
    if all(value is None for value in stored):
        return f"event {event_id} of link {number} is missing"
    # After a gap nobody can tell what the link was made over.
    if before is None:
        return None
    # The root is in the text, so that it does not matter under which of them it is looked for.
    text = _text(before, link, stored)
    if session.keys.matches(Purpose.EVENT_CHAIN, text, _bytes(link["chain_digest"])):
        return None
    if link["key_id"] in session.keys.event_key_ids:
        return f"link {number} or its event {event_id} was altered"
    return f"link {number} was altered, or is under a root secret that is not known here"


def _text(before: bytes, link: Mapping[str, Any], stored: Sequence[Any]) -> str:
    """What a digest is of: one text for each link, and no two links with the same; for ever.

    What is null is left out, so that a column which is added some day, and is null in the older
    rows, changes nothing about them.
    """
    rows = {"link": link, "event": dict(zip(_EVENT_NAMES, stored, strict=True))}
    content = {
        table: {
            name: value
            for name, value in row.items()
            if value is not None and name != "chain_digest"
        }
        for table, row in rows.items()
    }
    return json.dumps(
        {"before": before.hex(), **content},
        sort_keys=True,
        separators=(",", ":"),
        default=_plain,
    )


def _plain(value: object) -> object:
    """A moment as SQLite has it, on every database; of anything else, what no text can be."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return {"value": repr(value)}


def _first_to_look_at(last_id: object, now: datetime) -> str:
    """The least id that an event without a link can have."""
    made = 0
    # An id that is no UUID was put there by hand: then all are looked at, until the next link.
    with suppress(ValueError):
        made = int(str(last_id)[:13].replace("-", ""), 16)
    # An id from the future, too, must not hide what happens until then.
    begin = min(made, int(now.timestamp() * 1000)) - _LATEST // timedelta(milliseconds=1)
    digits = f"{max(begin, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _name(value: object) -> str:
    """A stored name, escaped and cut: a row that was altered can hold anything (LO-05)."""
    return ascii(value)[:_MOST_CHARACTERS].strip("'")
