"""What a user looks like."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["Picture"]


class Picture(SQLModel, table=True):
    """A user's picture as it was re-encoded: in a row, so that replacing it is one statement.

    `media_type` is that of `content`; `tag` is a digest of it, and the strong ETag.
    """

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    media_type: str = Field(max_length=32)
    content: bytes
    tag: str = Field(max_length=64)
    changed_at: datetime = instant()
