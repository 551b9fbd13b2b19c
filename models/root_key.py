"""Recognition of the right root secret."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["RootKey"]


class RootKey(SQLModel, table=True):
    """A value derived from the root secret, which rejects a start with another one (PW-17)."""

    __tablename__ = "root_key"

    key_id: str = Field(primary_key=True, max_length=8)
    check_value: bytes
    created_at: datetime = instant()
