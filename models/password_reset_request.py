"""Requested password resets."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["PasswordResetRequest"]


class PasswordResetRequest(SQLModel, table=True):
    """A requested reset, kept until a job has looked up the address.

    An immediate lookup would take a different time for known and for unknown addresses.
    """

    __tablename__ = "password_reset_request"

    id: str = Field(primary_key=True, max_length=16)
    address_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
