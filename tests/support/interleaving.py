"""Two concurrent acts, run step by step in every order of their steps.

Like PostgreSQL's isolation tester: an act stops before each named step until the test lets it
continue. An act that waits for a lock is skipped until the other one has moved.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bcrypt
from sqlalchemy import Engine, event

from accounts.errors import AccountError
from accounts.services.database import AccountSession
from oneself.database import Database
from tests.support.deadlines import patient

__all__ = ["Act", "Actor", "interleavings", "run_interleaved", "stop_points"]

Act = Callable[[AccountSession], Any]

_SECONDS = 30
#: Seconds after which an act on SQLite counts as waiting for the other.
_LOCK_SECONDS = 0.05
_WRITES = ("INSERT", "UPDATE", "DELETE")
_thread_state = threading.local()


class Actor(threading.Thread):
    """A thread with one act in its transaction, which stops before its steps.

    `outcome` is the return value or the error of the act. `order` lists the names of the acts in
    the order in which they ended.
    """

    def __init__(
        self, name: str, database: Database, act: Act, order: list[str], *, slow: bool
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.outcome: Any = None
        self.steps: list[str] = []
        self._database = database
        self._act = act
        self._order = order
        self._next_step = threading.Semaphore(0)
        self._stopped = threading.Event()
        self._pid: int | None = None
        self._runs_freely = False
        self._slow = slow

    def run(self) -> None:
        _thread_state.actor = self
        try:
            self._database.attempt(self._attempt)
        except AccountError as refusal:
            self.outcome = refusal
        except Exception as failure:  # noqa: BLE001 # the test checks it
            self.outcome = failure
            self._note_end()
        self._stopped.set()

    def _attempt(self) -> None:
        # Writes before slow work are independent of it: stop only before those after it.
        self._has_written = self._slow
        if self.name in self._order:  # the commit failed, and the act is retried
            self._order.remove(self.name)
        self.reach("read")
        with self._database.transaction(writing=True) as session:
            try:
                self.outcome = self._act(session)
                session.flush()
            except AccountError:
                self._note_end()
                raise
            self.reach("commit")
            self._note_end()

    def _note_end(self) -> None:
        """Record the end before the transaction releases its locks.

        Afterwards the other act could end before this thread continues.
        """
        if self.name not in self._order:
            self._order.append(self.name)

    def reach(self, step: str) -> None:
        """Stop before a step until it may be taken."""
        if step == "hash":
            self._has_written = False
        self.steps.append(step)
        if not self._runs_freely:
            self._stopped.set()
            assert self._next_step.acquire(timeout=patient(_SECONDS))

    def about_to_ask(self, statement: str, pid: int) -> None:
        """Stop before the first writing statement; `pid` is the server's process id."""
        self._pid = pid  # it changes after slow work
        if not self._has_written and statement.lstrip().startswith(_WRITES):
            self._has_written = True
            self.reach("write")

    def let_go(self, is_waiting: Callable[[int], bool] | None) -> None:
        """Let the act take its next step; wait until it has, or waits for a lock."""
        if not self.is_alive() or not self._stopped.is_set():
            return
        self._stopped.clear()
        self._next_step.release()
        deadline = time.monotonic() + (_SECONDS if is_waiting else _LOCK_SECONDS)
        while not self._stopped.wait(0.002) and time.monotonic() < deadline:
            if is_waiting and self._pid is not None and is_waiting(self._pid):
                return

    def finish(self) -> None:
        """Run the act to its end without further stops."""
        self._runs_freely = True
        self._next_step.release(100)
        self.join(_SECONDS)
        assert not self.is_alive()


@contextmanager
def stop_points(*, writing: bool) -> Iterator[None]:
    """Make actors stop inside bcrypt, and before they write if `writing`."""

    def before(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        actor = getattr(_thread_state, "actor", None)
        if actor is not None:
            pid = connection.connection.dbapi_connection.info.backend_pid
            actor.about_to_ask(statement, pid)

    check = bcrypt.checkpw

    def checkpw(*arguments: Any) -> bool:
        actor = getattr(_thread_state, "actor", None)
        if actor is not None:
            actor.reach("hash")
        return check(*arguments)

    bcrypt.checkpw = checkpw
    if writing:
        event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        bcrypt.checkpw = check
        if writing:
            event.remove(Engine, "before_cursor_execute", before)


def interleavings(first: int, second: int) -> Iterator[tuple[int, ...]]:
    """Yield every order of the steps of two actors."""
    for positions in itertools.combinations(range(first + second), first):
        yield tuple(0 if position in positions else 1 for position in range(first + second))


def run_interleaved(
    database: Database,
    acts: Sequence[Act],
    order: Sequence[int],
    is_waiting: Callable[[int], bool] | None,
    *,
    slow: Sequence[bool],
) -> tuple[list[Any], list[str]]:
    """Run two acts in an order of steps; return both outcomes, and the order of their ends.

    `slow` says which of them hash passwords; `is_waiting` returns whether a connection waits for a
    lock.
    """
    end_order: list[str] = []
    actors = [
        Actor(name, database, act, end_order, slow=hashes)
        for name, act, hashes in zip("ab", acts, slow, strict=True)
    ]
    for actor in actors:
        actor.start()
        actor._stopped.wait(patient(_SECONDS))  # noqa: SLF001 # same module
    for turn in order:
        actors[turn].let_go(is_waiting)
    threads = [threading.Thread(target=actor.finish) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS)
    assert not any(actor.is_alive() for actor in actors), [actor.steps for actor in actors]
    return [actor.outcome for actor in actors], end_order
