"""Tenants, which own users and clients, and their client programs."""

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_index, optional_instant


class Tenant(SQLModel, table=True):
    """A tenant, with the id of ipto and ScaiKey and the UUID of jitsudo's `X-Tenant-ID`."""

    __table_args__ = at_most(200, "display_name")

    id: str = Field(primary_key=True, max_length=16)
    uuid: str = Field(unique=True, max_length=36)
    display_name: str = Field(max_length=200)
    created_at: datetime = instant()
    disabled_at: datetime | None = optional_instant()


class Client(SQLModel, table=True):
    """A client of a tenant, which authenticates with a secret.

    A public client does not authenticate (RFC 6749 section 2.1), and its secret was never shown.
    `audiences` are those that its JWTs may have besides this service. Nothing is issued through a
    disabled client, and nothing that was issued through it authenticates. A removed client is also
    disabled, and its row is deleted after the last one that refers to it.
    """

    __table_args__ = (optional_index("client", "removed_at"), *at_most(200, "name"))

    id: str = Field(primary_key=True, max_length=16)
    tenant_id: str = Field(foreign_key="tenant.id", index=True, max_length=16)
    name: str = Field(max_length=200)
    secret_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    is_public: bool = Field(default=False)
    audiences: list[str] = Field(sa_type=JSON, nullable=False)
    created_at: datetime = instant()
    disabled_at: datetime | None = optional_instant()
    removed_at: datetime | None = optional_instant()
