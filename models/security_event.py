"""What happened to an account."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["EventLink", "SecurityEvent"]


class SecurityEvent(SQLModel, table=True):
    """One event, in OWASP's logging vocabulary, written in the transaction of what it describes.

    Rows are only ever added: triggers refuse to change or delete one. Users and tenants are named
    and not referred to, since an event outlives them.
    """

    __tablename__ = "security_event"
    __table_args__ = (Index("ix_security_event_of_user", "user_id", "occurred_at", "id"),)

    id: str = Field(primary_key=True, max_length=36)
    kind: str = Field(max_length=40)
    tenant_id: str | None = Field(default=None, max_length=16)
    user_id: str | None = Field(default=None, max_length=16)
    occurred_at: datetime = instant()
    request_id: str | None = Field(default=None, max_length=16)
    source: str | None = Field(default=None, max_length=45)
    credential_kind: str | None = Field(default=None, max_length=24)
    credential_id: str | None = Field(default=None, max_length=36)
    details: dict[str, Any] = Field(sa_type=JSON, nullable=False)


class EventLink(SQLModel, table=True):
    """The place of one event in the chain, and a digest over it and the link before.

    A table of its own, written afterwards by a job: a chain within `security_event` would let one
    writer wait for the other.
    """

    __tablename__ = "event_link"

    sequence: int = Field(
        sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False}
    )
    event_id: str = Field(unique=True, max_length=36)
    chain_digest: bytes
    key_id: str = Field(max_length=8)
    chained_at: datetime = instant()
