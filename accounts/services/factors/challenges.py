"""Logins by the right password that wait for a second factor."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import select, update
from sqlmodel import col

from accounts.crypto.keyring import Purpose
from accounts.errors import ChallengeInvalid
from accounts.services.database import AccountSession
from accounts.services.factors.codes import CodeMethod
from accounts.services.user_views import ENABLED, UserView, find_user_view
from accounts.values.identifiers import new_id
from models import LoginChallenge, PasswordRecord, Tenant, User

#: How long a login waits, and how many codes it may try.
_LIFETIME = timedelta(minutes=10)
_ATTEMPTS = 5


class Challenge(NamedTuple):
    """A login that waits for a second factor.

    `challenge_id` is a secret: it stands for the right password. It is known only now.
    """

    challenge_id: str
    methods: tuple[str, ...]
    expires_at: datetime


def open_challenge(session: AccountSession, user_id: str) -> Challenge:
    """Open a challenge for a user who has just given the right password."""
    challenge_id = str(uuid4())
    expires_at = session.now + _LIFETIME
    session.add(
        LoginChallenge(
            id=new_id("lch_"),
            user_id=user_id,
            challenge_digest=session.keys.digest(Purpose.LOGIN_CHALLENGE, challenge_id),
            key_id=session.keys.key_id,
            attempts_left=_ATTEMPTS,
            created_at=session.now,
            expires_at=expires_at,
        )
    )
    return Challenge(challenge_id, tuple(CodeMethod), expires_at)


def reserve_challenge(session: AccountSession, challenge_id: str) -> tuple[str, UserView]:
    """Take one attempt of a challenge, and return its row and its user.

    To be committed before the code is checked, so that parallel attempts are no more than the
    challenge has.

    Raises:
        ChallengeInvalid: There is no such challenge, or it has ended, by its time, by its attempts,
            by a change of the password or because the user was disabled.
    """
    digests = session.keys.digests(Purpose.LOGIN_CHALLENGE, challenge_id)
    taken = session.core.execute(
        update(LoginChallenge)
        .where(
            col(LoginChallenge.challenge_digest).in_(digests),
            col(LoginChallenge.ended_at).is_(None),
            col(LoginChallenge.expires_at) > session.now,
            col(LoginChallenge.attempts_left) > 0,
        )
        .values(attempts_left=col(LoginChallenge.attempts_left) - 1)
        .returning(col(LoginChallenge.id), col(LoginChallenge.user_id))
    ).first()
    if taken is None or not _is_open(session, taken.id):
        raise ChallengeInvalid
    return taken.id, find_user_view(session, taken.user_id)


def end_challenge(session: AccountSession, row_id: str) -> None:
    """End a challenge whose code was right. To be called while the account is locked.

    Raises:
        ChallengeInvalid: It has ended meanwhile.
    """
    if not _is_open(session, row_id):
        raise ChallengeInvalid
    ended = session.core.execute(
        update(LoginChallenge)
        .where(col(LoginChallenge.id) == row_id, col(LoginChallenge.ended_at).is_(None))
        .values(ended_at=session.now)
    )
    if not ended.rowcount:
        raise ChallengeInvalid


def _is_open(session: AccountSession, row_id: str) -> bool:
    """Return whether the user is enabled, and the password is the one that was given."""
    found = (
        select(col(LoginChallenge.id))
        .join(User, col(User.id) == col(LoginChallenge.user_id))
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .join(PasswordRecord, col(PasswordRecord.user_id) == col(User.id))
        .where(
            col(LoginChallenge.id) == row_id,
            ENABLED,
            col(PasswordRecord.changed_at) <= col(LoginChallenge.created_at),
        )
    )
    return session.core.execute(found).first() is not None
