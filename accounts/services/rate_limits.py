"""Rate limit counters, shared by all replicas: the generic cell rate algorithm in SQL.

There is no library for this: existing rate limiters keep their counters in a process or in a
server that this service does not have.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, delete, text
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import TooManyAttempts
from accounts.limits import RateLimit
from accounts.services.database import AccountSession
from accounts.values.clock_skew import MAX_CLOCK_DIFFERENCE
from models import RateLimitCounter
from models.columns import UtcDateTime

_SECOND = 1_000_000  # in microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The generic cell rate algorithm. `whole_at` is when the limit is fully replenished. If it is later
# than a full limit allows, the limit was used while the clock was ahead, and counts as replenished:
# otherwise the user would be locked out until that time (OP-10). If the limit is used up, the row
# stays unchanged, so that a rejected attempt does not prolong the wait (LG-09).
_UPSERT = """
    INSERT INTO attempt_budget (name_digest, whole_at, failures, changed_at)
    VALUES (:name, :now + :interval, 1, :moment)
    ON CONFLICT (name_digest) DO UPDATE SET
        whole_at = CASE WHEN attempt_budget.whole_at BETWEEN :now AND :latest
                   THEN attempt_budget.whole_at ELSE :now END + :interval,
        failures = attempt_budget.failures + 1,
        changed_at = :moment
    WHERE attempt_budget.whole_at <= :now + :window - :interval
        OR attempt_budget.whole_at > :latest
"""
_MOMENT = bindparam("moment", type_=UtcDateTime)
_CONSUME = (
    text(f"{_UPSERT} RETURNING failures, succeeded_at")
    .bindparams(_MOMENT)
    .columns(failures=Integer, succeeded_at=UtcDateTime)
)
#: For what requests do most, as a prepared statement.
_CONSUME_QUICKLY = text(_UPSERT).bindparams(_MOMENT)

_WHOLE_AT = text("SELECT whole_at FROM attempt_budget WHERE name_digest = :name")

_REFUND = text(
    "UPDATE attempt_budget SET whole_at = whole_at - :interval, failures = 0"
    " WHERE name_digest = :name"
)

_CLEAR = text("UPDATE attempt_budget SET whole_at = :now, failures = 0 WHERE name_digest = :name")

_RECORD_SUCCESS = text(
    """
    INSERT INTO attempt_budget (name_digest, whole_at, failures, changed_at, succeeded_at)
    VALUES (:name, :now, 0, :moment, :moment)
    ON CONFLICT (name_digest) DO UPDATE SET
        whole_at = :now, failures = 0, changed_at = :moment, succeeded_at = :moment
    """
).bindparams(_MOMENT)


class Count(NamedTuple):
    """A counter after an attempt: its digest, its failures, and when it last succeeded."""

    name: bytes
    failures: int
    succeeded_at: datetime | None


def consume(session: AccountSession, name: str, budget: RateLimit, policy: str) -> Count:
    """Count one attempt against a rate limit; `policy` is its name in responses.

    Raises:
        TooManyAttempts: The limit is used up, and stays unchanged.
    """
    parameters = _parameters(session, name, budget)
    row = session.core.execute(_CONSUME, parameters).first()
    if row is None:
        raise _refusal(session, parameters, budget, policy)
    return Count(parameters["name"], row.failures, row.succeeded_at)


def consume_quickly(session: AccountSession, name: str, budget: RateLimit, policy: str) -> None:
    """Count one attempt, as `consume` does, by a prepared statement.

    Raises:
        TooManyAttempts: The limit is used up, and stays unchanged.
    """
    parameters = _parameters(session, name, budget)
    if not session.write(_CONSUME_QUICKLY, parameters):
        raise _refusal(session, parameters, budget, policy)


def refund(session: AccountSession, name: bytes, budget: RateLimit) -> None:
    """Give one attempt back to a counter."""
    session.core.execute(_REFUND, {"name": name, "interval": _interval(budget)})


def replenish(session: AccountSession, name: str) -> None:
    """Give all attempts back to a counter."""
    parameters = {"name": digest_of(session, name), "now": _microseconds(session.now)}
    session.core.execute(_CLEAR, parameters)


def record_success(session: AccountSession, name: bytes) -> None:
    """Record a success at a counter, which may be new, and give it all attempts back."""
    parameters = {"name": name, "now": _microseconds(session.now), "moment": session.now}
    session.core.execute(_RECORD_SUCCESS, parameters)


def digest_of(session: AccountSession, name: str) -> bytes:
    """Return what a counter is stored under: names have user input, which a dump must not show."""
    return session.keys.digest(Purpose.ATTEMPTS, name)


def delete_old_attempts(session: AccountSession) -> int:
    """Delete counters that are replenished and sources that are forgotten; returns how many."""
    values = [getattr(session.limits, field.name) for field in fields(session.limits)]
    longest = max(
        session.limits.known_source_lifetime,
        *(timedelta(seconds=value.seconds) for value in values if isinstance(value, RateLimit)),
    )
    return session.core.execute(
        delete(RateLimitCounter).where(col(RateLimitCounter.changed_at) < session.now - longest)
    ).rowcount


def _parameters(session: AccountSession, name: str, budget: RateLimit) -> dict[str, Any]:
    now, interval = _microseconds(session.now), _interval(budget)
    window = budget.attempts * interval
    return {
        "name": digest_of(session, name),
        "now": now,
        "interval": interval,
        "window": window,
        "latest": now + window + MAX_CLOCK_DIFFERENCE // timedelta(microseconds=1),
        "moment": session.now,
    }


def _refusal(
    session: AccountSession, parameters: Mapping[str, Any], budget: RateLimit, policy: str
) -> TooManyAttempts:
    whole_at = session.core.execute(_WHOLE_AT, {"name": parameters["name"]}).scalar_one()
    wait = whole_at + parameters["interval"] - parameters["now"] - parameters["window"]
    return TooManyAttempts(
        policy,
        quota=budget.attempts,
        window=budget.seconds,
        retry_after=max(1, math.ceil(wait / _SECOND)),
    )


def _interval(budget: RateLimit) -> int:
    # Rounded up, so that no more attempts fit than the limit allows.
    return -(-budget.seconds * _SECOND // budget.attempts)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
