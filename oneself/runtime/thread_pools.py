"""Thread pools that operations run in, each with a bounded queue and bounded waits."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

from accounts.errors import OutcomeUnknown, Unavailable
from oneself.runtime.worker_threads import Task, WorkerThreads

_LOWEST_PRIORITY = 19

#: How often the event loop looks for waits to end, in seconds.
_LOOK_SECONDS = 0.1
#: Once the first in the queue has waited for this share of the longest wait, more work is refused
#: at once: a refusal is worth more to its client early.
_FULL_SHARE = 0.5

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


class PoolLimits(NamedTuple):
    """Limits of the time that work waits and takes, in seconds.

    `wait` is the time in the queue, and `total` the time from the queue to the result. Work that
    runs for longer than `slow` is set aside: another thread takes its place.
    """

    wait: float = 9.0
    total: float = 9.0
    slow: float = 9.0


class Pool:
    """Threads with a bounded queue.

    bcrypt has a pool of its own: 60 logins in a shared one delayed an unrelated request by 8.25 s
    (LG-13). If the queue is full, the response is a 503 at once, rather than a late one.

    The event loop ends each wait (DB-12), since a thread may hang for as long as a standby or a
    disk is gone. Work that has begun is never interrupted: PostgreSQL acknowledges a commit whose
    wait for a standby was cancelled. Its thread is set aside, and ends with the work.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue: int,
        readers: int = 0,
        low_priority: bool = False,
        limits: PoolLimits = PoolLimits(),  # noqa: B008 # immutable
        observer: PoolObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start no thread yet; with `low_priority` they run at the lowest priority.

        `readers` is the number of further threads that only reads can take, and at most `threads`
        can be set aside.
        """
        self._limit = threads + queue
        self._limits = limits
        self._observer = observer or _NO_OBSERVER
        self._clock = clock
        self._pending = 0
        self._next_look: asyncio.TimerHandle | None = None
        self._threads = WorkerThreads(
            name,
            writers=threads,
            readers=readers,
            initialize=_lower_priority if low_priority else lambda: None,
            clock=clock,
        )

    async def run(
        self,
        work: Callable[..., Outcome],
        *arguments: object,
        writing: bool = True,
        urgent: bool = False,
        total: float | None = None,
    ) -> Outcome:
        """Do the work in a thread. Call it from one event loop only: the count has no lock.

        Urgent work is done first, and refused only if no thread answers. `total` replaces the limit
        of the pool, in seconds.

        Raises:
            Unavailable: The queue is full, or the work took too long; it has changed nothing.
            OutcomeUnknown: The work took too long, and was being committed.
        """
        overload = self._find_overload(writing=writing, urgent=urgent)
        if overload is not None:
            self._observer.refused()
            raise overload
        loop = asyncio.get_running_loop()
        task = Task(
            partial(work, *arguments),
            loop.create_future(),
            self._clock(),
            writing=writing,
            urgent=urgent,
            total=self._limits.total if total is None else total,
        )
        self._add_pending(1)
        try:
            self._threads.add(task)
            if self._next_look is None:
                self._next_look = loop.call_later(_LOOK_SECONDS, self._end_waits, loop)
            outcome: Outcome = await task.result
        except asyncio.CancelledError:
            self._threads.remove(task)
            raise
        finally:
            self._add_pending(-1)
            del task  # a frame in the traceback of its own exception
        return outcome

    def _add_pending(self, change: int) -> None:
        self._pending += change
        self._observer.pending(self._pending)
        if not self._pending and self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _find_overload(self, *, writing: bool, urgent: bool) -> Unavailable | None:
        if stuck := self._threads.find_stuck(self._limits.slow, writing=writing):
            return Unavailable(reason=_reason_of(stuck))
        longest = _FULL_SHARE * self._limits.wait
        is_full = self._pending >= self._limit or (
            self._threads.longest_wait(writing=writing) > longest
        )
        return Unavailable() if is_full and not urgent else None

    def _end_waits(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what has waited or run for too long, and set aside what is slow."""
        self._next_look = loop.call_later(_LOOK_SECONDS, self._end_waits, loop)
        self._threads.set_aside(self._limits.slow)
        for task in self._threads.remove_late(self._limits.wait):
            self._observer.refused()
            task.settle(None, Unavailable())
        for task in self._threads.overdue():
            if not task.result.done():
                reason = _reason_of([task])
                nothing_done = task.gate.close()
                refusal = Unavailable if nothing_done else OutcomeUnknown
                task.settle(None, refusal(reason=reason))

    def close(self) -> None:
        """Wait for queued and running work, but not for work that hangs, and stop the threads."""
        self._threads.close()


def _reason_of(tasks: Iterable[Task]) -> str:
    if any(task.gate.is_committing for task in tasks):
        return "commits wait for a standby or a disk"
    return "the database does not answer"
