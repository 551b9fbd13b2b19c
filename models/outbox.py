"""Mail that is to be sent."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import at_most, instant, optional_instant

__all__ = ["OutboxMessage"]


class OutboxMessage(SQLModel, table=True):
    """One message, written in the transaction of the act that it tells of (EM-18).

    `parameters_sealed` holds what the text is made from, secrets among it; it is emptied once the
    message is delivered, or a week after it was given up. `due_at` is when it is tried next, and
    `leased_until` keeps other replicas from trying it meanwhile. `attempts` are those that failed;
    what has failed too often is dead at `gave_up_at`, with `last_problem` in a few words of ours.
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
