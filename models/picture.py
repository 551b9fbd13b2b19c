"""Profile pictures."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["Picture"]


class Picture(SQLModel, table=True):
    """A user's re-encoded picture, stored in a row so that one statement replaces it.

    `media_type` is that of `content`; `tag` is a digest of `content` and the strong ETag.
    """

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    media_type: str = Field(max_length=32)
    content: bytes
    tag: str = Field(max_length=64)
    changed_at: datetime = instant()
