"""Verification of the event chain: all of it, or what was added since the last time.

Incremental verification reads the links after the last verified head, and a part of the older ones
again, the next part each time: a change to an old event is found after some runs (ADR 41). How far
it got is kept by the caller, outside the database.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlmodel import col

from accounts.crypto.keyring import Keyring, Purpose
from accounts.jobs.event_chain import LATEST
from accounts.jobs.event_links import (
    ERASURE,
    ERASURE_NAMES,
    ERASURE_OF_LINK,
    EVENT,
    LINK,
    LINK_NAMES,
    LINK_OF_EVENT,
    OLDEST_FIRST,
    ChainedEvent,
    as_bytes,
    content_of,
    erased_text,
    least_id,
    text_of,
)
from accounts.jobs.event_seals import find_seals
from accounts.services.database import AccountSession
from models import EventErasure, EventLink, SecurityEvent
from models.columns import UtcDateTime

_ROWS = 500
_MOST_PROBLEMS = 100
_MOST_CHARACTERS = 60
#: How many older links are verified again each time: these take a few seconds.
_AGAIN = 100_000

#: How long an event may be without a link before that is a problem.
_GRACE = timedelta(minutes=10)

_sequence = col(EventLink.sequence)
_CHAIN = (
    select(*LINK, *EVENT, *ERASURE)
    .select_from(EventLink)
    .outerjoin(SecurityEvent, LINK_OF_EVENT)
    .outerjoin(EventErasure, ERASURE_OF_LINK)
    .where(bindparam("after") < _sequence)
    .order_by(_sequence)
)
_CHAIN_UNTIL = _CHAIN.where(bindparam("until") >= _sequence)

_BEFORE_THE_FIRST = select(func.count(_sequence), func.min(_sequence), func.max(_sequence)).where(
    bindparam("after") >= _sequence
)

_LINK_AT = select(*LINK).where(bindparam("at") >= _sequence).order_by(_sequence.desc()).limit(1)

_WITHOUT_LINK = (
    select(
        col(SecurityEvent.id), col(SecurityEvent.occurred_at) < bindparam("due", type_=UtcDateTime)
    )
    .outerjoin(EventLink, LINK_OF_EVENT)
    .where(col(EventLink.event_id).is_(None), col(SecurityEvent.id) >= bindparam("first"))
    .order_by(*OLDEST_FIRST)
)
_WITHOUT_LINK_UNTIL = _WITHOUT_LINK.where(col(SecurityEvent.id) < bindparam("end"))

_LINK_WITH_DIGEST = (
    select(_sequence).where(col(EventLink.chain_digest) == bindparam("head")).limit(1)
)


class Verified(NamedTuple):
    """The end of a verification: the last link, and the last one that was verified again."""

    sequence: int
    digest: bytes
    again: int = 0


@dataclass(frozen=True, slots=True)
class ChainReport:
    """Result of a verification.

    `checked` counts the links read, `again` those of them that an earlier verification had read,
    `archived` those that the last seal stands for, and `unchained` the events without a link.
    `verified` is where the next verification begins; None if there are problems. A problem names a
    link by its sequence and an event by its id, and contains no value. It lists the first hundred
    problems, and the number of the others.
    """

    checked: int
    again: int
    archived: int
    unchained: int
    head: str | None
    problems: tuple[str, ...]
    verified: Verified | None


def verify_chain(
    session: AccountSession, since: Verified | None = None, *, again: int = _AGAIN
) -> ChainReport:
    """Verify the chain and the events without a link, and report the problems.

    All of it or, with `since`, what came after it, and the next `again` older links. To be called
    in a transaction that reads a snapshot.

    Raises:
        sqlalchemy.exc.DBAPIError: The database cannot read a row at all.
    """
    session.flush()
    walk = _Walk(session)
    first = walk.find_beginning()
    start = first if since is None else walk.find_start(since, first)
    head = walk.verify(start)
    checked, reached = walk.checked, 0
    if since is not None and start.sequence > first.sequence:
        older = first if since.again <= first.sequence else _find_place(session, since.again)
        last = walk.verify(older or first, until=min(since.again + again, start.sequence))
        reached = last.sequence if last.sequence < start.sequence else 0
    problems = tuple(walk.problems)
    return ChainReport(
        walk.checked,
        walk.checked - checked,
        first.sequence,
        walk.unchained,
        head.digest.hex() or None,
        problems,
        None if problems else Verified(head.sequence, head.digest, reached),
    )


def contains_head(session: AccountSession, head: bytes) -> bool:
    """Return whether a former head is in the chain; conclusive only if the chain is valid.

    The last head of an archived part is in its seal, and other heads of that part in its file only.
    """
    seals, _ = find_seals(session)
    if any(seal.head == head for seal in seals):
        return True
    return session.core.execute(_LINK_WITH_DIGEST, {"head": head}).first() is not None


def read_links(
    session: AccountSession, after: int, until: int | None = None
) -> Generator[ChainedEvent]:
    """Yield the links after one, up to another, each with its event as stored."""
    query, places = (_CHAIN, {}) if until is None else (_CHAIN_UNTIL, {"until": until})
    options = {"yield_per": _ROWS}
    with session.core.execute(query, {"after": after, **places}, execution_options=options) as rows:
        for row in rows:
            erasure = dict(zip(ERASURE_NAMES, row[-len(ERASURE) :], strict=True))
            yield ChainedEvent(
                dict(zip(LINK_NAMES, row, strict=False)),
                row[len(LINK) : -len(ERASURE)],
                None if erasure["sequence"] is None else erasure,
            )


def find_problem(keys: Keyring, previous: bytes | None, chained: ChainedEvent) -> str | None:
    """Return the problem of a link and its event, or None.

    `previous` is the digest of the previous link; None if that link is missing.
    """
    link, event, erasure = chained
    sequence, event_id = link["sequence"], _name(link["event_id"])
    if all(value is None for value in event):
        return f"event {event_id} of link {sequence} is missing"
    # After a gap the digest cannot be verified.
    if previous is None:
        return None
    # The text includes the id of the root, so that a match under any root is conclusive.
    content, digest = content_of(previous, link, event), as_bytes(link["chain_digest"])
    text = text_of(content) if erasure is None else erased_text(content, digest.hex(), erasure)
    digest = digest if erasure is None else as_bytes(erasure["erasure_digest"])
    if keys.matches(Purpose.EVENT_CHAIN, text, digest):
        return None
    if (erasure or link)["key_id"] in keys.event_key_ids:
        return f"link {sequence} or its event {event_id} was altered"
    return f"link {sequence} was altered, or is under a root secret that is not known here"


class _Place(NamedTuple):
    """A link to begin after: its digest, and the id of its event."""

    sequence: int
    digest: bytes
    event_id: object = None


def _find_place(session: AccountSession, sequence: int) -> _Place | None:
    """Return the place of a link or, if it is missing, of the last one before it."""
    row = session.core.execute(_LINK_AT, {"at": sequence}).first()
    if row is None:
        return None
    link = dict(zip(LINK_NAMES, row, strict=True))
    return _Place(link["sequence"], as_bytes(link["chain_digest"]), link["event_id"])


class _Walk:
    """One verification: what it has read, and what it has found."""

    def __init__(self, session: AccountSession) -> None:
        self._session = session
        self.checked = 0
        self.unchained = 0
        self.problems = Problems()

    def find_beginning(self) -> _Place:
        """Return where the chain begins: after the last seal. Links before are out of place."""
        seals, problems = find_seals(self._session)
        for problem in problems:
            self.problems.add(problem)
        place = _Place(seals[-1].last, seals[-1].head) if seals else _Place(0, b"")
        before = self._session.core.execute(_BEFORE_THE_FIRST, {"after": place.sequence})
        count, least, greatest = before.one()
        self.checked += count
        if count and seals:
            self.problems.add(f"links {least} to {greatest} were archived and are still here")
        elif count:
            self.problems.add(_range(least, greatest, "out of place"))
        return place

    def find_start(self, since: Verified, first: _Place) -> _Place:
        """Return the last verified link, or the beginning if that is later or a link changed."""
        if since.sequence <= first.sequence:
            return first
        place = _find_place(self._session, since.sequence)
        if place is not None and place[:2] == since[:2]:
            return place
        self.problems.add(
            f"link {since.sequence}, which was verified last time, is no longer in the chain"
        )
        return first

    def verify(self, after: _Place, until: int | None = None) -> _Place:
        """Verify the links after a place, and the events without a link; returns the last place."""
        last, digest, event_id = after
        for chained in read_links(self._session, last, until):
            link = chained.link
            self.checked += 1
            sequence = link["sequence"]
            if not isinstance(sequence, int) or sequence <= last:
                self.problems.add(f"link {_name(sequence)} is out of place")
                continue
            if sequence > last + 1:
                self.problems.add(_range(last + 1, sequence - 1, "missing"))
            before = digest if sequence == last + 1 else None
            problem = find_problem(self._session.keys, before, chained)
            if problem is not None:
                self.problems.add(problem)
            last, digest, event_id = sequence, as_bytes(link["chain_digest"]), link["event_id"]
        if until is not None and last < until:
            self.problems.add(_range(last + 1, until, "missing"))
        place = _Place(last, digest, event_id)
        self._find_unchained(after, None if until is None else place)
        return place

    def _find_unchained(self, after: _Place, until: _Place | None) -> None:
        query, ends = (_WITHOUT_LINK, {"first": self._least_id(after)})
        if until is not None:
            query, ends = _WITHOUT_LINK_UNTIL, {**ends, "end": self._least_id(until)}
        for event_id, overdue in self._session.core.execute(
            query,
            {"due": self._session.now - _GRACE, **ends},
            execution_options={"yield_per": _ROWS},
        ):
            self.unchained += 1
            if overdue:
                self.problems.add(
                    f"event {_name(event_id)} is older than ten minutes and has no link"
                )

    def _least_id(self, place: _Place) -> str:
        if place.event_id is None:
            return ""
        return least_id(place.event_id, self._session.now, LATEST)


class Problems:
    """The first problems and the number of the others: a lost root makes every link a problem."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._others = 0

    def add(self, problem: str) -> None:
        """Keep a problem, or count it."""
        if len(self._first) < _MOST_PROBLEMS:
            self._first.append(problem)
        else:
            self._others += 1

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        if self._others:
            yield f"and {self._others} more"


def _range(first: int, last: int, problem: str) -> str:
    if first == last:
        return f"link {first} is {problem}"
    return f"links {first} to {last} are {problem}"


def _name(value: object) -> str:
    """Return a stored name, escaped and shortened: an altered row can contain anything (LO-05)."""
    return ascii(value)[:_MOST_CHARACTERS].strip("'")
