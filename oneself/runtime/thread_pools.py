"""Thread pools that operations run in, each with a bounded queue."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from accounts.errors import Unavailable

_LOWEST_PRIORITY = 19

#: How long work may wait in the queue, in seconds. If each step takes its time limit, as with a
#: hanging database, the last in a full queue would otherwise wait for an hour.
_TIMEOUT = 10.0

Outcome = TypeVar("Outcome")


def _lower_priority() -> None:
    """Give the calling thread the lowest priority.

    Hashing threads keep every processor busy, and the event loop would have to wait for its turn:
    without this, other requests were eight times slower beside logins (LG-13).
    """
    if sys.platform == "linux":  # elsewhere a process has a priority, not a thread
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)


class PoolObserver(NamedTuple):
    """Callbacks for the metrics of a pool: work accepted and not done yet, and work refused."""

    pending: Callable[[int], None]
    refused: Callable[[], None]


_NO_OBSERVER = PoolObserver(lambda _pending: None, lambda: None)


class Pool:
    """Threads with a bounded queue.

    bcrypt has a pool of its own: 60 logins in a shared one delayed an unrelated request by 8.25 s
    (LG-13). If the queue is full, the response is a 503 at once, rather than a late one. Work that
    has waited so long that the client may be gone is refused with a 503 as well, and is not
    started.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue: int,
        low_priority: bool = False,
        timeout: float = _TIMEOUT,
        observer: PoolObserver | None = None,
    ) -> None:
        """Create the threads; with `low_priority` they run at the lowest priority.

        `timeout` is how long work may wait in the queue, in seconds.
        """
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=_lower_priority if low_priority else None
        )
        self._limit = threads + queue
        self._timeout = timeout
        self._pending = 0
        self._watch = observer or _NO_OBSERVER

    async def run(self, work: Callable[..., Outcome], *arguments: object) -> Outcome:
        """Do the work in a thread. Call it from one event loop only: the count has no lock.

        Raises:
            Unavailable: The queue is full, or the work timed out in it.
        """
        if self._pending >= self._limit:
            self._watch.refused()
            raise Unavailable
        self._add_pending(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._run_unless_timed_out, time.monotonic(), work, *arguments
            )
        finally:
            self._add_pending(-1)

    def _add_pending(self, change: int) -> None:
        self._pending += change
        self._watch.pending(self._pending)

    def _run_unless_timed_out(
        self, queued_at: float, work: Callable[..., Outcome], *arguments: object
    ) -> Outcome:
        if time.monotonic() > queued_at + self._timeout:
            self._watch.refused()
            raise Unavailable
        return work(*arguments)

    def close(self) -> None:
        """Wait for running work, and stop the threads."""
        self._executor.shutdown()
