"""Answers that a client may need again."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["IdempotencyRecord"]


class IdempotencyRecord(SQLModel, table=True):
    """What one request with an `Idempotency-Key` was answered, for when it is sent again.

    Neither the key nor the request can be told from the row: `id` is a digest of the key with
    whose it is, `request_digest` one of what was asked. `answer_sealed` may hold a secret that is
    shown only once (HT-19).
    """

    __tablename__ = "kept_answer"

    id: str = Field(primary_key=True, max_length=64)
    request_digest: bytes
    answer_sealed: bytes
    key_id: str = Field(max_length=8)
    expires_at: datetime = instant(index=True)
