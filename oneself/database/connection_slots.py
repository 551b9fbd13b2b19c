"""A bounded number of connections, of which writers can never take the last."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from accounts.errors import Unavailable

#: A connection in use for longer, in seconds, is set aside: it may hang for as long as a standby is
#: gone (DB-12). It keeps its transaction, and another may be opened in its place.
_SLOW_SECONDS = 1.0
#: How often a thread that waits looks for connections that have become slow, in seconds.
_POLL_SECONDS = 0.1


@dataclass(eq=False, slots=True)
class Slot:
    """The right to one connection, since a moment of the monotonic clock."""

    writing: bool
    since: float


class ConnectionSlots:
    """Slots for connections: `writers` for any transaction, and one more for reads.

    As many again are for those that are set aside, and no more: a client would exhaust the server's
    connections with the others.
    """

    def __init__(self, writers: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with all slots free."""
        self._writers = writers
        self._spare = writers
        self._clock = clock
        self._taken: set[Slot] = set()
        self._changed = threading.Condition()

    def acquire(self, *, writing: bool, timeout: float) -> Slot:
        """Return a slot.

        Raises:
            Unavailable: All were taken for `timeout` seconds.
        """
        deadline = self._clock() + timeout
        with self._changed:
            while not self._has_room(writing=writing):
                remaining = deadline - self._clock()
                if remaining <= 0:
                    raise Unavailable(reason="all connections to the database are in use")
                self._changed.wait(min(remaining, _POLL_SECONDS))
            slot = Slot(writing, self._clock())
            self._taken.add(slot)
            return slot

    def release(self, slot: Slot) -> None:
        """Give a slot back."""
        with self._changed:
            self._taken.remove(slot)
            # All: the first that waits may be a writer, and the slot not for writers.
            self._changed.notify_all()

    def _has_room(self, *, writing: bool) -> bool:
        if len(self._taken) < self._writers:
            return True
        longest = self._clock() - _SLOW_SECONDS
        slow = [slot for slot in self._taken if slot.since < longest]
        if len(self._taken) - min(len(slow), self._spare) > self._writers:
            return False
        if not writing:
            return True
        writers = sum(slot.writing for slot in self._taken)
        slow_writers = sum(slot.writing for slot in slow)
        return writers - min(slow_writers, self._spare) < self._writers
