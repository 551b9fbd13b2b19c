"""Rate limits of attempts."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from models.columns import digest, instant, optional_instant

__all__ = ["RateLimitCounter"]


class RateLimitCounter(SQLModel, table=True):
    """A rate limit counter of one scope that checks a secret.

    It follows the generic cell rate algorithm (ITU-T I.371): `whole_at` is the time at which the
    limit is fully replenished, in microseconds of Unix time, since both databases count integers
    alike. `name_digest` stands for an account, a source or both, whether or not the account exists.
    `failures` counts the attempts since the last success; `succeeded_at` makes a source familiar.
    """

    __tablename__ = "attempt_budget"

    name_digest: bytes = digest(primary_key=True, unique=False)
    whole_at: int = Field(sa_type=BigInteger)
    failures: int
    changed_at: datetime = instant(index=True)
    succeeded_at: datetime | None = optional_instant()
