"""Rate limits for attempts at secrets, for signups, mail and writes.

An attempt is counted before its slow hash, by one atomic upsert per limit, and refunded when it
succeeds. Counting afterwards would let any number of parallel attempts through
(GHSA-7h8m-vrxx-vr4m).

A limit that other people can use up applies neither to a source that an account is known from nor
to a live session of it (ADR 33).
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import bindparam, select, update
from sqlmodel import col

from accounts.limits import Limits, RateLimit
from accounts.services.credentials import is_live
from accounts.services.database import AccountSession
from accounts.services.idle_sessions import idle_since
from accounts.services.principal import CredentialKind, Principal
from accounts.services.rate_limits import (
    consume,
    consume_quickly,
    digest_of,
    record_success,
    refund,
    replenish,
)
from models import LoginSession

_IPV6_NETWORK = 64  # the prefix of one customer, and so of one attacker (LG-10)
_IPV6_SITE = 48  # the prefix of one site, which has 65,536 of those networks
_SITE_FACTOR = 10

_SESSION_AT = (
    select(col(LoginSession.id))
    .where(
        col(LoginSession.source_digest) == bindparam("pair"),
        is_live(LoginSession, bindparam("now"), bindparam("idle_since")),
    )
    .limit(1)
)
_MOVE_SESSION = (
    update(LoginSession)
    .where(
        col(LoginSession.id) == bindparam("session_id"),
        col(LoginSession.source_digest).is_distinct_from(bindparam("pair")),
    )
    .values(source_digest=bindparam("pair"))
)


class RateLimitScope(StrEnum):
    """The scopes of rate limits; attempts in one scope do not count in another."""

    PASSWORD = "password"  # noqa: S105 # the name of a scope
    SECOND_FACTOR = "second-factor"
    CLIENT = "client"
    SIGNUP = "signup"
    MAIL = "mail"


class Writer(StrEnum):
    """The classes of credential that write to an account, each with a limit of its own.

    A stolen credential of one class does not keep the owner from writing with another.
    """

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 # the name of a class
    LOGIN = "login"
    CLIENT = "client"

    @classmethod
    def of(cls, kind: CredentialKind) -> "Writer":
        """Return the class of a kind of credential; a JWT is as strong as its session."""
        is_session = kind in {CredentialKind.SESSION, CredentialKind.JWT}
        return cls.SESSION if is_session else cls.TOKEN


class Reservation(NamedTuple):
    """One counted attempt.

    `pair` counts the account and the source together. `shared` are the counters, with their limits,
    that count other accounts or other sources too; there are none if the source is known.
    `failures` are the failures before the attempt since the last success.
    """

    pair: bytes
    shared: tuple[tuple[bytes, RateLimit], ...]
    failures: int


def reserve_attempt(
    session: AccountSession, scope: RateLimitScope, account: str, *, session_id: str | None = None
) -> Reservation:
    """Count an attempt at an account, which need not exist (LG-08).

    To be called in a writing transaction that is committed before the secret is checked. Each
    account has a limit for each source. Attempts from unknown sources also count for the source
    and, in the scopes of passwords and of codes, for the account; client secrets are too long to be
    guessed, and a limit for the account would only lock out the client. A source that the account
    succeeded from recently is known, and exempt from those: otherwise an attacker could lock out
    any user (LG-06).

    A live session of the account replaces those limits by one of its own: the session of the
    request, `session_id`, or one that was last used from this source. Otherwise a stolen session
    could make any number of sources known, and guess from each.

    Raises:
        TooManyAttempts: A limit is used up; nothing is counted.
    """
    limits = session.limits
    name = _pair_name(scope, session.origin.address, account)
    pair = consume(session, name, limits.account_and_source_budget, "account-source")
    known_since = session.now - limits.known_source_lifetime
    if pair.succeeded_at is not None and pair.succeeded_at >= known_since:
        return Reservation(pair.name, (), pair.failures - 1)
    account_budget = _account_budget(limits, scope)
    if account_budget is not None:
        session_id = session_id or _find_session(session, pair.name)
    if session_id is not None:
        shared = [(f"{scope}|session|{session_id}", limits.account_and_source_budget, "session")]
    else:
        shared = [
            (f"{scope}|source|{network}", budget, "source")
            for network, budget in _source_limits(session, limits.source_budget)
        ]
        if account_budget is not None:
            shared.append((f"{scope}|account|{account}", account_budget, "account"))
    counted = tuple(
        (consume(session, name, budget, policy).name, budget) for name, budget, policy in shared
    )
    return Reservation(pair.name, counted, pair.failures - 1)


def _account_budget(limits: Limits, scope: RateLimitScope) -> RateLimit | None:
    """Return the limit of an account for secrets that can be guessed."""
    if scope is RateLimitScope.SECOND_FACTOR:
        return limits.second_factor_budget
    return limits.account_budget if scope is RateLimitScope.PASSWORD else None


def reserve_password_attempt(session: AccountSession, principal: Principal) -> Reservation:
    """Count an attempt of a caller at the own password, as a login counts one.

    The limits are those of logins: another way to try a password must not double them.

    Raises:
        TooManyAttempts: The session has failed too often or, here or at a login, its source has.
    """
    session.attempted = principal.user.email
    return reserve_attempt(
        session,
        RateLimitScope.PASSWORD,
        principal.user.user_id,
        session_id=principal.credential.session_id,
    )


def refund_attempt(session: AccountSession, reservation: Reservation) -> None:
    """Refund a reservation after success, and make its source known to the account.

    The shared limits get back one attempt and no more: a success at an attacker's own account must
    not allow more attempts at another (LG-17).
    """
    # In the order of the reservation; otherwise two attempts could deadlock.
    record_success(session, reservation.pair)
    for name, budget in reservation.shared:
        refund(session, name, budget)


def return_attempt(session: AccountSession, reservation: Reservation) -> None:
    """Refund a reservation after the right password, whose user is not known before the code is.

    The source stays unknown: otherwise an attacker with the password had more attempts from there.
    """
    refund(session, reservation.pair, session.limits.account_and_source_budget)
    for name, budget in reservation.shared:
        refund(session, name, budget)


def make_source_known(session: AccountSession, user_id: str) -> None:
    """Make the source of the request known to an account that it has just opened or recovered.

    The limit of the account is cleared: others had used it up, and only the owner gets this far.
    """
    record_success(session, _password_pair(session, session.origin.address, user_id))
    replenish(session, f"{RateLimitScope.PASSWORD}|account|{user_id}")


def record_session_sources(
    session: AccountSession, sources: Mapping[str, tuple[str, str | None]]
) -> None:
    """Record the source that each session was last used from, by its id: the user and the address.

    Only a digest is stored, the same that counts the attempts at this account from this source.
    """
    # In one order: two replicas that lock the same rows would otherwise wait for each other.
    rows = [
        {"session_id": session_id, "pair": _password_pair(session, address, user_id)}
        for session_id, (user_id, address) in sorted(sources.items())
    ]
    if rows:
        session.core.execute(_MOVE_SESSION, rows)


def _find_session(session: AccountSession, pair: bytes) -> str | None:
    """Return a live session that was last used from the source of the account, if there is one."""
    parameters = {
        "pair": pair,
        "now": session.now,
        "idle_since": idle_since(session.limits, session.now),
    }
    for (session_id,) in session.rows(_SESSION_AT, parameters):
        return str(session_id)
    return None


def consume_write(
    session: AccountSession, writer: Writer, user_id: str, *, keeps_response: bool = False
) -> None:
    """Count one write to an account; a write whose response is kept for a retry counts apart.

    Kept responses are never dropped before they expire: the client may still retry.

    Raises:
        TooManyAttempts: Too many writes with this class of credential.
    """
    limits = session.limits
    policy, budget = "write", limits.write_budget
    if keeps_response:
        policy, budget = "idempotency", limits.idempotency_budget
    consume_quickly(session, f"{policy}|{writer}|{user_id}", budget, policy)


def consume_for_source(session: AccountSession, scope: RateLimitScope, budget: RateLimit) -> None:
    """Count one attempt of the request's source in a scope that is not about an account.

    Raises:
        TooManyAttempts: The source has used up its limit.
    """
    for network, limit in _source_limits(session, budget):
        consume(session, f"{scope}|source|{network}", limit, str(scope))


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


def _pair_name(scope: RateLimitScope, address: str | None, account: str) -> str:
    return f"{scope}|pair|{_networks(address)[0]}|{account}"


def _password_pair(session: AccountSession, address: str | None, user_id: str) -> bytes:
    return digest_of(session, _pair_name(RateLimitScope.PASSWORD, address, user_id))


def _source_limits(session: AccountSession, budget: RateLimit) -> Iterable[tuple[str, RateLimit]]:
    """Return the networks that count the source of a request, with their limits.

    A site has ten times the limit: without one, a customer with a whole site would have 65,536
    limits, and with the same limit the users of a mobile network would share it.
    """
    larger = budget._replace(attempts=budget.attempts * _SITE_FACTOR)
    return zip(_networks(session.origin.address), (budget, larger), strict=False)


def _networks(address: str | None) -> Sequence[str]:
    """Return the networks to count an address by: itself or, for IPv6, its /64 and its /48."""
    if address is None:
        return ("unknown",)
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:  # noqa: PLR2004 # the version of IP
        return (str(parsed),)
    return tuple(
        str(ipaddress.ip_network((parsed, prefix), strict=False))
        for prefix in (_IPV6_NETWORK, _IPV6_SITE)
    )
