"""A user's access token, the only credential that can be shown again."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import digest, instant

__all__ = ["AccessToken"]


class AccessToken(SQLModel, table=True):
    """A user's access token: sealed to be shown, and a digest to find it by without unsealing."""

    __tablename__ = "access_token"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    token_digest: bytes = digest()
    token_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
