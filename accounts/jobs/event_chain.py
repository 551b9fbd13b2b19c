"""The hash chain of security events: each link has a digest of one event and the previous link.

The digests are keyed by the root secret. An attacker with the database but not the secret cannot
alter, remove or insert an event within the chain unnoticed, nor write another valid chain (LO-04).
The chain does not detect:

- Truncation: the rest is a valid chain, only shorter. Events that are left without a link are
  chained again, as they are by then. Therefore each head is logged, ideally to another system, and
  `doctor --head` checks that a logged head is still in the chain.
- Changes to an event before it is chained, which takes until the next run of the job, and inserted
  events that look recent: the job chains all events in the table.
- Attackers who have the root secret.
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

_log = logging.getLogger(__name__)

_BATCH = 500
_MOST_PROBLEMS = 100
_MOST_CHARACTERS = 60

#: How long an event may be without a link before that is a problem.
_GRACE = timedelta(minutes=10)

# Transactions do not commit in the order of their times, and this is far longer than any of them
# takes. An event that appears later was not written by the service: it is reported, not chained.
_LATEST = timedelta(hours=1)


def _as_stored(table: str) -> list[Any]:
    """Return the columns of a table, read without conversion.

    A value that cannot be converted was altered, and must not abort the verification that looks for
    it. JSON is read as text, so that not even a changed blank goes unnoticed.
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
# part of the table is searched, however large it is.
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
        col(SecurityEvent.id), col(SecurityEvent.occurred_at) < bindparam("due", type_=UtcDateTime)
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
    """Result of a verification: links read, events without a link, last digest in hex, problems.

    A problem names a link by its sequence and an event by its id, and contains no value. It lists
    the first hundred problems, and the number of the others.
    """

    checked: int
    unchained: int
    head: str | None
    problems: tuple[str, ...]


def chain_events(session: AccountSession, *, at_most: int = _BATCH) -> int:
    """Append a link for each of the oldest events without one; returns how many.

    Requests that write events neither read the chain nor wait for it. Of two replicas that append
    concurrently one gets the sequence, which is a primary key; the other appends nothing, returns
    0, and continues at its next run. The head is logged after the commit.
    """
    session.flush()
    newest = session.core.execute(_NEWEST_LINK).first()
    last = dict(zip(_LINK_NAMES, newest, strict=True)) if newest else {}
    sequence, digest = last.get("sequence", 0), _bytes(last.get("chain_digest"))
    first = _least_unchained_id(last.get("event_id"), session.now)
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
        # A savepoint: the replica that loses the race keeps a usable transaction.
        with session.begin_nested():
            session.add_all(links)
    except IntegrityError:
        _log.debug("another replica has appended to the chain of events")
        return 0
    fields = {"sequence": sequence, "head": digest.hex()}

    def log_head(_session: object) -> None:
        _log.info("the chain of events was extended", extra=fields)

    # Not before the commit: a head that is logged and rolled back would look like a truncation.
    event.listen(session, "after_commit", log_head, once=True)
    return len(links)


def verify_chain(session: AccountSession) -> ChainReport:
    """Verify the whole chain and every event without a link, and report the problems.

    To be called in a transaction that reads a snapshot.

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
        sequence = link["sequence"]
        if not isinstance(sequence, int) or sequence <= last:
            problems.add(f"link {_name(sequence)} is out of place")
            continue
        if sequence > last + 1:
            problems.add(_gap(last + 1, sequence - 1))
        problem = _verify_link(session, digest if sequence == last + 1 else None, link, stored)
        if problem is not None:
            problems.add(problem)
        last, digest = sequence, _bytes(link["chain_digest"])
    unchained = 0
    due = {"due": session.now - _GRACE}
    for event_id, overdue in session.core.execute(
        _WITHOUT_LINK, due, execution_options={"yield_per": _BATCH}
    ):
        unchained += 1
        if overdue:
            problems.add(f"event {_name(event_id)} is older than ten minutes and has no link")
    return ChainReport(checked, unchained, digest.hex() or None, tuple(problems))


def contains_head(session: AccountSession, head: bytes) -> bool:
    """Return whether a former head is in the chain; conclusive only if the chain is valid."""
    return session.core.execute(_LINK_WITH_DIGEST, {"head": head}).first() is not None


class _Problems:
    """The first problems and the number of the others: a lost root makes every link a problem."""

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


def _verify_link(
    session: AccountSession, previous: bytes | None, link: Mapping[str, Any], stored: Sequence[Any]
) -> str | None:
    """Return the problem of a link and its event, or None.

    `previous` is the digest of the previous link; None if that link is missing.
    """
    sequence, event_id = link["sequence"], _name(link["event_id"])
    if all(value is None for value in stored):
        return f"event {event_id} of link {sequence} is missing"
    # After a gap the digest cannot be verified.
    if previous is None:
        return None
    # The text includes the id of the root, so that a match under any root is conclusive.
    text = _text(previous, link, stored)
    if session.keys.matches(Purpose.EVENT_CHAIN, text, _bytes(link["chain_digest"])):
        return None
    if link["key_id"] in session.keys.event_key_ids:
        return f"link {sequence} or its event {event_id} was altered"
    return f"link {sequence} was altered, or is under a root secret that is not known here"


def _text(previous: bytes, link: Mapping[str, Any], stored: Sequence[Any]) -> str:
    """Return the text that a link's digest is made of: unique for each link, and stable for ever.

    Null values are left out, so that a column that is added later, and is null in older rows, does
    not change their texts.
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
        {"before": previous.hex(), **content}, sort_keys=True, separators=(",", ":"), default=_plain
    )


def _plain(value: object) -> object:
    """Return a time in SQLite's format on every database; other types as an unmistakable object."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return {"value": repr(value)}


def _least_unchained_id(last_id: object, now: datetime) -> str:
    """Return the least id that an event without a link can have."""
    created_ms = 0
    # An id that is not a UUID was inserted by hand: then the whole table is searched once.
    with suppress(ValueError):
        created_ms = int(str(last_id)[:13].replace("-", ""), 16)
    # An id from the future must not hide events until then.
    begin = min(created_ms, int(now.timestamp() * 1000)) - _LATEST // timedelta(milliseconds=1)
    digits = f"{max(begin, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _name(value: object) -> str:
    """Return a stored name, escaped and shortened: an altered row can contain anything (LO-05)."""
    return ascii(value)[:_MOST_CHARACTERS].strip("'")
