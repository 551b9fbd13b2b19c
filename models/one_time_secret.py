"""One-time secrets."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_instant

__all__ = ["OneTimeSecret"]


class OneTimeSecret(SQLModel, table=True):
    """A pending act, bound to its purpose, its user and an address (EM-08).

    A used row is kept, so that a second use can be distinguished from a wrong secret.
    """

    __tablename__ = "one_time_secret"
    __table_args__ = (
        CheckConstraint(
            "purpose IN ('email_change', 'email_undo', 'email_verification', 'password_reset')",
            name="purpose",
        ),
        at_most("address", 254),
        at_most("address_canonical", 320),
    )

    id: str = Field(primary_key=True, max_length=16)
    purpose: str = Field(max_length=24)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    address: str = Field(max_length=254)
    address_canonical: str = Field(index=True, max_length=320)
    secret_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    used_at: datetime | None = optional_instant()
    superseded_at: datetime | None = optional_instant()
    # True if this service mailed it to the address: then its holder can read the mail there.
    is_mailed: bool = Field(default=True)
