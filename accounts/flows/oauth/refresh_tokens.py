"""Refresh tokens: each good for one exchange, in families that die together."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, exists, update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidGrant
from accounts.services.credentials import is_live
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.user_views import ENABLED, find_user_view
from accounts.values.identifiers import new_id
from models import Client, LoginSession, RefreshToken, Tenant, User

__all__ = [
    "begin_family",
    "find_refresh_token",
    "revoke_family",
    "rotate_refresh_token",
]


def begin_family(
    session: AccountSession,
    login: LoginSession,
    client: Client,
    *,
    scopes: Iterable[str],
    audience: str,
) -> str:
    """Make the first token of a new family, for a session; it lasts as long as the session.

    Past the largest number of families that a user may have, the oldest ends.
    """
    session.lock(f"families {login.user_id}")
    live = session.exec(
        select(RefreshToken.family_id)
        .where(col(RefreshToken.user_id) == login.user_id, _is_unused(session.now))
        .order_by(col(RefreshToken.created_at).desc(), col(RefreshToken.id))
    ).all()
    for family_id in live[session.limits.max_refresh_families - 1 :]:
        revoke_family(session, family_id)
    return _add(
        session,
        family_id=new_id("fam_"),
        session_id=login.id,
        user_id=login.user_id,
        client_id=client.id,
        scopes=sorted(scopes),
        audience=audience,
        expires_at=login.expires_at,
    )


def rotate_refresh_token(
    session: AccountSession, client: Client, token: str
) -> tuple[RefreshToken, str]:
    """Use a client's token up; returns its row, and the next of its family.

    One conditional UPDATE: of two parallel exchanges one wins. The other, like any second use, ends
    the whole family, since one of the two may be a thief's (RFC 9700 section 4.14.2). So does a
    client that repeats an exchange whose answer it has lost; it begins a new family then.

    Raises:
        InvalidGrant: Unknown, another client's, used, expired or revoked, or its session has ended.
    """
    row = _find(session, token, col(RefreshToken.client_id) == client.id)
    if row is None:
        raise InvalidGrant
    _hold(session, row.family_id)
    used = session.core.execute(
        update(RefreshToken)
        .where(
            col(RefreshToken.id) == row.id,
            _is_unused(session.now),
            _is_of_live_session(session.now),
        )
        .values(used_at=session.now)
    )
    if not used.rowcount:
        # Read again: another may have used it between finding and holding it.
        session.refresh(row)
        if row.used_at is not None and revoke_family(session, row.family_id):
            user = find_user_view(session, row.user_id)
            record_event(session, EventKind.TOKEN_REUSE, user, family_id=row.family_id)
        raise InvalidGrant
    following = _add(
        session,
        family_id=row.family_id,
        session_id=row.session_id,
        user_id=row.user_id,
        client_id=row.client_id,
        scopes=row.scopes,
        audience=row.audience,
        expires_at=row.expires_at,
    )
    return row, following


def find_refresh_token(session: AccountSession, token: str) -> RefreshToken | None:
    """The row of a token that could be exchanged now, unused."""
    return _find(
        session,
        token,
        _is_unused(session.now),
        _is_of_live_session(session.now),
    )


def revoke_family(session: AccountSession, family_id: str) -> bool:
    """End every token of a family; tells whether one was alive."""
    _hold(session, family_id)
    ended = session.core.execute(
        update(RefreshToken)
        .where(col(RefreshToken.family_id) == family_id, col(RefreshToken.revoked_at).is_(None))
        .values(revoked_at=session.now)
    )
    return ended.rowcount > 0


def _hold(session: AccountSession, family_id: str) -> None:
    """Let nobody else exchange or end tokens of a family until the end of the transaction.

    Else the token that an exchange is just adding would outlive the end of its family.
    """
    session.lock(f"family {family_id}")


def _find(
    session: AccountSession, token: str, *conditions: ColumnElement[bool]
) -> RefreshToken | None:
    if not tokens.well_formed(token, tokens.REFRESH_TOKEN):
        return None
    digests = session.keys.digests(Purpose.REFRESH_TOKEN, token)
    return session.exec(
        select(RefreshToken).where(col(RefreshToken.token_digest).in_(digests), *conditions)
    ).first()


def _is_unused(now: datetime) -> ColumnElement[bool]:
    return col(RefreshToken.used_at).is_(None) & is_live(RefreshToken, now)


def _is_of_live_session(now: datetime) -> ColumnElement[bool]:
    # Of the one session. As a list for IN, SQLite would make it of all live sessions first.
    return exists().where(
        col(LoginSession.id) == col(RefreshToken.session_id),
        col(User.id) == col(LoginSession.user_id),
        col(Tenant.id) == col(User.tenant_id),
        is_live(LoginSession, now),
        ENABLED,
    )


def _add(
    session: AccountSession,
    *,
    family_id: str,
    session_id: str,
    user_id: str,
    client_id: str,
    scopes: list[str],
    audience: str,
    expires_at: datetime,
) -> str:
    token = tokens.mint(tokens.REFRESH_TOKEN)
    session.add(
        RefreshToken(
            id=new_id("rft_"),
            family_id=family_id,
            session_id=session_id,
            user_id=user_id,
            client_id=client_id,
            scopes=scopes,
            audience=audience,
            token_digest=session.keys.digest(Purpose.REFRESH_TOKEN, token),
            key_id=session.keys.key_id,
            created_at=session.now,
            expires_at=expires_at,
        )
    )
    return token
