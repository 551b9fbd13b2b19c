"""Rate limits for attempts at passwords, client secrets, signups and mail, shared by all replicas.

An attempt is counted before its slow hash, by one atomic upsert per limit, and refunded when it
succeeds. Counting afterwards would let any number of parallel attempts through
(GHSA-7h8m-vrxx-vr4m). There is no library for this: existing rate limiters keep their counters in
a process or in a server that this service does not have.
"""

import ipaddress
import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

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
_IPV6_NETWORK = 64  # the prefix of one customer, and so of one attacker (LG-10)

# The generic cell rate algorithm. `whole_at` is when the limit is fully replenished. If it is later
# than a full limit allows, the limit was used while the clock was ahead, and counts as replenished:
# otherwise the user would be locked out until that time (OP-10). If the limit is used up, the row
# stays unchanged, so that a rejected attempt does not prolong the wait (LG-09).
_CONSUME = (
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
    """The scopes of rate limits; attempts in one scope do not count in another."""

    PASSWORD = "password"  # noqa: S105 # the name of a scope
    CLIENT = "client"
    SIGNUP = "signup"
    MAIL = "mail"


class _Count(NamedTuple):
    name: bytes
    failures: int
    succeeded_at: datetime | None


class Reservation(NamedTuple):
    """One counted attempt. `failures` are the failures before it since the last success."""

    source: bytes
    pair: bytes
    account: bytes | None
    failures: int


def reserve_attempt(session: AccountSession, scope: RateLimitScope, account: str) -> Reservation:
    """Count an attempt at an account, which need not exist (LG-08).

    To be called in a writing transaction that is committed before the secret is checked. A source
    from which this account was used recently has a limit of its own for it, which the attempts of
    other sources do not affect: otherwise an attacker could lock out any user (LG-06).

    Raises:
        TooManyAttempts: A limit is used up; nothing is counted.
    """
    limits, source = session.limits, _network(session.origin.address)
    source_count = consume(session, f"{scope}|source|{source}", limits.source_budget, "source")
    pair = consume(
        session,
        f"{scope}|pair|{source}|{account}",
        limits.account_and_source_budget,
        "account-source",
    )
    account_name = None
    known_since = session.now - limits.known_source_lifetime
    if pair.succeeded_at is None or pair.succeeded_at < known_since:
        name = f"{scope}|account|{account}"
        account_name = consume(session, name, limits.account_budget, "account").name
    return Reservation(source_count.name, pair.name, account_name, pair.failures - 1)


def refund_attempt(session: AccountSession, reservation: Reservation) -> None:
    """Refund a reservation after success.

    The account and the source get back one attempt and no more: a success at an attacker's own
    account must not allow more attempts at another (LG-17).
    """
    now = {"now": _microseconds(session.now), "moment": session.now}
    # In the order of the reservation; otherwise two attempts could deadlock.
    _refund(session, reservation.source, session.limits.source_budget)
    session.core.execute(_RESET, {"name": reservation.pair, **now})
    if reservation.account is not None:
        _refund(session, reservation.account, session.limits.account_budget)


def _refund(session: AccountSession, name: bytes, budget: RateLimit) -> None:
    session.core.execute(_REFUND, {"name": name, "interval": _interval(budget)})


def consume(session: AccountSession, name: str, budget: RateLimit, policy: str) -> _Count:
    """Count one attempt against a rate limit; `policy` is its name in responses.

    Raises:
        TooManyAttempts: The limit is used up, and stays unchanged.
    """
    # A digest, since names contain user input, and a dump must not reveal whose.
    digest = session.keys.digest(Purpose.ATTEMPTS, name)
    now, interval = _microseconds(session.now), _interval(budget)
    row = session.core.execute(
        _CONSUME,
        {
            "name": digest,
            "now": now,
            "interval": interval,
            "window": budget.attempts * interval,
            "latest": now
            + budget.attempts * interval
            + MAX_CLOCK_DIFFERENCE // timedelta(microseconds=1),
            "moment": session.now,
        },
    ).first()
    if row is not None:
        return _Count(digest, row.failures, row.succeeded_at)
    whole_at = session.core.execute(_WHOLE_AT, {"name": digest}).scalar_one()
    wait = whole_at + interval - now - budget.attempts * interval
    raise TooManyAttempts(
        policy,
        quota=budget.attempts,
        window=budget.seconds,
        retry_after=max(1, math.ceil(wait / _SECOND)),
    )


def consume_for_source(session: AccountSession, scope: RateLimitScope, budget: RateLimit) -> None:
    """Count one attempt of the request's source in a scope that is not about an account.

    Raises:
        TooManyAttempts: The source has used up its limit.
    """
    consume(session, f"{scope}|source|{_network(session.origin.address)}", budget, str(scope))


def consume_mail(session: AccountSession, address: str, about: str) -> None:
    """Count one mail to an address that a possibly unrelated caller has requested (EM-14).

    Each subject in `about` has a limit of its own, so that using up one does not keep the owner
    from requesting mail about another.

    Raises:
        TooManyAttempts: Too many mails to the address, or requests from the source.
    """
    consume_for_source(session, RateLimitScope.MAIL, session.limits.source_budget)
    consume_notification(session, address, about)


def consume_notification(session: AccountSession, reader: str, about: str) -> None:
    """Count one mail to an address, or one notification to a user, about a subject (EM-14).

    Raises:
        TooManyAttempts: Too many mails about it.
    """
    consume(session, f"{RateLimitScope.MAIL}|{about}|{reader}", session.limits.mail_budget, "mail")


def consume_repeated_link(session: AccountSession, user_id: str, about: str) -> None:
    """Count one link that is mailed although the user has an earlier one that works (EM-14).

    Raises:
        TooManyAttempts: Too many of them today.
    """
    name = f"{RateLimitScope.MAIL}|repeated|{about}|{user_id}"
    consume(session, name, session.limits.repeated_link_budget, "mail")


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


def _network(address: str | None) -> str:
    """Return the address to count by: itself, or for IPv6 the network of one customer."""
    if address is None:
        return "unknown"
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:  # noqa: PLR2004 # the version of IP
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def _interval(budget: RateLimit) -> int:
    # Rounded up, so that no more attempts fit than the limit allows.
    return -(-budget.seconds * _SECOND // budget.attempts)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
