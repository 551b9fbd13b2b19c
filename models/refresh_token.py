"""OAuth refresh tokens."""

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_instant

__all__ = ["RefreshToken"]


class RefreshToken(SQLModel, table=True):
    """A refresh token: good for one exchange, which issues the next token of its family.

    A used row is kept with its family, so that reuse can be distinguished from a wrong token
    (RFC 9700 section 4.14.2). The family ends with the session that it was exchanged for.
    """

    __tablename__ = "refresh_token"
    __table_args__ = (at_most("audience", 2048),)

    id: str = Field(primary_key=True, max_length=16)
    family_id: str = Field(index=True, max_length=16)
    session_id: str = Field(foreign_key="login_session.id", index=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    client_id: str = Field(foreign_key="client.id", index=True, max_length=16)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    audience: str = Field(max_length=2048)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
