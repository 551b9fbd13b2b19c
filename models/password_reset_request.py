"""What somebody asked who has forgotten a password."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["PasswordResetRequest"]


class PasswordResetRequest(SQLModel, table=True):
    """One request, kept until a job has looked whether the address is anybody's.

    Looking at once would answer sooner or later for a known address than for an unknown one.
    """

    __tablename__ = "password_reset_request"

    id: str = Field(primary_key=True, max_length=16)
    address_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
