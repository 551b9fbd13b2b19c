"""Two acts at once, step by step, in every order that their steps can come in.

As PostgreSQL's own isolation tester has it: an act stops before each of its named steps and waits
until it is let go on; whoever waits for a lock is passed over until the other has moved.
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

__all__ = ["Act", "Actor", "interleavings", "meet", "stops"]

Act = Callable[[AccountSession], Any]

_SECONDS = 30
#: How long an act on SQLite may take until it counts as one that waits for the other, in seconds.
_A_WHILE = 0.05
_WRITES = ("INSERT", "UPDATE", "DELETE")
_here = threading.local()


class Actor(threading.Thread):
    """One act in its transaction, which stops before its steps.

    `outcome` is what it returned or the refusal that it raised, and `order` tells who ended first.
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
        self._go = threading.Semaphore(0)
        self._still = threading.Event()
        self._pid: int | None = None
        self._free = False
        self._slow = slow

    def run(self) -> None:
        _here.actor = self
        try:
            self._database.attempt(self._attempt)
        except AccountError as refusal:
            self.outcome = refusal
        except Exception as failure:  # noqa: BLE001 # the test looks at it
            self.outcome = failure
            self._note_end()
        self._still.set()

    def _attempt(self) -> None:
        # What is written before slow work is true by itself: it stops before what comes after.
        self._written = self._slow
        if self.name in self._order:  # it did not end: the commit failed, and it begins again
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
        """Note it before the transaction lets go of what the other may wait for.

        Afterwards the other can be at its end before this thread goes on.
        """
        if self.name not in self._order:
            self._order.append(self.name)

    def reach(self, step: str) -> None:
        """Stop before a step until it may be taken."""
        if step == "hash":
            self._written = False
        self.steps.append(step)
        if not self._free:
            self._still.set()
            assert self._go.acquire(timeout=_SECONDS)

    def about_to_ask(self, statement: str, pid: int) -> None:
        """Stop before the first statement that writes; `pid` is what the server calls its asker."""
        self._pid = pid  # another one after slow work
        if not self._written and statement.lstrip().startswith(_WRITES):
            self._written = True
            self.reach("write")

    def let_go(self, is_waiting: Callable[[int], bool] | None) -> None:
        """Let it take its next step, and wait until it has, or waits for the other."""
        if not self.is_alive() or not self._still.is_set():
            return
        self._still.clear()
        self._go.release()
        deadline = time.monotonic() + (_SECONDS if is_waiting else _A_WHILE)
        while not self._still.wait(0.002) and time.monotonic() < deadline:
            if is_waiting and self._pid is not None and is_waiting(self._pid):
                return

    def finish(self) -> None:
        """Stop it no more, and wait for its end."""
        self._free = True
        self._go.release(100)
        self.join(_SECONDS)
        assert not self.is_alive()


@contextmanager
def stops(*, writing: bool) -> Iterator[None]:
    """Let actors stop inside bcrypt, and before they write where that says anything."""

    def before(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        actor = getattr(_here, "actor", None)
        if actor is not None:
            pid = connection.connection.dbapi_connection.info.backend_pid
            actor.about_to_ask(statement, pid)

    check = bcrypt.checkpw

    def checkpw(*given: Any) -> bool:
        actor = getattr(_here, "actor", None)
        if actor is not None:
            actor.reach("hash")
        return check(*given)

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
    """Every order of the steps of two actors: so many of the first and so many of the second."""
    for places in itertools.combinations(range(first + second), first):
        yield tuple(0 if place in places else 1 for place in range(first + second))


def meet(
    database: Database,
    acts: Sequence[Act],
    order: Sequence[int],
    is_waiting: Callable[[int], bool] | None,
    *,
    slow: Sequence[bool],
) -> tuple[list[Any], list[str]]:
    """Do two acts at once in an order; gives both outcomes, and who ended first.

    `slow` tells which of them hash; `is_waiting` whether a connection waits for a lock.
    """
    ended: list[str] = []
    actors = [
        Actor(name, database, act, ended, slow=hashes)
        for name, act, hashes in zip("ab", acts, slow, strict=True)
    ]
    for actor in actors:
        actor.start()
        actor._still.wait(_SECONDS)  # noqa: SLF001 # its own module's
    for turn in order:
        actors[turn].let_go(is_waiting)
    threads = [threading.Thread(target=actor.finish) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS)
    assert not any(actor.is_alive() for actor in actors), [actor.steps for actor in actors]
    return [actor.outcome for actor in actors], ended
