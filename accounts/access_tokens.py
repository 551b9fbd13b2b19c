"""The access token of a user, which can be shown again."""

from sqlalchemy import bindparam, select, update
from sqlmodel import col

from accounts import tokens
from accounts.database import AccountSession
from accounts.errors import NotFound
from accounts.keyring import Purpose
from models import AccessToken

__all__ = ["issue_access_token", "regenerate_access_token", "reveal_access_token"]

_SEALED = select(col(AccessToken.token_sealed)).where(
    col(AccessToken.user_id) == bindparam("user_id")
)


def issue_access_token(session: AccountSession, user_id: str) -> None:
    """Give a new user their access token; there is exactly one at any time."""
    token = tokens.mint(tokens.ACCESS_TOKEN)
    session.add(
        AccessToken(
            user_id=user_id,
            token_digest=session.keys.digest(Purpose.ACCESS_TOKEN, token),
            token_sealed=session.keys.seal(Purpose.ACCESS_TOKEN, token, user_id),
            key_id=session.keys.key_id,
            created_at=session.now,
        )
    )


def reveal_access_token(session: AccountSession, user_id: str) -> str:
    """Show the user's access token.

    Raises:
        NotFound: There is no such user.
        SealBroken: The sealed token was made with another key or for another row (TK-05).
    """
    sealed = session.core.execute(_SEALED, {"user_id": user_id}).scalar()
    if sealed is None:
        raise NotFound
    return session.keys.open(Purpose.ACCESS_TOKEN, sealed, user_id)


def regenerate_access_token(session: AccountSession, user_id: str) -> str:
    """Put a new access token in the place of the old one, which is dead with the commit.

    One UPDATE of the one row: of two at the same time the later stays, and no third token lives.
    """
    token = tokens.mint(tokens.ACCESS_TOKEN)
    session.core.execute(
        update(AccessToken)
        .where(col(AccessToken.user_id) == user_id)
        .values(
            token_digest=session.keys.digest(Purpose.ACCESS_TOKEN, token),
            token_sealed=session.keys.seal(Purpose.ACCESS_TOKEN, token, user_id),
            key_id=session.keys.key_id,
            created_at=session.now,
        )
    )
    return token
