"""JWT signing keys, and the value that recognizes the root secret."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant, optional_instant


class SigningKey(SQLModel, table=True):
    """A sealed RSA key, shared by all replicas.

    `kid` is the thumbprint of the public part (RFC 7638). The key signs from `active_from` until a
    later one does, and verifies until `retires_at`, which is null until another key replaces it.
    """

    __tablename__ = "signing_key"

    kid: str = Field(primary_key=True, max_length=43)
    private_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    active_from: datetime = instant()
    retires_at: datetime | None = optional_instant()


class RootKey(SQLModel, table=True):
    """A value derived from the root secret, which rejects a start with another one (PW-17)."""

    __tablename__ = "root_key"

    key_id: str = Field(primary_key=True, max_length=8)
    check_value: bytes
    created_at: datetime = instant()
