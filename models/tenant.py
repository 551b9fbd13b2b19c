"""Tenants: organisations that own users and clients."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import at_most, instant, optional_instant

__all__ = ["Tenant"]


class Tenant(SQLModel, table=True):
    """A tenant, with the id of ipto and ScaiKey and the UUID of jitsudo's `X-Tenant-ID`."""

    __table_args__ = (at_most("display_name", 200),)

    id: str = Field(primary_key=True, max_length=16)
    uuid: str = Field(unique=True, max_length=36)
    display_name: str = Field(max_length=200)
    created_at: datetime = instant()
    disabled_at: datetime | None = optional_instant()
