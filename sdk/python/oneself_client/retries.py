"""When a call is sent again by itself, and after how long.

Own, because libraries for it decide by method and status, and what counts here is whether the
request may have been carried out: a password is not changed twice because an answer was lost.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

__all__ = ["Retries", "retry_after", "was_certainly_not_sent"]

_TOO_MANY_REQUESTS = 429
_PASSING = frozenset({502, 503, 504})
#: These are raised before the first byte of a request leaves.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long, a call is tried before its failure is raised.

    An operation that changes something is sent again only if it was certainly not carried out: no
    connection came about, or the service refused it for now with a 429. One that only reads, or
    that has an `Idempotency-Key`, with which it is done once, is sent again after a broken
    connection, a 502, a 503 or a 504 as well.
    """

    #: How often a call is sent at most; 1 for never again.
    attempts: int = 3
    #: The longest time to wait for the next attempt, in seconds. If `Retry-After` asks for more,
    #: the failure is raised at once, and says for how long.
    longest_wait: float = 30.0

    def wait_after(
        self, attempt: int, outcome: httpx2.Response | httpx2.RequestError, *, is_safe: bool
    ) -> float | None:
        """The seconds to wait before the next attempt, or None for no other."""
        if attempt >= self.attempts or not _may_be_repeated(outcome, is_safe=is_safe):
            return None
        asked = retry_after(outcome.headers) if isinstance(outcome, httpx2.Response) else None
        if asked is not None:
            return asked if asked <= self.longest_wait else None
        # By chance, so that many clients that failed together do not come back together.
        wait: float = random.uniform(0.5, 1.0) * 2 ** (attempt - 1)  # noqa: S311 # no secret
        return min(self.longest_wait, wait)


def _may_be_repeated(outcome: httpx2.Response | httpx2.RequestError, *, is_safe: bool) -> bool:
    if isinstance(outcome, httpx2.Response):
        # A 503 of the service changed nothing, but a proxy's can follow a request carried out.
        passing = is_safe and outcome.status_code in _PASSING
        return outcome.status_code == _TOO_MANY_REQUESTS or passing
    return is_safe or was_certainly_not_sent(outcome)


def was_certainly_not_sent(error: httpx2.RequestError) -> bool:
    """Whether not even a part of the request has left, so that nobody can have acted on it."""
    return isinstance(error, _NOT_SENT)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for, in seconds from now (RFC 9110 section 10.2.3)."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
