"""The threads of a pool and the work that waits for them.

`thread_pools` decides, on the event loop, how long work may wait; this module does it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from oneself.database.commit_gate import CommitGate, current_gate

#: How long `close` waits for threads that run, in seconds.
_CLOSE_SECONDS = 10.0

Outcome = TypeVar("Outcome")


class Task:
    """Work for a thread, and the future that its result is set on, in its event loop.

    `total` is how long it may take from the queue to its result, in seconds. `begun_at` is None
    while it waits, and `is_aside` tells whether another thread has taken its place.
    """

    __slots__ = (
        *("begun_at", "gate", "is_aside", "queued_at", "result", "total"),
        *("urgent", "work", "writing"),
    )

    def __init__(
        self,
        work: Callable[[], Any],
        result: asyncio.Future[Any],
        queued_at: float,
        *,
        writing: bool,
        urgent: bool,
        total: float,
    ) -> None:
        self.work = work
        self.result = result
        self.queued_at = queued_at
        self.writing = writing
        self.urgent = urgent
        self.total = total
        self.gate = CommitGate()
        self.begun_at: float | None = None
        self.is_aside = False

    def run(self) -> None:
        """Do the work, in a thread, and hand its result to the event loop."""
        token = current_gate.set(self.gate)
        outcome, error = _outcome_of(self.work)
        current_gate.reset(token)
        with suppress(RuntimeError):  # the loop is closed, and so is the service
            self.result.get_loop().call_soon_threadsafe(self.settle, outcome, error)

    def settle(self, outcome: object, error: BaseException | None) -> None:
        """Set the result, unless the wait was ended or its client has disconnected."""
        if self.result.done():
            return
        if error is None:
            self.result.set_result(outcome)
        else:
            self.result.set_exception(error)


class WorkerThreads:
    """Threads that do tasks, started when they are needed.

    `writers` do any task and `readers` further ones only reads, so that tasks that hang in a commit
    leave reads alive. At most `writers` tasks more can be set aside: each gives its place to
    another thread, and its own thread ends with it.
    """

    def __init__(
        self,
        name: str,
        *,
        writers: int,
        readers: int,
        initialize: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._writers = writers
        self._places = writers + readers
        self._most_aside = writers
        self._initialize = initialize
        self._clock = clock
        # The lock of this condition guards everything below.
        self._changed = threading.Condition()
        self._queues: dict[bool, deque[Task]] = {True: deque(), False: deque()}  # by `writing`
        self._running: set[Task] = set()
        self._alive: set[threading.Thread] = set()
        self._idle = 0
        self._is_closing = False

    def add(self, task: Task) -> None:
        """Queue a task; an urgent one is the next to be done."""
        with self._changed:
            waiting = self._queues[task.writing]
            waiting.appendleft(task) if task.urgent else waiting.append(task)
            self._call_thread()

    def remove(self, task: Task) -> None:
        """Remove a task, if it waits."""
        with self._changed, suppress(ValueError):
            self._queues[task.writing].remove(task)

    def longest_wait(self, *, writing: bool) -> float:
        """Return how long the first task in a queue has waited, in seconds."""
        with self._changed:
            waiting = self._queues[writing]
            return self._clock() - waiting[0].queued_at if waiting else 0.0

    def remove_late(self, limit: float) -> list[Task]:
        """Remove and return the tasks that have waited for more than `limit` seconds."""
        now = self._clock()
        with self._changed:
            late = [
                task
                for waiting in self._queues.values()
                for task in waiting
                if now - task.queued_at > min(limit, task.total)
            ]
            for task in late:
                self._queues[task.writing].remove(task)
        return late

    def overdue(self) -> list[Task]:
        """Return the tasks that run, and whose result is late."""
        now = self._clock()
        with self._changed:
            return [task for task in self._running if now - task.queued_at > task.total]

    def set_aside(self, slow: float) -> None:
        """Set tasks aside that have run for more than `slow` seconds."""
        begun_before = self._clock() - slow
        with self._changed:
            left = self._most_aside - self._count_aside()
            for task in [task for task in self._running if _is_slow(task, begun_before)][:left]:
                task.is_aside = True
                if any(self._queues.values()):
                    self._call_thread()

    def find_stuck(self, slow: float, *, writing: bool) -> list[Task]:
        """Return the running tasks if all of them are slow and no other can begin; else none."""
        begun_before = self._clock() - slow
        with self._changed:
            if self._has_room(writing=writing) or self._count_aside() < self._most_aside:
                return []
            if all(task.is_aside or _is_slow(task, begun_before) for task in self._running):
                return list(self._running)
        return []

    def close(self) -> None:
        """Wait for queued and running tasks, but not for those that hang, and stop the threads."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            threads = list(self._alive)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _count_aside(self) -> int:
        return sum(task.is_aside for task in self._running)

    def _has_room(self, *, writing: bool) -> bool:
        running = [task for task in self._running if not task.is_aside]
        if len(running) >= self._places:
            return False
        return not writing or sum(task.writing for task in running) < self._writers

    def _call_thread(self) -> None:
        """Let an idle thread look at the queues, or start one."""
        if self._idle:
            self._changed.notify()
        elif len(self._alive) < self._places + self._count_aside():
            # A daemon: one that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._alive.add(thread)
            thread.start()

    def _serve(self) -> None:
        self._initialize()
        while (task := self._next()) is not None:
            task.run()
            with self._changed:
                self._running.remove(task)
            del task

    def _next(self) -> Task | None:
        """Return the next task, when there is one; None if the thread is to end."""
        with self._changed:
            while True:
                is_spare = len(self._alive) > self._places + self._count_aside()
                task = None if is_spare else self._take()
                if task is not None:
                    return task
                if is_spare or self._is_closing:
                    self._alive.discard(threading.current_thread())
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1

    def _take(self) -> Task | None:
        heads = [
            waiting[0]
            for writing, waiting in self._queues.items()
            if waiting and self._has_room(writing=writing)
        ]
        if not heads:
            return None
        task = min(heads, key=lambda head: (not head.urgent, head.queued_at))
        self._queues[task.writing].popleft()
        task.begun_at = self._clock()
        self._running.add(task)
        return task


def _is_slow(task: Task, begun_before: float) -> bool:
    return not task.is_aside and task.begun_at is not None and task.begun_at < begun_before


def _outcome_of(work: Callable[[], Outcome]) -> tuple[Outcome | None, BaseException | None]:
    """Do work in a frame of its own: an exception refers to the frames that it went through."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 # raised again where it is waited for
        return None, error
