"""Outgoing mail."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import at_most, instant, optional_instant

__all__ = ["OutboxMessage"]


class OutboxMessage(SQLModel, table=True):
    """An outgoing message, written in the transaction of the act that it reports (EM-18).

    `parameters_sealed` holds the values of the template, secrets included. It is emptied once the
    message is delivered, or a week after the service gave up. `due_at` is the time of the next
    attempt, and `leased_until` keeps other replicas from making it too. `attempts` counts failures;
    after too many of them the message is dead since `gave_up_at`, and `last_problem` says why.
    """

    __tablename__ = "outbox_message"
    __table_args__ = (at_most("recipient", 254),)

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
