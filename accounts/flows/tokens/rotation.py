"""Rotating personal access tokens: a new token replaces the old one, which stays for a grace.

The tokens that replace each other are a family, each with a row of its own. Authentication knows
nothing of families: the row of the old token expires at the end of the grace.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import AlreadyRotated, InvalidRequest, NotFound, TokenReused
from accounts.flows.tokens.personal_access_tokens import end_family, latest_expiry
from accounts.services.credentials import PAT, is_live
from accounts.services.database import AccountSession, Reading, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.idle_sessions import idle_since
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.principal import Principal
from accounts.services.user_views import UserView, find_user_view
from accounts.values.identifiers import new_uuid
from models import PersonalAccessToken

#: How long a second rotation of one token counts as concurrent with the first, and not as reuse.
_CONCURRENT = timedelta(seconds=10)

_ROTATED = select(PersonalAccessToken.id, PersonalAccessToken.user_id).where(
    col(PersonalAccessToken.token_digest) == bindparam("digest"),
    col(PersonalAccessToken.rotated_at).is_not(None),
    col(PersonalAccessToken.revoked_at).is_(None),
)


class Rotation(NamedTuple):
    """The new token, its value, and when the old one ends."""

    pat: PersonalAccessToken
    token: str
    former_expiry: datetime


def rotate_pat(
    session: AccountSession,
    principal: Principal,
    pat_id: str,
    *,
    expires_at: datetime | None,
    grace: timedelta,
) -> Rotation:
    """Replace one of the user's tokens; the new one lives as long as the old one did by default.

    Raises:
        NotFound: The user has no live token of this id.
        AlreadyRotated: A newer token has replaced it.
        InvalidRequest: The expiry breaks a rule.
    """
    former = _find_locked(session, principal.user, pat_id.lower())
    if former.rotated_at is not None:
        raise AlreadyRotated
    latest = latest_expiry(session.now)
    if expires_at is not None and not session.now < expires_at <= latest:
        raise InvalidRequest.of("expires_at", "must be in the future and at most one year away")
    rotation = _replace(session, principal.user, former, expires_at, grace)
    post_notification(session, MessageKind.PAT_CREATED, principal.user, name=former.name)
    return rotation


def rotate_own_pat(
    session: AccountSession, principal: Principal, *, expires_at: datetime | None, grace: timedelta
) -> Rotation:
    """Replace the token that authenticates the request; the new one lives no longer than it did.

    A token that was replaced before is in the hands of two holders, one of whom may be an attacker:
    the family is revoked, as with refresh tokens (RFC 9700 section 4.14.2).

    Raises:
        NotFound: The token has ended.
        AlreadyRotated: A concurrent request has replaced it.
        TokenReused: It was replaced before; all of its family is revoked.
        InvalidRequest: The expiry breaks a rule.
    """
    former = _find_locked(session, principal.user, principal.credential.id)
    if former.rotated_at is not None:
        if session.now - former.rotated_at <= _CONCURRENT:
            raise AlreadyRotated
        _end_reused_family(session, principal.user, former)
        raise TokenReused
    latest = session.now + _lifetime(former)
    if expires_at is not None and not session.now < expires_at <= latest:
        rule = "must be in the future, and no further away than the lifetime of this token"
        raise InvalidRequest.of("expires_at", rule)
    return _replace(session, principal.user, former, expires_at, grace)


def find_reuse(reading: Reading, token: str) -> str | None:
    """Return the id of the user of a token that was replaced, after its grace; else None."""
    for digest in reading.keys.digests(Purpose.PAT, token):
        for row in reading.rows(_ROTATED, {"digest": digest}):
            return str(row[1])
    return None


def end_reused(session: AccountSession, user_id: str, token: str) -> bool:
    """Revoke the family of a token that `find_reuse` has found; returns False if it has ended."""
    lock_account(session, user_id)
    digests = session.keys.digests(Purpose.PAT, token)
    former = session.exec(
        select(PersonalAccessToken).where(
            col(PersonalAccessToken.token_digest).in_(digests),
            col(PersonalAccessToken.rotated_at).is_not(None),
            col(PersonalAccessToken.revoked_at).is_(None),
        )
    ).first()
    return former is not None and _end_reused_family(
        session, find_user_view(session, user_id), former
    )


def _end_reused_family(
    session: AccountSession, user: UserView, former: PersonalAccessToken
) -> bool:
    if not end_family(session, user, former.family_id or former.id):
        return False
    record_event(session, EventKind.TOKEN_REUSE, user, credential=PAT.name, credential_id=former.id)
    post_notification(session, MessageKind.PAT_REUSED, user, name=former.name)
    return True


def _find_locked(session: AccountSession, user: UserView, pat_id: str) -> PersonalAccessToken:
    lock_account(session, user.user_id)
    pat = session.exec(
        select(PersonalAccessToken).where(
            col(PersonalAccessToken.id) == pat_id,
            col(PersonalAccessToken.user_id) == user.user_id,
            is_live(PersonalAccessToken, session.now, idle_since(session.limits, session.now)),
        )
    ).first()
    if pat is None:
        raise NotFound
    return pat


def _lifetime(pat: PersonalAccessToken) -> timedelta:
    return pat.expires_at - pat.created_at


def _replace(
    session: AccountSession,
    user: UserView,
    former: PersonalAccessToken,
    expires_at: datetime | None,
    grace: timedelta,
) -> Rotation:
    family_id = former.family_id or former.id
    former_expiry = min(former.expires_at, session.now + grace)
    session.core.execute(
        update(PersonalAccessToken)
        .where(col(PersonalAccessToken.id) == former.id)
        .values(rotated_at=session.now, family_id=family_id, expires_at=former_expiry)
    )
    token = tokens.mint(tokens.PAT)
    pat = PersonalAccessToken(
        id=new_uuid(),
        user_id=user.user_id,
        client_id=former.client_id,
        name=former.name,
        token_digest=session.keys.digest(Purpose.PAT, token),
        key_id=session.keys.key_id,
        scopes=former.scopes,
        created_at=session.now,
        expires_at=expires_at or min(session.now + _lifetime(former), latest_expiry(session.now)),
        family_id=family_id,
    )
    session.add(pat)
    record_event(
        session,
        EventKind.TOKEN_CREATED,
        user,
        credential=PAT.name,
        credential_id=pat.id,
        replaces=former.id,
    )
    return Rotation(pat, token, former_expiry)
