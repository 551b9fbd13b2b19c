"""Password hashes."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["PasswordRecord"]


class PasswordRecord(SQLModel, table=True):
    """The hash of a user's password, with its scheme and the id of its pepper."""

    __tablename__ = "password_record"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    record: str = Field(max_length=200)
    changed_at: datetime = instant()
