"""The threads that operations run in."""

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

__all__ = ["Pool", "PoolObserver"]

_LOWEST_PRIORITY = 19

#: How long work may wait for its turn, in seconds. Where each step takes its longest, as with a
#: database that hangs, a full queue would otherwise keep its last for an hour.
_PATIENCE = 10.0

Outcome = TypeVar("Outcome")


def _yield_to_others() -> None:
    """Give the thread that calls it the lowest priority.

    Threads that hash keep every processor busy, and the event loop would wait for its turn among
    them: that alone made other requests eight times slower beside logins (LG-13).
    """
    if sys.platform == "linux":  # elsewhere a priority is a process's, and no thread's
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)


class PoolObserver(NamedTuple):
    """Who is told how much is taken, of work in a thread and in the queue, and what is refused."""

    taken: Callable[[int], None]
    refused: Callable[[], None]


_NOBODY = PoolObserver(lambda _taken: None, lambda: None)


class Pool:
    """Threads with a bounded queue before them.

    bcrypt has a pool of its own: 60 logins in a shared one kept an unrelated request waiting for
    8.25 s (LG-13). Past the queue's limit the answer is a 503 at once, rather than a late one; and
    what has waited for so long that its asker may have gone is a 503 as well, and is not begun.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue: int,
        yields: bool = False,
        timeout: float = _PATIENCE,
        watch: PoolObserver | None = None,
    ) -> None:
        """Begin with threads that, if it `yields`, run only while nobody else wants to.

        `timeout` is how long work may wait in the queue, in seconds.
        """
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=_yield_to_others if yields else None
        )
        self._limit = threads + queue
        self._timeout = timeout
        self._taken = 0
        self._watch = watch or _NOBODY

    async def run(self, work: Callable[..., Outcome], *arguments: object) -> Outcome:
        """Do the work in a thread. To be called from one event loop only: the count has no lock.

        Raises:
            Unavailable: The queue is full, or its turn came too late.
        """
        if self._taken >= self._limit:
            self._watch.refused()
            raise Unavailable
        self._change(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._unless_late, time.monotonic(), work, *arguments
            )
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._taken += by
        self._watch.taken(self._taken)

    def _unless_late(
        self, since: float, work: Callable[..., Outcome], *arguments: object
    ) -> Outcome:
        if time.monotonic() > since + self._timeout:
            self._watch.refused()
            raise Unavailable
        return work(*arguments)

    def close(self) -> None:
        """Wait for what is running, and stop the threads."""
        self._executor.shutdown()
