"""What JWTs are signed with."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant, optional_instant

__all__ = ["SigningKey"]


class SigningKey(SQLModel, table=True):
    """One RSA key, sealed, which all replicas share.

    `kid` is the thumbprint of its public part (RFC 7638). It signs from `active_from` until a
    later one does, and verifies until `retires_at`; null while nothing has replaced it.
    """

    __tablename__ = "signing_key"

    kid: str = Field(primary_key=True, max_length=43)
    private_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    active_from: datetime = instant()
    retires_at: datetime | None = optional_instant()
