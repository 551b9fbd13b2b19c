"""Leasing outgoing messages for delivery, and recording the outcome.

A replica leases a few messages, sends them outside any transaction, and records each outcome in
a transaction of its own (EM-18).
"""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import JSON, Select, case, func, literal, or_, select, update
from sqlmodel import col

from accounts.crypto.keyring import SealBroken
from accounts.services.database import AccountSession
from accounts.services.mail.outbox import (
    AWAITED,
    IS_OPEN,
    SELECT_MESSAGES,
    Message,
    unseal_parameters,
)
from accounts.values.clock_skew import is_due
from models import OutboxMessage

_BATCH = 10
#: Added to a lease for everything but sending, in seconds.
_SPARE = 60.0
#: The longest that ONESELF_SMTP_SECONDS may be (oneself/settings.py). The lease of another replica
#: depends on its own settings, and replicas are reconfigured one after the other.
_LONGEST_SECONDS = 120.0

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_LONGEST_TRYING = timedelta(hours=24)
#: A message posted long ago, while no service ran, is not given up at the first 4xx.
_FEWEST_TRIES = 5


#: Notices wait for the mail that a user waits for. A user can request only so much of that.
_IN_ORDER = (
    case((col(OutboxMessage.kind).in_(AWAITED), 0), else_=1),
    col(OutboxMessage.due_at),
    col(OutboxMessage.id),
)


class Lease(NamedTuple):
    """A message that one process alone may send, until a time that no other lease of it has."""

    message: Message
    parameters: Mapping[str, str]
    until: datetime


def lease_duration(seconds: float) -> timedelta:
    """Return how long a batch is leased, if sending one message takes at most `seconds`."""
    return timedelta(seconds=_BATCH * seconds + _SPARE)


_LONGEST_LEASE = lease_duration(_LONGEST_SECONDS)


def has_due_messages(session: AccountSession, *, skip: Collection[str]) -> bool:
    """Return whether a message can be leased. Takes no lock, since it is asked each second."""
    return session.core.execute(_due(session, skip).limit(1)).first() is not None


def lease_messages(
    session: AccountSession, duration: timedelta, *, skip: Collection[str]
) -> tuple[list[Lease], list[tuple[Lease, Exception]]]:
    """Lease the next messages, awaited ones first; `skip` are the ids of those to leave alone.

    Returns the leases, and those that are over at once because the message cannot be read, each
    with the error.
    """
    leases: list[Lease] = []
    unreadable: list[tuple[Lease, Exception]] = []
    until = session.now + duration
    # In a CTE: PostgreSQL may run a subselect with a LIMIT several times. SQLite has no FOR
    # UPDATE, SQLAlchemy leaves it out there, and the transaction has the lock already.
    due = _due(session, skip).limit(_BATCH).with_for_update(skip_locked=True).cte("due")
    leased = session.core.execute(
        update(OutboxMessage)
        .where(col(OutboxMessage.id).in_(select(due.c.id)))
        .values(leased_until=until)
        .returning(col(OutboxMessage.id))
    ).scalars()
    rows = session.core.execute(
        SELECT_MESSAGES.where(col(OutboxMessage.id).in_(list(leased))).order_by(*_IN_ORDER)
    )
    for message in map(Message._make, rows):
        try:
            leases.append(Lease(message, unseal_parameters(session, message), until))
        except (SealBroken, ValueError) as error:
            unreadable.append((Lease(message, {}, until), error))
    if unreadable:
        release_leases(session, [lease for lease, _ in unreadable])
    return leases, unreadable


def holds_lease(session: AccountSession, lease: Lease, time_to_send: timedelta) -> bool:
    """Return whether a lease lasts until its message is sent; a slow batch could outlast it."""
    leased_until = session.core.execute(
        select(col(OutboxMessage.leased_until)).where(col(OutboxMessage.id) == lease.message.id)
    ).scalar()
    return leased_until == lease.until and session.now + time_to_send <= lease.until


def release_leases(session: AccountSession, leases: Sequence[Lease], **values: object) -> None:
    """End leases of one batch, each unless the message was leased again; sets `values` with it."""
    session.core.execute(
        update(OutboxMessage)
        .where(
            col(OutboxMessage.id).in_([lease.message.id for lease in leases]),
            # A later lease ends later, and its message is not written to.
            col(OutboxMessage.leased_until) == leases[0].until,
        )
        .values(leased_until=None, **values)
    )


def mark_delivered(session: AccountSession, message_id: str) -> None:
    """Mark a message as delivered, whichever replica leases it now, and empty its parameters."""
    # The parameters are no longer needed, and may hold a secret.
    session.core.execute(
        update(OutboxMessage)
        .where(col(OutboxMessage.id) == message_id)
        .values(delivered_at=session.now, parameters_sealed=b"", leased_until=None)
    )


def record_failure(
    session: AccountSession, leases: Sequence[Lease], problem: str, *, is_final: bool
) -> list[str]:
    """Postpone messages that were not sent, or give them up; returns the ids of the latter.

    A message is given up if the failure is final, or after a day and five attempts.
    """
    given_up = []
    for lease in leases:
        attempts = lease.message.attempts + 1
        due_at = session.now + _pause(attempts)
        is_late = due_at > lease.message.created_at + _LONGEST_TRYING
        is_dead = is_final or (is_late and attempts >= _FEWEST_TRIES)
        if is_dead:
            given_up.append(lease.message.id)
        values = {"gave_up_at": session.now} if is_dead else {"due_at": due_at}
        release_leases(session, [lease], attempts=attempts, last_problem=problem, **values)
    return given_up


def _due(session: AccountSession, skip: Collection[str]) -> Select[str]:
    due_at, leased_until = col(OutboxMessage.due_at), col(OutboxMessage.leased_until)
    due = (
        select(col(OutboxMessage.id))
        .where(
            is_due(due_at, session.now, _LONGEST_PAUSE),
            IS_OPEN,
            or_(leased_until.is_(None), is_due(leased_until, session.now, _LONGEST_LEASE)),
        )
        .order_by(*_IN_ORDER)
    )
    if not skip:
        return due
    # One parameter for all ids: both databases limit the number of parameters, and a replica
    # without the right root secret may have met more unreadable messages than that.
    on_sqlite = session.core.dialect.name == "sqlite"
    unnest = func.json_each if on_sqlite else func.json_array_elements_text
    skipped = unnest(literal(list(skip), JSON())).table_valued("value")
    return due.where(col(OutboxMessage.id).not_in(select(skipped.c.value)))


def _pause(attempts: int) -> timedelta:
    """Return one minute, two, four and so on up to an hour, each up to a fifth shorter by chance.

    Messages that failed together are not retried together.
    """
    longest = min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)
    factor = random.uniform(0.8, 1)  # noqa: S311 # predicting it gains an attacker nothing
    return timedelta(seconds=longest.total_seconds() * factor)
