"""Stored responses for repeated requests."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["IdempotencyRecord"]


class IdempotencyRecord(SQLModel, table=True):
    """The response to a request with an `Idempotency-Key`, stored for a retry.

    The row reveals neither the key nor the request: `id` is a digest of the key and its user,
    `request_digest` one of the request. `answer_sealed` may contain a secret that is shown only
    once (HT-19).
    """

    __tablename__ = "kept_answer"

    id: str = Field(primary_key=True, max_length=64)
    request_digest: bytes
    answer_sealed: bytes
    key_id: str = Field(max_length=8)
    expires_at: datetime = instant(index=True)
