"""A request that is sent again because its answer was lost: done once, and answered twice.

What has no answer may have been done or not, and whoever asked cannot know. With a key of their own
making they may ask again. The header is that of draft-ietf-httpapi-idempotency-key-header-07, which
expired before it was a standard, so the contract is our document's.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete
from sqlmodel import col, select

from accounts.crypto.keyring import Purpose
from accounts.errors import IdempotencyKeyReused
from accounts.services.database import AccountSession
from accounts.values.clock_skew import KEPT_BEYOND
from models import IdempotencyRecord

__all__ = ["Attempt", "delete_expired_responses", "find_response", "store_response"]

_KEPT = timedelta(hours=24)


class Attempt(NamedTuple):
    """One sending of a request.

    `whose` is all that the key belongs to: two who send the same key do not mean the same.
    `request` is all of the request that counts. Neither is stored but as a digest.
    """

    whose: str
    key: str
    request: str


def find_response(session: AccountSession, attempt: Attempt) -> str | None:
    """What the request was answered within the last 24 hours; None for a key that is new.

    The caller holds whatever two attempts at once would both write to, so that the later finds what
    the earlier has kept.

    Raises:
        IdempotencyKeyReused: The key stands for another request.
    """
    ids = [each.hex() for each in session.keys.digests(Purpose.IDEMPOTENCY, _key(attempt))]
    row = session.exec(
        select(IdempotencyRecord).where(
            col(IdempotencyRecord.id).in_(ids), col(IdempotencyRecord.expires_at) > session.now
        )
    ).first()
    if row is None:
        return None
    if not session.keys.matches(Purpose.IDEMPOTENCY, _request(attempt), row.request_digest):
        raise IdempotencyKeyReused
    return session.keys.open(Purpose.IDEMPOTENCY, row.answer_sealed, row.id)


def store_response(session: AccountSession, attempt: Attempt, answer: str) -> None:
    """Keep what the request is answered, in the transaction that does what it asks for."""
    row_id = session.keys.digest(Purpose.IDEMPOTENCY, _key(attempt)).hex()
    # One that is over may not have been deleted yet.
    session.core.execute(delete(IdempotencyRecord).where(col(IdempotencyRecord.id) == row_id))
    session.add(
        IdempotencyRecord(
            id=row_id,
            request_digest=session.keys.digest(Purpose.IDEMPOTENCY, _request(attempt)),
            answer_sealed=session.keys.seal(Purpose.IDEMPOTENCY, answer, row_id),
            key_id=session.keys.key_id,
            expires_at=session.now + _KEPT,
        )
    )


def delete_expired_responses(session: AccountSession) -> int:
    """Delete the answers that are over; returns how many.

    Not at once: by a clock that was ahead none is, and what was done would be done again (OP-10).
    """
    return session.core.execute(
        delete(IdempotencyRecord).where(
            col(IdempotencyRecord.expires_at) <= session.now - KEPT_BEYOND
        )
    ).rowcount


def _key(attempt: Attempt) -> str:
    return f"key\n{attempt.key}\n{attempt.whose}"


def _request(attempt: Attempt) -> str:
    return f"request\n{attempt.request}"
