"""Rate limit counters, networks of logins, and responses stored for retries."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from models.columns import instant, optional_instant


class RateLimitCounter(SQLModel, table=True):
    """A rate limit counter of one scope that checks a secret.

    It follows the generic cell rate algorithm (ITU-T I.371): `whole_at` is the time at which the
    limit is fully replenished, in microseconds of Unix time, since both databases count integers
    alike. `name_digest` stands for an account, a source or both, whether or not the account exists.
    `failures` counts the attempts since the last success; `succeeded_at` makes a source familiar.
    """

    __tablename__ = "attempt_budget"

    name_digest: bytes = Field(primary_key=True)
    whole_at: int = Field(sa_type=BigInteger)
    failures: int
    changed_at: datetime = instant(index=True)
    succeeded_at: datetime | None = optional_instant()


class LoginNetwork(SQLModel, table=True):
    """The logins of one account from one network: the failures of a day, and the last success.

    The row reveals no address: `name_digest` stands for the network and the account. `user_id` is
    null for an address without an account, and such a row is deleted after a day. `failures` counts
    since `failed_since`, and `notified_at` is when the owner was told of failures last.
    """

    __tablename__ = "login_network"

    name_digest: bytes = Field(primary_key=True)
    user_id: str | None = Field(default=None, foreign_key="user.id", index=True, max_length=16)
    failures: int
    failed_since: datetime | None = optional_instant(index=True)
    succeeded_at: datetime | None = optional_instant()
    notified_at: datetime | None = optional_instant()
    changed_at: datetime = instant(index=True)


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
