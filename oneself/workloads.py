"""The threads that operations run in."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from accounts.errors import Unavailable

__all__ = ["Pool"]

Outcome = TypeVar("Outcome")


class Pool:
    """Threads with a bounded queue before them.

    bcrypt has a pool of its own: 60 logins in a shared one kept an unrelated request waiting for
    8.25 s (LG-13). Past the queue's limit the answer is a 503 at once, rather than a late one.
    """

    def __init__(self, name: str, *, threads: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = threads + queue
        self._taken = 0

    async def run(self, work: Callable[..., Outcome], *arguments: object) -> Outcome:
        """Do the work in a thread. To be called from one event loop only: the count has no lock.

        Raises:
            Unavailable: The queue is full.
        """
        if self._taken >= self._limit:
            raise Unavailable
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, work, *arguments
            )
        finally:
            self._taken -= 1

    def close(self) -> None:
        """Wait for what is running, and stop the threads."""
        self._executor.shutdown()
