"""Security events of accounts."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field, SQLModel

from models.columns import instant


class SecurityEvent(SQLModel, table=True):
    """An event in OWASP's logging vocabulary, written in the transaction of the act it describes.

    Rows are append-only: triggers reject deletions of all but archived events, and changes but for
    one: `source` becomes null in the events of an erased account. Users and tenants are named
    without foreign keys, since events outlive them.
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
    """The place of an event in the chain, and a digest over it and the previous link.

    It has its own table, filled later by a job: a chain within `security_event` would make writers
    wait for each other.
    """

    __tablename__ = "event_link"

    sequence: int = Field(
        sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False}
    )
    event_id: str = Field(unique=True, max_length=36)
    chain_digest: bytes
    key_id: str = Field(max_length=8)
    chained_at: datetime = instant()


class EventSeal(SQLModel, table=True):
    """The seal of a part of the chain that was archived, and whose rows may therefore be deleted.

    `sequence` is the last link of the part, and the digests are those of the link before it, of its
    last link, and of the lines of the file. `seal_digest` covers them all, keyed by the root.
    """

    __tablename__ = "event_seal"

    sequence: int = Field(
        sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False}
    )
    first_sequence: int = Field(sa_type=BigInteger)
    previous_digest: bytes
    chain_digest: bytes
    file_digest: bytes
    sealed_at: datetime = instant()
    key_id: str = Field(max_length=8)
    seal_digest: bytes


class EventErasure(SQLModel, table=True):
    """The erasure of the client address from a chained event, whose account was deleted.

    The digest of the link covers what was erased, so `erasure_digest` takes its place: it covers
    the rest of the event and the digest of the link, and is keyed by the root (ADR 60).
    """

    __tablename__ = "event_erasure"

    sequence: int = Field(
        sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False}
    )
    event_id: str = Field(unique=True, max_length=36)
    erased_at: datetime = instant()
    key_id: str = Field(max_length=8)
    erasure_digest: bytes
