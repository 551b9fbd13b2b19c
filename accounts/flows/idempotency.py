"""Idempotency keys: a repeated request is performed once and gets the first response again.

A client whose response was lost cannot know whether the request was performed. With a key of its
own choice it can safely retry. The header is that of draft-ietf-httpapi-idempotency-key-header-07,
which expired before it became a standard, so our document defines the contract.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete
from sqlmodel import col, select

from accounts.crypto.keyring import Purpose
from accounts.errors import IdempotencyKeyReused
from accounts.services.database import AccountSession
from accounts.values.clock_skew import KEEP_AFTER_EXPIRY
from models import IdempotencyRecord

_LIFETIME = timedelta(hours=24)


class Attempt(NamedTuple):
    """One sending of a request.

    `whose` is the owner of the key: equal keys of different callers are different keys. `request`
    is everything that makes two requests equal. Both are stored as digests only.
    """

    whose: str
    key: str
    request: str


def find_response(session: AccountSession, attempt: Attempt) -> str | None:
    """Return the response to the request from the last 24 hours; None if the key is new.

    The caller has locked what two concurrent attempts would both write to, so that the later
    attempt finds the response of the earlier one.

    Raises:
        IdempotencyKeyReused: The key was used for another request.
    """
    ids = [digest.hex() for digest in session.keys.digests(Purpose.IDEMPOTENCY, _key(attempt))]
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
    """Store the response to a request, in the transaction that performs the request."""
    row_id = session.keys.digest(Purpose.IDEMPOTENCY, _key(attempt)).hex()
    # An expired row may not have been deleted yet.
    session.core.execute(delete(IdempotencyRecord).where(col(IdempotencyRecord.id) == row_id))
    session.add(
        IdempotencyRecord(
            id=row_id,
            request_digest=session.keys.digest(Purpose.IDEMPOTENCY, _request(attempt)),
            answer_sealed=session.keys.seal(Purpose.IDEMPOTENCY, answer, row_id),
            key_id=session.keys.key_id,
            expires_at=session.now + _LIFETIME,
        )
    )


def delete_expired_responses(session: AccountSession) -> int:
    """Delete responses that expired a while ago; returns how many.

    Not at once: a clock that is ahead would delete valid ones, and their requests would be
    performed again (OP-10).
    """
    return session.core.execute(
        delete(IdempotencyRecord).where(
            col(IdempotencyRecord.expires_at) <= session.now - KEEP_AFTER_EXPIRY
        )
    ).rowcount


def _key(attempt: Attempt) -> str:
    return f"key\n{attempt.key}\n{attempt.whose}"


def _request(attempt: Attempt) -> str:
    return f"request\n{attempt.request}"
