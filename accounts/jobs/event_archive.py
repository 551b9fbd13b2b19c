"""Archiving the oldest part of the event chain: write it to a file, seal it, and delete its rows.

The file has a line for each link with its event, and then the seal. Nothing is deleted before the
seal is committed, and nothing is sealed before the file was verified; `oneself events archive`
takes the steps in this order, and continues after a crash (ADR 41).
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select
from sqlmodel import col

from accounts.crypto.keyring import Keyring, Purpose
from accounts.jobs.event_links import NEWEST_LINK, as_bytes, content_of, erased_text, plain, text_of
from accounts.jobs.event_seals import Seal, find_seals
from accounts.jobs.event_verification import Problems, find_problem, read_links
from accounts.services.database import AccountSession
from models import EventErasure, EventLink, EventSeal, SecurityEvent

_BATCH = 500

_sequence = col(EventLink.sequence)
_CHAINED_AT = select(col(EventLink.chained_at)).where(_sequence == bindparam("at"))
_DIGEST_AT = select(col(EventLink.chain_digest)).where(_sequence == bindparam("at"))
_NEWEST_SEALED = select(func.max(_sequence)).where(_sequence <= bindparam("last"))


class BrokenChain(Exception):
    """The events cannot be archived; the message names the link and contains no value."""


class Part(NamedTuple):
    """A part of the chain to archive: its first and last link, and the digest before the first."""

    first: int
    last: int
    before: bytes


class ArchiveReport(NamedTuple):
    """Result of verifying a file: its seal, None if it has no genuine one, and the problems."""

    seal: Seal | None
    has_head: bool
    problems: Sequence[str]


def find_part(session: AccountSession, *, chained_before: datetime) -> Part | None:
    """Return the links after the last seal that are older than a time; None if there are none.

    The newest link stays in any case: the job appends to it.

    Raises:
        BrokenChain: A seal is not genuine, or missing.
    """
    sealed, before = _last_seal(session)
    newest = session.core.execute(NEWEST_LINK).first()
    low, high = sealed, (newest[0] if newest else 0) - 1
    # Times grow with the sequence, so the last one is found by halving, without an index.
    while low < high:
        middle = (low + high + 1) // 2
        chained_at = session.core.execute(_CHAINED_AT, {"at": middle}).scalar()
        if chained_at is not None and chained_at < chained_before:
            low = middle
        else:
            high = middle - 1
    return Part(sealed + 1, low, before) if low > sealed else None


def archive_lines(session: AccountSession, part: Part) -> Generator[bytes]:
    """Yield the file of a part, verifying each link; the last line is the seal.

    Raises:
        BrokenChain: A link or an event is missing or was altered.
    """
    digest, sequence = part.before, part.first - 1
    file_digest = hashlib.sha256()
    with closing(read_links(session, sequence, part.last)) as links:
        for chained in links:
            link, event, erasure = chained
            sequence += 1
            if link["sequence"] != sequence:
                raise BrokenChain(f"link {sequence} is missing")
            problem = find_problem(session.keys, digest, chained)
            if problem is not None:
                raise BrokenChain(problem)
            content = content_of(digest, link, event)
            digest = as_bytes(link["chain_digest"])
            record = {**content, "digest": digest.hex(), **_erasure_record(erasure)}
            line = f"{text_of(record)}\n".encode()
            file_digest.update(line)
            yield line
    if sequence != part.last:
        raise BrokenChain(f"link {sequence + 1} is missing")
    now, key_id = str(plain(session.now)), session.keys.key_id
    seal = Seal(part.first, part.last, part.before, digest, file_digest.digest(), now, key_id)
    sealed = {**seal.record(), "digest": seal.digest(session.keys, Purpose.EVENT_FILE).hex()}
    yield f"{text_of({'seal': sealed})}\n".encode()


def _erasure_record(erasure: Mapping[str, Any] | None) -> Mapping[str, object]:
    """Return the part of a line that tells of an erasure."""
    if erasure is None:
        return {}
    digest = as_bytes(erasure["erasure_digest"]).hex()
    return {"erasure": {**erasure, "erasure_digest": digest}}


def verify_archive(
    lines: Iterable[bytes], keys: Keyring, *, head: bytes | None = None
) -> ArchiveReport:
    """Verify a file: each link, and the seal over all lines; and whether a head is in it.

    A link whose root secret is no longer known is covered by the seal.
    """
    file_digest, problems = hashlib.sha256(), Problems()
    seal: Seal | None = None
    previous: bytes | None = None
    has_head = False
    for number, line in enumerate(lines, 1):
        try:
            # No line may follow the seal.
            record = {} if seal else json.loads(line)
            if "seal" in record:
                seal = _open_seal(record["seal"], keys)
                continue
            digest, before = bytes.fromhex(record.pop("digest")), bytes.fromhex(record["before"])
            erasure = record.pop("erasure", None)
            key_id = (erasure or record["link"])["key_id"]
            text, expected = text_of(record), digest
            if erasure is not None:
                text = erased_text(record, digest.hex(), erasure)
                expected = bytes.fromhex(erasure["erasure_digest"])
        except (AttributeError, KeyError, TypeError, ValueError):
            problems.add(f"line {number} is neither a link nor the seal at the end")
            continue
        file_digest.update(line)
        is_known = key_id in keys.event_key_ids
        if previous not in {None, before}:
            problems.add(f"links before line {number} are missing")
        elif is_known and not keys.matches(Purpose.EVENT_CHAIN, text, expected):
            problems.add(f"the link or the event in line {number} was altered")
        previous = digest
        has_head = has_head or digest == head
    if seal is None:
        problems.add("it has no seal that the service made: it is not complete, or forged")
    elif seal.file_digest != file_digest.digest():
        problems.add("its lines are not those that were sealed")
    return ArchiveReport(seal, has_head, tuple(problems))


def seal_part(session: AccountSession, seal: Seal) -> None:
    """Store the seal of a verified file; from then on its events and links may be deleted.

    Raises:
        BrokenChain: The part was sealed by another run meanwhile, or its last link has changed.
    """
    session.lock("events archive")
    if _last_seal(session) != (seal.first - 1, seal.before):
        raise BrokenChain("another run has archived these events meanwhile")
    head = session.core.execute(_DIGEST_AT, {"at": seal.last}).scalar()
    if head != seal.head:
        raise BrokenChain(f"link {seal.last} has changed meanwhile")
    session.core.execute(
        insert(EventSeal).values(
            sequence=seal.last,
            first_sequence=seal.first,
            previous_digest=seal.before,
            chain_digest=seal.head,
            file_digest=seal.file_digest,
            sealed_at=datetime.fromisoformat(seal.sealed_at).replace(tzinfo=UTC),
            key_id=seal.key_id,
            seal_digest=seal.digest(session.keys, Purpose.EVENT_SEAL),
        )
    )


def find_rest(session: AccountSession) -> Part | None:
    """Return the part that is sealed and not deleted yet, as after a crash, and verify its rows.

    They are deleted from the newest, so that the rest begins where the seal does. Otherwise a link
    that was forged into a sealed part would have any event deleted with it.

    Raises:
        BrokenChain: The rows are not the first ones of the part.
    """
    seals, problems = find_seals(session)
    if problems:
        raise BrokenChain(problems[0])
    last = seals and session.core.execute(_NEWEST_SEALED, {"last": seals[-1].last}).scalar()
    if not last:
        return None
    part = Part(seals[-1].first, last, seals[-1].before)
    for _ in archive_lines(session, part):
        pass
    return part


def delete_sealed(session: AccountSession, part: Part, *, at_most: int = _BATCH) -> Part | None:
    """Delete the newest links of a sealed part, with their events; returns the rest of it."""
    first = max(part.first, part.last - at_most + 1)
    some = _sequence.between(first, part.last)
    events = select(col(EventLink.event_id)).where(some)
    # Events first: the trigger finds out by their links that they are sealed.
    session.core.execute(delete(SecurityEvent).where(col(SecurityEvent.id).in_(events)))
    erasures = col(EventErasure.sequence).between(first, part.last)
    session.core.execute(delete(EventErasure).where(erasures))
    session.core.execute(delete(EventLink).where(some))
    return part._replace(last=first - 1) if first > part.first else None


def _last_seal(session: AccountSession) -> tuple[int, bytes]:
    """Return the last link that is sealed, and its digest.

    Raises:
        BrokenChain: A seal is not genuine, or missing.
    """
    seals, problems = find_seals(session)
    if problems:
        raise BrokenChain(problems[0])
    return (seals[-1].last, seals[-1].head) if seals else (0, b"")


def _open_seal(record: Mapping[str, Any], keys: Keyring) -> Seal | None:
    """Return a genuine seal; None for another."""
    seal = Seal.parse(record)
    digest = bytes.fromhex(record["digest"])
    return seal if seal.matches(keys, Purpose.EVENT_FILE, digest) else None
