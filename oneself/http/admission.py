"""Admission of requests to the event loop: a queue in front of it, and 503 when it is too long.

The server hands every request to the event loop at once. Past saturation they would all be
answered, and all of them late: up to nine seconds were measured, without one 503. Here each turn
of the loop begins a few requests. The others wait, and the rest is refused while it is new (OP-06).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from accounts.errors import Unavailable

#: Requests that begin in one turn of the loop: a few milliseconds of work, after which new requests
#: are looked at.
_PER_TURN = 8
#: So many begin before a turn of the loop is asked for to count them: each extra turn is a system
#: call, and without load most of them would find nothing to do.
_UNCOUNTED = 7
#: A request that has waited for longer, in seconds, is refused.
_MAX_WAIT = 1.0
#: The queue holds as many requests as began in this time, in seconds, and a few in any case. It is
#: empty as long after an overload.
_QUEUE_SECONDS = 0.2
_MIN_QUEUE = 256


class Admission:
    """The requests of one event loop that wait for their turn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with an empty queue."""
        self._clock = clock
        self._begun = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._has_next_turn = False
        self._counted_since = 0.0
        self._counted = 0
        self._limit = _MIN_QUEUE

    async def wait_for_turn(self) -> None:
        """Return when the request may begin, which is at once without load.

        Raises:
            Unavailable: The queue is too long, or the request has waited in it for too long.
        """
        if self._begun < _PER_TURN and not self._waiting:
            self._begun += 1
            if self._begun > _UNCOUNTED and not self._has_next_turn:
                self._has_next_turn = True
                loop = asyncio.get_running_loop()
                loop.call_soon(self._begin_turn, loop)
            return
        now = self._clock()
        is_late = bool(self._waiting) and now - self._waiting[0][0] > _QUEUE_SECONDS
        if is_late or len(self._waiting) >= self._limit:
            raise Unavailable
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((now, turn))
        await turn

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._counted += self._begun
        self._begun = 0
        if not self._waiting:
            self._has_next_turn = False
            return
        loop.call_soon(self._begin_turn, loop)
        now = self._clock()
        passed = now - self._counted_since
        if passed >= _QUEUE_SECONDS:
            self._limit = max(_MIN_QUEUE, int(self._counted / passed * _QUEUE_SECONDS))
            self._counted, self._counted_since = 0, now
        while self._waiting and self._begun < _PER_TURN:
            arrived, turn = self._waiting.popleft()
            if turn.done():  # its client has disconnected
                continue
            if now - arrived > _MAX_WAIT:
                turn.set_exception(Unavailable())
            else:
                turn.set_result(None)
                self._begun += 1
