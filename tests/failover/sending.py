"""Requests to replicas in turn, each with a time limit, and each counted."""

import random
import time
from collections.abc import Sequence
from typing import Any

from tests.failover.tally import Tally
from tests.http.running import Account, Running
from tests.http.wire import Answer
from tests.support.deadlines import patient

__all__ = ["Sender"]

#: Every request is answered within this many seconds.
TIME_LIMIT = 10
#: A failover ends in less.
_SECONDS_TO_ACKNOWLEDGE = 120
_PAUSE = 0.05
#: The two statuses of a documented failure: nothing was done, or perhaps it was.
_UNAVAILABLE, _UNKNOWN = 503, "outcome_unknown"


class Sender:
    """A client of the replicas, and its counts."""

    def __init__(self, replicas: Sequence[Running], account: Account, seed: int) -> None:
        self.account = account
        self.tally = Tally()
        self.random = random.Random(seed)  # noqa: S311 # chooses requests, not secrets
        self.replicas = replicas
        #: Of the last request: whether it may have been done without an acknowledgement.
        self.is_unknown = False

    def send(
        self, method: str, target: str, *, at: Running | None = None, **more: Any
    ) -> Answer | None:
        """Send a request to a replica; return None if it failed, was not answered, or is unknown.

        The user's session is sent, if no other headers are.
        """
        more.setdefault("headers", self.account.bearer)
        replica = at or self.random.choice(self.replicas)
        self.is_unknown = False
        try:
            answer = replica.ask(method, target, timeout=patient(TIME_LIMIT), **more)
        except (OSError, AssertionError, ValueError) as error:
            self.is_unknown = True
            self.tally.unanswered += 1
            self.tally.statuses[0] += 1
            self.last_error = repr(error)
            return None
        self.tally.statuses[answer.status] += 1
        if answer.status < 500:
            return answer
        if answer.status != _UNAVAILABLE:
            self.is_unknown = True
        if answer.code == _UNKNOWN:
            self.is_unknown = True
            self.tally.unknown += 1
        elif answer.status != _UNAVAILABLE:
            self.tally.failures.append(f"{method} {target}: {answer.status} {answer.body!r}")
        time.sleep(_PAUSE)
        return None

    def acknowledge(self, answer: Answer) -> Answer:
        """Count a write as acknowledged."""
        assert answer.status < 300, answer
        self.tally.acknowledged_at.append(time.monotonic())
        return answer

    def send_until_answered(self, method: str, target: str, **more: Any) -> tuple[Answer, bool]:
        """Repeat a request until it is answered; return whether an earlier one may be done."""
        deadline = time.monotonic() + patient(_SECONDS_TO_ACKNOWLEDGE)
        was_unknown = False
        while (answer := self.send(method, target, **more)) is None:
            was_unknown |= self.is_unknown
            assert time.monotonic() < deadline, f"{method} {target} is never answered"
        return answer, was_unknown

    def pause(self) -> None:
        """Leave the processor to the replicas for a moment."""
        time.sleep(self.random.uniform(0, 2 * _PAUSE))

    def take_tally(self) -> Tally:
        """Return the counts, and start at zero."""
        tally, self.tally = self.tally, Tally()
        return tally
