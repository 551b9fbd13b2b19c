"""The hash chain of security events: each link has a digest of one event and the previous link.

The digests are keyed by the root secret. An attacker with the database but not the secret cannot
alter, remove or insert an event within the chain unnoticed, nor write another valid chain (LO-04).
The chain does not detect:

- Truncation: the rest is a valid chain, only shorter. Events that are left without a link are
  chained again, as they are by then. Therefore each head is logged, ideally to another system;
  `doctor --head` checks that a logged head is still in the chain, and `doctor` that the head it
  verified last is.
- Changes to an event before it is chained, which takes until the next run of the job, and inserted
  events that look recent: the job chains all events in the table.
- Attackers who have the root secret.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import bindparam, event, insert, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.jobs.event_links import (
    EVENT,
    LINK_NAMES,
    LINK_OF_EVENT,
    NEWEST_LINK,
    OLDEST_FIRST,
    as_bytes,
    content_of,
    least_id,
    text_of,
)
from accounts.services.database import AccountSession
from models import EventLink, SecurityEvent

_log = logging.getLogger(__name__)

#: How many events are found at once, some 10 MB of them.
_MOST = 10_000
#: How many are chained in one transaction, far fewer than a writer would notice.
_BATCH = 200

# Transactions do not commit in the order of their times, and this is far longer than any of them
# takes. An event that appears later was not written by the service: it is reported, not chained.
LATEST = timedelta(hours=1)

_UNCHAINED = (
    select(*EVENT)
    .outerjoin(EventLink, LINK_OF_EVENT)
    .where(col(EventLink.event_id).is_(None), col(SecurityEvent.id) >= bindparam("first"))
    .order_by(*OLDEST_FIRST)
    .limit(bindparam("at_most"))
)
_INSERT = insert(EventLink)


def find_chain_parts(
    session: AccountSession, *, latest: timedelta = LATEST
) -> list[Callable[[AccountSession], int]]:
    """Return the parts that chain the events without a link.

    For a job that repeats this until there are none. For `latest` see `find_unchained`.
    """
    events = find_unchained(session, latest=latest)
    return [
        partial(chain_events, events=events[start : start + _BATCH])
        for start in range(0, len(events), _BATCH)
    ]


def find_unchained(
    session: AccountSession, *, at_most: int = _MOST, latest: timedelta = LATEST
) -> Sequence[Any]:
    """Return the oldest events without a link, as stored, for `chain_events`.

    For a reading transaction: with many events an hour it takes longer than a writer may wait.
    `latest` is how long before the last event of the chain an event may be.
    """
    newest = session.core.execute(NEWEST_LINK).first()
    last = dict(zip(LINK_NAMES, newest, strict=True)) if newest else {}
    first = least_id(last.get("event_id"), session.now, latest)
    return session.core.execute(_UNCHAINED, {"first": first, "at_most": at_most}).all()


def chain_events(session: AccountSession, events: Sequence[Any]) -> int:
    """Append a link for each of these events; returns how many.

    Requests that write events neither read the chain nor wait for it. Of two replicas that append
    concurrently one gets the sequence, which is a primary key, and the event, which is unique; the
    other appends nothing, returns 0, and continues at its next run. The head is logged after the
    commit.
    """
    if not events:
        return 0
    newest = session.core.execute(NEWEST_LINK).first()
    last = dict(zip(LINK_NAMES, newest, strict=True)) if newest else {}
    sequence, digest = last.get("sequence", 0), as_bytes(last.get("chain_digest"))
    links = []
    for row in events:
        sequence += 1
        link = {
            "sequence": sequence,
            "event_id": row[0],
            "key_id": session.keys.key_id,
            "chained_at": session.now,
        }
        digest = session.keys.digest(Purpose.EVENT_CHAIN, text_of(content_of(digest, link, row)))
        links.append({**link, "chain_digest": digest})
    try:
        # A savepoint: the replica that loses the race keeps a usable transaction.
        with session.begin_nested():
            session.connection().execute(_INSERT, links)
    except IntegrityError:
        _log.debug("another replica has appended to the chain of events")
        return 0
    fields = {"sequence": sequence, "head": digest.hex()}

    def log_head(_session: object) -> None:
        _log.info("the chain of events was extended", extra=fields)

    # Not before the commit: a head that is logged and rolled back would look like a truncation.
    event.listen(session, "after_commit", log_head, once=True)
    return len(links)
