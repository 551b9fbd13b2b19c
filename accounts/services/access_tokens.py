"""Access tokens: one for each user, which can be shown again."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.errors import NotFound, TokenUnreadable
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, observe_event, record_event
from accounts.services.user_views import UserView
from models import AccessToken

_SEALED = select(col(AccessToken.token_sealed)).where(
    col(AccessToken.user_id) == bindparam("user_id")
)


def issue_access_token(session: AccountSession, user_id: str) -> None:
    """Issue the access token of a new user; each user has exactly one at any time."""
    _, values = _mint(session, user_id)
    session.add(AccessToken(user_id=user_id, **values))


def issue_access_tokens(session: AccountSession, user_ids: Iterable[str]) -> None:
    """Issue the access tokens of new users, with one statement for all."""
    rows = [{"user_id": user_id, **_mint(session, user_id)[1]} for user_id in user_ids]
    session.core.execute(insert(AccessToken), rows)


def reveal_access_token(session: AccountSession, user: UserView) -> str:
    """Return the user's access token, and record that it was shown (TK-04).

    Raises:
        NotFound: There is no such user.
        TokenUnreadable: The token was sealed with another key or for another row (TK-05).
    """
    rows = session.rows(_SEALED, {"user_id": user.user_id})
    if not rows:
        raise NotFound
    [[sealed]] = rows
    try:
        token = session.keys.open(Purpose.ACCESS_TOKEN, sealed, user.user_id)
    except SealBroken as broken:
        observe_event(session, EventKind.DECRYPT_FAIL, user)
        raise TokenUnreadable from broken
    observe_event(session, EventKind.SENSITIVE_READ, user)
    return token


def regenerate_access_token(session: AccountSession, user: UserView) -> str:
    """Replace the user's access token; the old one is invalid from the commit on.

    A single UPDATE of a single row: of two concurrent calls the later one wins, and exactly one
    token is valid.
    """
    token, values = _mint(session, user.user_id)
    session.core.execute(
        update(AccessToken).where(col(AccessToken.user_id) == user.user_id).values(values)
    )
    record_event(session, EventKind.TOKEN_CREATED, user, credential="accessToken")
    return token


def _mint(session: AccountSession, user_id: str) -> tuple[str, dict[str, Any]]:
    """Return a new token, and the values to store."""
    token = tokens.mint(tokens.ACCESS_TOKEN)
    return token, {
        "token_digest": session.keys.digest(Purpose.ACCESS_TOKEN, token),
        "token_sealed": session.keys.seal(Purpose.ACCESS_TOKEN, token, user_id),
        "key_id": session.keys.key_id,
        "created_at": session.now,
    }
