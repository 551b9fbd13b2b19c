"""User settings."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["UserSettings"]


class UserSettings(SQLModel, table=True):
    """A user's settings, a JSON object defined by the applications; no row is an empty object."""

    __tablename__ = "user_settings"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    document: dict[str, Any] = Field(sa_type=JSON, nullable=False)
    changed_at: datetime = instant()
