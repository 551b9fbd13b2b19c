"""Login sessions."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_instant

__all__ = ["LoginSession"]


class LoginSession(SQLModel, table=True):
    """A session of a user; not called Session, which is SQLAlchemy's word."""

    __tablename__ = "login_session"
    __table_args__ = (at_most("user_agent", 200),)

    id: str = Field(primary_key=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    user_agent: str | None = Field(default=None, max_length=200)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    last_used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
