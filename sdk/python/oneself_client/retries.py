"""Automatic retries.

Retry libraries decide by method and status. Here a request is only repeated if it cannot have been
carried out: a password must not be changed twice because a response was lost.
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
#: Errors raised before the first byte of a request is sent.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Retries:
    """The number of attempts for a call, and the longest wait between them.

    An operation that writes is only repeated if it was certainly not carried out: there was no
    connection, or the service rejected it with 429. An operation that reads, or that has an
    `Idempotency-Key`, is also repeated after a broken connection and after a 502, 503 or 504.
    """

    #: The maximum number of attempts; 1 disables retries.
    attempts: int = 3
    #: The longest wait before the next attempt, in seconds. If `Retry-After` is longer, the error
    #: is raised at once; its `retry_after` says how long to wait.
    longest_wait: float = 30.0

    def wait_after(
        self, attempt: int, outcome: httpx2.Response | httpx2.RequestError, *, is_safe: bool
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        if attempt >= self.attempts or not _may_be_repeated(outcome, is_safe=is_safe):
            return None
        value = retry_after(outcome.headers) if isinstance(outcome, httpx2.Response) else None
        if value is not None:
            return value if value <= self.longest_wait else None
        # Random, so that clients that failed together do not return together.
        wait: float = random.uniform(0.5, 1.0) * 2 ** (attempt - 1)  # noqa: S311 # not a secret
        return min(self.longest_wait, wait)


def _may_be_repeated(outcome: httpx2.Response | httpx2.RequestError, *, is_safe: bool) -> bool:
    if isinstance(outcome, httpx2.Response):
        # A 503 of the service means that nothing changed, but one of a proxy does not.
        passing = is_safe and outcome.status_code in _PASSING
        return outcome.status_code == _TOO_MANY_REQUESTS or passing
    return is_safe or was_certainly_not_sent(outcome)


def was_certainly_not_sent(error: httpx2.RequestError) -> bool:
    """Return whether no part of the request was sent, so that it cannot have had an effect."""
    return isinstance(error, _NOT_SENT)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds from now in `Retry-After` (RFC 9110 section 10.2.3), or None."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
