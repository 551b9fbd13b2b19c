"""Budgets of attempts at the doors that check a secret, shared by all replicas.

An attempt is counted before the slow hash that it costs, by one atomic upsert for each budget, and
given back when it succeeds. Counting afterwards would let any number of parallel attempts pass
(GHSA-7h8m-vrxx-vr4m). The upsert is written here: the rate limiters that there are keep their
counts in a process or in a server that this service does not have.
"""

import ipaddress
import math
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Integer, bindparam, delete, text
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import TooManyAttempts
from accounts.limits import RateLimit
from accounts.services.database import AccountSession
from accounts.values.clock_skew import APART
from models import RateLimitCounter
from models.columns import UtcDateTime

__all__ = [
    "RateLimitScope",
    "Reservation",
    "consume",
    "consume_for_source",
    "consume_mail",
    "consume_notification",
    "delete_old_attempts",
    "refund_attempt",
    "reserve_attempt",
]

_SECOND = 1_000_000  # in microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IPV6_NETWORK = 64  # what one customer has, so what one attacker has (LG-10)

# A budget that would be whole later than by all that it has was used while the clock was ahead, and
# is whole: whoever used it would be locked out until the time that it was then (OP-10).
# The generic cell rate algorithm. Where the budget is used up the row stays as it is, so that an
# attempt that was refused prolongs nothing (LG-09).
_SPEND = (
    text(
        """
    INSERT INTO attempt_budget (name_digest, whole_at, failures, changed_at)
    VALUES (:name, :now + :interval, 1, :moment)
    ON CONFLICT (name_digest) DO UPDATE SET
        whole_at = CASE WHEN attempt_budget.whole_at BETWEEN :now AND :latest
                   THEN attempt_budget.whole_at ELSE :now END + :interval,
        failures = attempt_budget.failures + 1,
        changed_at = :moment
    WHERE attempt_budget.whole_at <= :now + :window - :interval
        OR attempt_budget.whole_at > :latest
    RETURNING failures, succeeded_at
    """
    )
    .bindparams(bindparam("moment", type_=UtcDateTime))
    .columns(failures=Integer, succeeded_at=UtcDateTime)
)

_WHOLE_AT = text("SELECT whole_at FROM attempt_budget WHERE name_digest = :name")

_REFUND = text(
    "UPDATE attempt_budget SET whole_at = whole_at - :interval, failures = 0"
    " WHERE name_digest = :name"
)

_RESET = text(
    "UPDATE attempt_budget SET whole_at = :now, failures = 0, succeeded_at = :moment"
    " WHERE name_digest = :name"
).bindparams(bindparam("moment", type_=UtcDateTime))


class RateLimitScope(StrEnum):
    """Where attempts are counted; what happens at one does not count at another."""

    PASSWORD = "password"  # noqa: S105 # the name of a door
    CLIENT = "client"
    SIGNUP = "signup"
    MAIL = "mail"


class _Count(NamedTuple):
    name: bytes
    failures: int
    succeeded_at: datetime | None


class Reservation(NamedTuple):
    """One attempt that was counted. `failures` are those before it since the last success."""

    source: bytes
    pair: bytes
    account: bytes | None
    failures: int


def reserve_attempt(session: AccountSession, door: RateLimitScope, account: str) -> Reservation:
    """Count an attempt at an account, which need not exist (LG-08).

    To be called in a writing transaction that is committed before the secret is checked. A source
    that this account was used from lately has a budget of its own with it, and is not stopped by
    what others do: else anybody could lock out anybody (LG-06).

    Raises:
        TooManyAttempts: A budget is used up; nothing is counted.
    """
    limits, source = session.limits, _network(session.origin.address)
    of_source = consume(session, f"{door}|source|{source}", limits.source_budget, "source")
    pair = consume(
        session,
        f"{door}|pair|{source}|{account}",
        limits.account_and_source_budget,
        "account-source",
    )
    of_account = None
    known_since = session.now - limits.known_source_lifetime
    if pair.succeeded_at is None or pair.succeeded_at < known_since:
        name = f"{door}|account|{account}"
        of_account = consume(session, name, limits.account_budget, "account").name
    return Reservation(of_source.name, pair.name, of_account, pair.failures - 1)


def refund_attempt(session: AccountSession, reservation: Reservation) -> None:
    """Give an attempt back that has succeeded.

    The account and the source get back the one attempt and no more: a success at one's own account
    must not make room for more attempts at another's (LG-17).
    """
    now = {"now": _microseconds(session.now), "moment": session.now}
    # In the order in which they are reserved, or two attempts would wait for each other.
    _refund(session, reservation.source, session.limits.source_budget)
    session.core.execute(_RESET, {"name": reservation.pair, **now})
    if reservation.account is not None:
        _refund(session, reservation.account, session.limits.account_budget)


def _refund(session: AccountSession, name: bytes, budget: RateLimit) -> None:
    session.core.execute(_REFUND, {"name": name, "interval": _interval(budget)})


def consume(session: AccountSession, name: str, budget: RateLimit, policy: str) -> _Count:
    """Count one attempt against the budget of this name; `policy` is what callers see of it.

    Raises:
        TooManyAttempts: It is used up, and stays as it is.
    """
    # A digest, since a name holds what strangers typed, and a dump shall not tell who they are.
    digest = session.keys.digest(Purpose.ATTEMPTS, name)
    now, interval = _microseconds(session.now), _interval(budget)
    spent = session.core.execute(
        _SPEND,
        {
            "name": digest,
            "now": now,
            "interval": interval,
            "window": budget.attempts * interval,
            "latest": now + budget.attempts * interval + APART // timedelta(microseconds=1),
            "moment": session.now,
        },
    ).first()
    if spent is not None:
        return _Count(digest, spent.failures, spent.succeeded_at)
    whole_at = session.core.execute(_WHOLE_AT, {"name": digest}).scalar_one()
    wait = whole_at + interval - now - budget.attempts * interval
    raise TooManyAttempts(
        policy,
        quota=budget.attempts,
        window=budget.seconds,
        retry_after=max(1, math.ceil(wait / _SECOND)),
    )


def consume_for_source(session: AccountSession, door: RateLimitScope, budget: RateLimit) -> None:
    """Count one attempt of the present source at a door that belongs to no account.

    Raises:
        TooManyAttempts: The source has used its budget up.
    """
    consume(session, f"{door}|source|{_network(session.origin.address)}", budget, str(door))


def consume_mail(session: AccountSession, address: str, about: str) -> None:
    """Count one mail to an address that somebody asked for who may not be its owner (EM-14).

    What it is `about` has a budget of its own: whoever has others mailed about one thing must not
    keep them from another.

    Raises:
        TooManyAttempts: The address was mailed too often, or the source asked too often.
    """
    consume_for_source(session, RateLimitScope.MAIL, session.limits.source_budget)
    consume_notification(session, address, about)


def consume_notification(session: AccountSession, reader: str, about: str) -> None:
    """Count one mail to an address, or to a person about what was done in their account (EM-14).

    Raises:
        TooManyAttempts: They were mailed about it too often.
    """
    consume(session, f"{RateLimitScope.MAIL}|{about}|{reader}", session.limits.mail_budget, "mail")


def delete_old_attempts(session: AccountSession) -> int:
    """Delete budgets that are whole and sources that are no longer known; returns how many."""
    limits = session.limits
    longest = max(
        limits.known_source_lifetime,
        *(
            timedelta(seconds=budget.seconds)
            for budget in (
                limits.account_and_source_budget,
                limits.account_budget,
                limits.source_budget,
                limits.signup_budget,
                limits.mail_budget,
            )
        ),
    )
    return session.core.execute(
        delete(RateLimitCounter).where(col(RateLimitCounter.changed_at) < session.now - longest)
    ).rowcount


def _network(address: str | None) -> str:
    """What an address counts as: itself, or for IPv6 the network that one customer has."""
    if address is None:
        return "unknown"
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:  # noqa: PLR2004 # the version of IP
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def _interval(budget: RateLimit) -> int:
    # Rounded up, so that no more attempts fit than the budget says.
    return -(-budget.seconds * _SECOND // budget.attempts)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
