"""Erasing deleted accounts once their time of grace is over.

The client addresses of the account's events go first, then all its rows. The events stay: an
investigation needs to know what happened, and the chain has a digest of each. What is left of one
names the account by an id that no other row has (docs/privacy.md, ADR 60).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from sqlalchemy import delete, exists, insert, select, update
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.jobs.event_links import EVENT_NAMES, ChainedEvent, as_bytes, content_of, erased_text
from accounts.jobs.event_seals import find_seals
from accounts.jobs.event_verification import find_problem, read_links
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.user_views import UserView, find_user_view
from models import (
    Client,
    EventErasure,
    EventLink,
    OutboxMessage,
    SecurityEvent,
    Tenant,
    User,
    metadata,
)

#: How many accounts are found at once, and how many events one transaction changes.
_ACCOUNTS, _BATCH = 20, 100

#: A short transaction.
Part = Callable[[AccountSession], object]


def find_erasures(session: AccountSession) -> list[Part]:
    """Return the parts that erase accounts whose time of grace is over.

    For a job that repeats this until there are none. An account waits for its newest events to be
    chained, which takes minutes.
    """
    due = (
        select(col(User.id))
        .where(col(User.deletion_due_at) <= session.now)
        .order_by(col(User.deletion_due_at))
        .limit(_ACCOUNTS)
    )
    parts: list[Part] = []
    for user_id in session.core.execute(due).scalars():
        links = _find_links(session, user_id)
        if links:
            parts.append(partial(_erase_client_addresses, user_id=user_id, links=links))
        elif not _has_client_addresses(session, user_id):
            parts += [
                partial(_delete_messages, user_id=user_id, ids=ids)
                for ids in _find_messages(session, user_id)
            ]
            parts.append(partial(_erase_account, user_id=user_id))
    return parts


def _find_links(session: AccountSession, user_id: str) -> Sequence[int]:
    """Return links of events with a client address, those first that were chained first."""
    links = (
        select(col(EventLink.sequence))
        .join(SecurityEvent, col(SecurityEvent.id) == col(EventLink.event_id))
        .where(
            col(SecurityEvent.user_id) == user_id,
            col(SecurityEvent.source).is_not(None),
            ~exists().where(col(EventErasure.sequence) == col(EventLink.sequence)),
        )
        .order_by(col(EventLink.sequence))
        .limit(_BATCH)
    )
    return session.core.execute(links).scalars().all()


def _has_client_addresses(session: AccountSession, user_id: str) -> bool:
    """Return whether an event that is not chained yet, or is altered, has a client address."""
    found = select(col(SecurityEvent.id)).where(
        col(SecurityEvent.user_id) == user_id, col(SecurityEvent.source).is_not(None)
    )
    return session.core.execute(found.limit(1)).first() is not None


def _erase_client_addresses(session: AccountSession, *, user_id: str, links: Sequence[int]) -> None:
    """Erase the client addresses of these events, unless the account was restored meanwhile."""
    if not _lock_due(session, user_id):
        return
    for sequence in links:
        chained = next(iter(read_links(session, sequence - 1, sequence)), None)
        # Another run may have erased it, or an operator archived it.
        if chained is None or chained.erasure is not None:
            continue
        erasure = {
            "sequence": sequence,
            "event_id": chained.link["event_id"],
            "erased_at": session.now,
            "key_id": session.keys.key_id,
        }
        digest = _digest_of(session, chained, erasure)
        session.core.execute(insert(EventErasure).values(**erasure, erasure_digest=digest))
        session.core.execute(
            update(SecurityEvent)
            .where(col(SecurityEvent.id) == chained.link["event_id"])
            .values(source=None)
        )


def _digest_of(
    session: AccountSession, chained: ChainedEvent, erasure: Mapping[str, object]
) -> bytes:
    """Return the digest of an erasure; of an altered event one that matches nothing.

    Otherwise the erasure would make the alteration genuine.
    """
    before = _digest_before(session, chained.link["sequence"])
    if find_problem(session.keys, before, chained) is not None:
        return b""
    rest = [
        None if name == "source" else value
        for name, value in zip(EVENT_NAMES, chained.event, strict=True)
    ]
    digest = as_bytes(chained.link["chain_digest"]).hex()
    text = erased_text(content_of(before, chained.link, rest), digest, erasure)
    return session.keys.digest(Purpose.EVENT_CHAIN, text)


def _digest_before(session: AccountSession, sequence: int) -> bytes:
    """Return the digest of the link before one, or that of the last seal."""
    before = select(col(EventLink.chain_digest)).where(col(EventLink.sequence) == sequence - 1)
    digest = session.core.execute(before).scalar()
    if digest is not None:
        return as_bytes(digest)
    seals, _ = find_seals(session)
    return seals[-1].head if seals and seals[-1].last == sequence - 1 else b""


def _erase_account(session: AccountSession, *, user_id: str) -> None:
    """Delete every row of an account, unless it was restored meanwhile."""
    if not _lock_due(session, user_id) or _has_client_addresses(session, user_id):
        return
    user = find_user_view(session, user_id)
    for table in reversed(metadata.sorted_tables):  # rows before those that they refer to
        if "user_id" in table.columns and table.name != SecurityEvent.__tablename__:
            session.core.execute(delete(table).where(table.columns.user_id == user_id))
    session.core.execute(delete(User).where(col(User.id) == user_id))
    record_event(session, EventKind.USER_DELETED, user)
    _delete_empty_tenant(session, user)


def _lock_due(session: AccountSession, user_id: str) -> bool:
    """Lock an account, and return whether it is still to be erased."""
    lock_account(session, user_id)
    due = select(col(User.id)).where(
        col(User.id) == user_id, col(User.deletion_due_at) <= session.now
    )
    return session.core.execute(due).first() is not None


def _find_messages(session: AccountSession, user_id: str) -> Iterator[Sequence[str]]:
    """Yield batches of the mail to the address of an account, also of what was not delivered."""
    messages = (
        select(col(OutboxMessage.id))
        .join(User, col(User.email) == col(OutboxMessage.recipient))
        .where(col(User.id) == user_id)
    )
    ids = session.core.execute(messages).scalars().all()
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _delete_messages(session: AccountSession, *, user_id: str, ids: Sequence[str]) -> None:
    if _lock_due(session, user_id):
        session.core.execute(delete(OutboxMessage).where(col(OutboxMessage.id).in_(ids)))


def _delete_empty_tenant(session: AccountSession, user: UserView) -> None:
    """Delete the tenant of an erased account if it has no other user and no client.

    Its name may be that of a person. Clients are an operator's, who can delete them.
    """
    session.core.execute(
        delete(Tenant).where(
            col(Tenant.id) == user.tenant_id,
            ~exists().where(col(User.tenant_id) == col(Tenant.id)),
            ~exists().where(col(Client.tenant_id) == col(Tenant.id)),
        )
    )
