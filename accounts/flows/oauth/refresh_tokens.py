"""Refresh tokens: each valid for one exchange, in families that are revoked together."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, exists, update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidGrant
from accounts.services.credentials import is_live, is_of_enabled_client
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.idle_sessions import idle_since
from accounts.services.principal import Authentication, PublicCredential
from accounts.services.user_views import ENABLED, find_user_view
from accounts.values.identifiers import new_id
from models import Client, LoginSession, RefreshToken, Tenant, User

#: The columns that are equal in all tokens of a family.
_FAMILY = (
    "family_id",
    "session_id",
    "user_id",
    "client_id",
    "scopes",
    "audience",
    "expires_at",
    "authenticated_at",
    "amr",
)


def begin_family(
    session: AccountSession,
    login: LoginSession,
    client: Client,
    authentication: Authentication,
    *,
    scopes: Iterable[str],
    audience: str,
) -> str:
    """Issue the first token of a new family, which lasts as long as its session.

    At the largest number of families of a user, the oldest is revoked.
    """
    session.lock(f"families {login.user_id}")
    live = session.exec(
        select(RefreshToken.family_id)
        .where(col(RefreshToken.user_id) == login.user_id, _is_unused(session))
        .order_by(col(RefreshToken.created_at).desc(), col(RefreshToken.id))
    ).all()
    for family_id in live[session.limits.max_refresh_families - 1 :]:
        revoke_family(session, family_id)
    return _issue(
        session,
        family_id=new_id("fam_"),
        session_id=login.id,
        user_id=login.user_id,
        client_id=client.id,
        scopes=sorted(scopes),
        audience=audience,
        expires_at=login.expires_at,
        authenticated_at=authentication.at,
        amr=" ".join(authentication.amr),
    )


def rotate_refresh_token(
    session: AccountSession, client: Client, token: str
) -> tuple[RefreshToken, str]:
    """Use up a client's token; returns its row, and the next token of the family.

    One conditional UPDATE: of two parallel exchanges one wins. The other, like any second use,
    revokes the whole family, since one of the two may be an attacker's (RFC 9700 section 4.14.2).
    So does a client that repeats an exchange whose response was lost; it must begin a new family.

    Raises:
        InvalidGrant: The token is unknown, used, expired, revoked or another client's, or its
            session has ended or its client is disabled.
        Forbidden: A policy forbids it to the user; the token stays valid.
    """
    row = _find(session, token, col(RefreshToken.client_id) == client.id)
    if row is None:
        raise InvalidGrant
    _lock_family(session, row.family_id)
    used = session.core.execute(
        update(RefreshToken)
        .where(col(RefreshToken.id) == row.id, *_is_redeemable(session))
        .values(used_at=session.now)
    )
    if not used.rowcount:
        # Read again: another request may have used it before the family was locked.
        session.refresh(row)
        if row.used_at is not None and revoke_family(session, row.family_id):
            user = find_user_view(session, row.user_id)
            record_event(session, EventKind.TOKEN_REUSE, user, family_id=row.family_id)
        raise InvalidGrant
    user = find_user_view(session, row.user_id)
    session.authorise_public(user, PublicCredential.REFRESH_TOKEN, authentication_of(row))
    return row, _issue(session, **{name: getattr(row, name) for name in _FAMILY})


def find_refresh_token(session: AccountSession, token: str) -> RefreshToken | None:
    """Return the row of a token that could be exchanged now, without using it up; else None."""
    return _find(session, token, *_is_redeemable(session))


def authentication_of(row: RefreshToken) -> Authentication | None:
    """Return the authentication that its family began with; None for rows of earlier releases."""
    if row.authenticated_at is None or row.amr is None:
        return None
    return Authentication(row.authenticated_at, tuple(row.amr.split(" ")))


def revoke_family(session: AccountSession, family_id: str) -> bool:
    """Revoke every token of a family; returns False if all were revoked already."""
    _lock_family(session, family_id)
    revoked = session.core.execute(
        update(RefreshToken)
        .where(col(RefreshToken.family_id) == family_id, col(RefreshToken.revoked_at).is_(None))
        .values(revoked_at=session.now)
    )
    return revoked.rowcount > 0


def _lock_family(session: AccountSession, family_id: str) -> None:
    """Lock a family until the transaction ends.

    Otherwise the token that a concurrent exchange adds would outlive the revocation.
    """
    session.lock(f"family {family_id}")


def _find(
    session: AccountSession, token: str, *conditions: ColumnElement[bool]
) -> RefreshToken | None:
    if not tokens.is_well_formed(token, tokens.REFRESH_TOKEN):
        return None
    digests = session.keys.digests(Purpose.REFRESH_TOKEN, token)
    return session.exec(
        select(RefreshToken).where(col(RefreshToken.token_digest).in_(digests), *conditions)
    ).first()


def _is_redeemable(session: AccountSession) -> tuple[ColumnElement[bool], ...]:
    is_of_enabled = is_of_enabled_client(col(RefreshToken.client_id))
    return _is_unused(session), _is_of_live_session(session), is_of_enabled


def _is_unused(session: AccountSession) -> ColumnElement[bool]:
    return col(RefreshToken.used_at).is_(None) & _is_live(session, RefreshToken)


def _is_of_live_session(session: AccountSession) -> ColumnElement[bool]:
    # Correlated with the one session. For IN, SQLite would first list all live sessions.
    return exists().where(
        col(LoginSession.id) == col(RefreshToken.session_id),
        col(User.id) == col(LoginSession.user_id),
        col(Tenant.id) == col(User.tenant_id),
        _is_live(session, LoginSession),
        ENABLED,
    )


def _is_live(session: AccountSession, table: Any) -> ColumnElement[bool]:
    return is_live(table, session.now, idle_since(session.limits, session.now))


def _issue(session: AccountSession, **family: Any) -> str:
    token = tokens.mint(tokens.REFRESH_TOKEN)
    session.add(
        RefreshToken(
            id=new_id("rft_"),
            token_digest=session.keys.digest(Purpose.REFRESH_TOKEN, token),
            key_id=session.keys.key_id,
            created_at=session.now,
            **family,
        )
    )
    return token
