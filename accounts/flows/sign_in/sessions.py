"""Login, logout, and listing and revoking sessions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlmodel import col

from accounts.crypto import password_hashing, tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidCredentials, SecondFactorRequired
from accounts.flows.sign_in.login_networks import (
    note_failed_login,
    note_login,
    notify_of_new_network,
)
from accounts.services import throttling
from accounts.services.credentials import SESSION, revoke, revoke_all, select_live
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.factors.challenges import (
    Challenge,
    end_challenge,
    open_challenge,
    reserve_challenge,
)
from accounts.services.factors.codes import reserve_code_attempt, use_code
from accounts.services.idle_sessions import idle_since
from accounts.services.principal import Authentication, Principal, PublicCredential
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values import email_address, password_strength
from accounts.values.authentication_methods import MULTI_FACTOR, ONE_TIME_PASSWORD, PASSWORD
from accounts.values.identifiers import new_id
from models import LoginSession, PasswordRecord, Tenant, User


class ListedSession(NamedTuple):
    """A live session, as its owner sees it."""

    id: str
    user_agent: str | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


_LIVE = select_live(SESSION, ListedSession)


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new session; the only time that its token is known."""

    user: UserView
    session_id: str
    token: str
    expires_at: datetime


def log_in(
    session: AccountSession, *, email: str, password: str, user_agent: str | None
) -> OpenedSession:
    """Log in a user without a second factor by email address and password.

    Raises:
        SecondFactorRequired: The account has one, and only `begin_login` asks for it.
        TooManyAttempts, InvalidCredentials, Forbidden: As `begin_login`.
    """
    user, reservation = _verify_password(session, email=email, password=password)
    if user.has_second_factor:
        raise SecondFactorRequired
    return _finish_login(session, user, reservation, user_agent=user_agent)


def begin_login(
    session: AccountSession, *, email: str, password: str, user_agent: str | None
) -> OpenedSession | Challenge:
    """Log in a user by email address and password, or open a challenge for the second factor.

    An unknown address, a disabled account and an account without a local password cost one hash
    like any other, and are rejected alike (LG-01, LG-02). A failed attempt is counted and leaves
    no event, since it cannot be attributed to a user.

    Raises:
        TooManyAttempts: The account or the source has failed too often, or the account has been
            logged in to too often.
        InvalidCredentials: No enabled local user has this address and this password.
        Forbidden: A policy forbids it. Only the right password reveals that: otherwise the response
            would show which addresses have an account. With a second factor it decides once that is
            known.
    """
    user, reservation = _verify_password(session, email=email, password=password)
    if user.has_second_factor:
        return open_challenge(session, user.user_id)
    return _finish_login(session, user, reservation, user_agent=user_agent)


def _verify_password(
    session: AccountSession, *, email: str, password: str
) -> tuple[UserView, throttling.Reservation]:
    """Return the user of an address and a password, and the attempt that was counted."""
    session.attempted = email
    user_id, record = _find_password(session, email)
    # Counted by user and not by address, which a logged-in attacker could change between attempts.
    reservation = throttling.reserve_attempt(
        session,
        throttling.RateLimitScope.PASSWORD,
        user_id or email_address.canonical(email) or email,
    )
    normalised = password_strength.normalise(password)
    new_record = None
    with session.outside_transaction():
        ok = password_hashing.verify(normalised, record, session.keys, session.limits)
        if (
            ok
            and normalised
            and record
            and password_hashing.needs_rehash(record, session.keys, session.limits)
        ):
            new_record = password_hashing.hash_password(normalised, session.keys, session.limits)
    if user_id is not None:
        lock_account(session, user_id)
    # Read again: the password may have been changed, or the user disabled, during the hash.
    if not ok or user_id is None or _find_password(session, email) != (user_id, record):
        note_failed_login(session, user_id, email)
        raise InvalidCredentials
    user = find_user_view(session, user_id)
    if not user.has_second_factor:
        by_password = Authentication(session.now, (PASSWORD,))
        session.authorise_public(user, PublicCredential.PASSWORD, by_password)
    if new_record is not None:
        session.core.execute(
            update(PasswordRecord)
            .where(col(PasswordRecord.user_id) == user_id)
            .values(record=new_record)
        )
    throttling.consume_write(session, throttling.Writer.LOGIN, user_id)
    if user.has_second_factor:
        throttling.return_attempt(session, reservation)
    else:
        throttling.refund_attempt(session, reservation)
    return user, reservation


def complete_challenge(
    session: AccountSession, *, challenge_id: str, code: str, user_agent: str | None
) -> OpenedSession:
    """Open the session of a login that waits for a second factor.

    Attempts are counted for the challenge, of which one has five, and for the account. A challenge
    without attempts ends, and the account goes on: its owner can begin another login.

    Raises:
        ChallengeInvalid: There is no such challenge, or it has ended.
        TooManyAttempts: Too many failed attempts at the codes of this account.
        WrongCode: It is no code of the user, or was used before.
        Forbidden: A policy forbids the login.
    """
    row_id, user = reserve_challenge(session, challenge_id)
    session.attempted = user.email
    attempt = reserve_code_attempt(session, user)
    with session.outside_transaction():
        pass  # the attempts are counted, whatever follows
    lock_account(session, user.user_id)
    method = use_code(session, attempt, code)
    end_challenge(session, row_id)
    methods = (PASSWORD, ONE_TIME_PASSWORD, MULTI_FACTOR)
    by_both = Authentication(session.now, methods)
    session.authorise_public(user, PublicCredential.PASSWORD, by_both)
    throttling.make_source_known(session, user.user_id)
    return _finish_login(
        session, user, attempt.reservation, user_agent=user_agent, amr=methods, method=method
    )


def _finish_login(
    session: AccountSession,
    user: UserView,
    reservation: throttling.Reservation,
    *,
    user_agent: str | None,
    amr: Iterable[str] = (PASSWORD,),
    **details: str,
) -> OpenedSession:
    opened = open_session(session, user.user_id, user_agent=user_agent, amr=amr)
    if note_login(session, user.user_id):
        notify_of_new_network(session, opened.user)
    failures = reservation.failures
    record_event(
        session,
        EventKind.LOGIN_SUCCESS_AFTER_FAIL if failures else EventKind.LOGIN_SUCCESS,
        opened.user,
        session_id=opened.session_id,
        failures=failures,
        **details,
    )
    return opened


def _find_password(session: AccountSession, email: str) -> tuple[str | None, str | None]:
    """Return id and password record of the enabled local user with this address, or two Nones."""
    row = session.core.execute(
        select(col(User.id), col(PasswordRecord.record))
        .join(PasswordRecord, col(PasswordRecord.user_id) == col(User.id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            # No user has an empty address; None would make it IS NULL, over all users.
            col(User.email_canonical) == (email_address.canonical(email) or ""),
            col(User.provider) == "local",
            ENABLED,
        )
    ).first()
    return (row[0], row[1]) if row else (None, None)


def open_session(
    session: AccountSession,
    user_id: str,
    *,
    user_agent: str | None = None,
    amr: Iterable[str] = (PASSWORD,),
) -> OpenedSession:
    """Open a session for a user who has just authenticated by these methods.

    At the largest number of sessions the oldest is revoked. Rejecting the login instead would let
    an attacker keep the owner out by logging in often enough.
    """
    lock_account(session, user_id)
    oldest = list_sessions(session, user_id)[session.limits.max_sessions - 1 :]
    if oldest:
        session.core.execute(
            update(LoginSession)
            .where(col(LoginSession.id).in_([listed.id for listed in oldest]))
            .values(revoked_at=session.now)
        )
    token = tokens.mint(tokens.SESSION)
    expires_at = session.now + session.limits.session_lifetime
    session_id = new_id("ses_")
    session.add(
        LoginSession(
            id=session_id,
            user_id=user_id,
            token_digest=session.keys.digest(Purpose.SESSION, token),
            key_id=session.keys.key_id,
            user_agent=user_agent,
            created_at=session.now,
            expires_at=expires_at,
            authenticated_at=session.now,
            amr=" ".join(amr),
        )
    )
    user = find_user_view(session, user_id)
    record_event(session, EventKind.SESSION_CREATED, user, session_id=session_id)
    return OpenedSession(user, session_id, token, expires_at)


def list_sessions(session: AccountSession, user_id: str) -> Sequence[ListedSession]:
    """List the live sessions of a user, newest first."""
    rows = session.rows(
        _LIVE,
        {
            "user_id": user_id,
            "now": session.now,
            "idle_since": idle_since(session.limits, session.now),
        },
    )
    return [ListedSession._make(row) for row in rows]


def log_out(session: AccountSession, principal: Principal) -> None:
    """Revoke the session that authenticated the principal."""
    revoke_session(session, principal.user, principal.credential.id)


def revoke_session(session: AccountSession, user: UserView, session_id: str) -> None:
    """Revoke one of the user's sessions, and with it the JWTs and refresh tokens made from it.

    Raises:
        NotFound: The user has no live session of this id.
    """
    revoke(session, user, SESSION, session_id)


def revoke_other_sessions(session: AccountSession, principal: Principal) -> None:
    """Revoke every session of the user except the one that authenticated the principal."""
    revoke_all(session, principal.user, [SESSION], except_id=principal.credential.session_id)
