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
_PER_TURN = 16
#: A request that has waited for longer, in seconds, is refused.
_MAX_WAIT = 1.0
#: While the first in the queue has waited for longer, new requests are refused at once. The queue
#: holds half a second of work then, which is done half a second after an overload.
_MAX_FIRST_WAIT = 0.5


class Admission:
    """The requests of one event loop that wait for their turn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with an empty queue."""
        self._clock = clock
        self._begun = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._has_next_turn = False

    async def wait_for_turn(self) -> None:
        """Return when the request may begin, which is at once without load.

        Raises:
            Unavailable: The queue is too long, or the request has waited in it for too long.
        """
        loop = asyncio.get_running_loop()
        if not self._has_next_turn:
            self._has_next_turn = True
            loop.call_soon(self._begin_turn, loop)
        if self._begun < _PER_TURN and not self._waiting:
            self._begun += 1
            return
        now = self._clock()
        if self._waiting and now - self._waiting[0][0] > _MAX_FIRST_WAIT:
            raise Unavailable
        turn = loop.create_future()
        self._waiting.append((now, turn))
        await turn

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        now = self._clock()
        while self._waiting and self._begun < _PER_TURN:
            arrived, turn = self._waiting.popleft()
            if turn.done():  # its client has disconnected
                continue
            if now - arrived > _MAX_WAIT:
                turn.set_exception(Unavailable())
            else:
                turn.set_result(None)
                self._begun += 1
        self._has_next_turn = bool(self._begun)
        if self._has_next_turn:
            loop.call_soon(self._begin_turn, loop)
