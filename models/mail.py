"""Outgoing mail, mailed secrets and requested password resets."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_index, optional_instant


class OutboxMessage(SQLModel, table=True):
    """An outgoing message, written in the transaction of the act that it reports (EM-18).

    `parameters_sealed` holds the values of the template, secrets included. It is emptied once the
    message is delivered, or a week after the service gave up. `due_at` is the time of the next
    attempt, and `leased_until` keeps other replicas from making it too. `attempts` counts failures;
    after too many of them the message is dead since `gave_up_at`, and `last_problem` says why.
    """

    __tablename__ = "outbox_message"
    __table_args__ = (optional_index("outbox_message", "gave_up_at"), *at_most(254, "recipient"))

    id: str = Field(primary_key=True, max_length=16)
    kind: str = Field(max_length=40)
    recipient: str = Field(max_length=254)
    locale: str | None = Field(default=None, max_length=35)
    parameters_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    due_at: datetime = instant(index=True)
    leased_until: datetime | None = optional_instant()
    attempts: int = Field(default=0)
    last_problem: str | None = Field(default=None, max_length=200)
    delivered_at: datetime | None = optional_instant(index=True)
    gave_up_at: datetime | None = optional_instant()


class OneTimeSecret(SQLModel, table=True):
    """A pending act, bound to its purpose, its user and an address (EM-08).

    A used row is kept, so that a second use can be distinguished from a wrong secret.
    """

    __tablename__ = "one_time_secret"
    __table_args__ = (
        CheckConstraint(
            "purpose IN ('account_restoration', 'email_change', 'email_undo',"
            " 'email_verification', 'password_reset')",
            name="purpose",
        ),
        optional_index("one_time_secret", "used_at"),
        optional_index("one_time_secret", "superseded_at"),
        *at_most(254, "address"),
        *at_most(320, "address_canonical"),
    )

    id: str = Field(primary_key=True, max_length=16)
    purpose: str = Field(max_length=24)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    address: str = Field(max_length=254)
    address_canonical: str = Field(index=True, max_length=320)
    secret_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    expires_at: datetime = instant(index=True)
    used_at: datetime | None = optional_instant()
    superseded_at: datetime | None = optional_instant()
    # True if this service mailed it to the address: then its holder can read the mail there.
    is_mailed: bool = Field(default=True)


class PasswordResetRequest(SQLModel, table=True):
    """A requested reset, kept until a job has looked up the address.

    An immediate lookup would take a different time for known and for unknown addresses.
    """

    __tablename__ = "password_reset_request"

    id: str = Field(primary_key=True, max_length=16)
    address_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
