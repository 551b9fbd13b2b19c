"""The commit gate: a request is committed, or answered with 503, never both.

The event loop ends the wait for a thread that takes too long. It must not say that nothing was
done while the thread commits, and the thread must not commit after it was said.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum, auto

from accounts.errors import OutcomeUnknown, Unavailable


class _State(Enum):
    OPEN = auto()
    COMMITTING = auto()
    CLOSED = auto()


class CommitGate:
    """Decides, once, between a thread that wants to commit and the end of the wait for it."""

    def __init__(self) -> None:
        """Start open: nothing is committed."""
        self._lock = threading.Lock()
        self._state = _State.OPEN

    def close(self) -> bool:
        """Forbid all further commits; return whether nothing was, or is being, committed."""
        with self._lock:
            if self._state is _State.OPEN:
                self._state = _State.CLOSED
            return self._state is _State.CLOSED

    @property
    def is_committing(self) -> bool:
        """True from the last commit on, whether it has ended or not."""
        return self._state is _State.COMMITTING

    def require_open(self) -> None:
        """Check that the work is still waited for.

        Raises:
            Unavailable: It is not, and must change nothing.
        """
        if self._state is _State.CLOSED:
            raise Unavailable

    @contextmanager
    def committing(self, *, is_last: bool) -> Iterator[None]:
        """Commit inside this block.

        A commit before slow work, which is not the last, leaves the gate open again: what it writes
        counts an attempt, and is not the change that was asked for.

        Raises:
            Unavailable: The wait was ended; the transaction is to be rolled back.
        """
        with self._lock:
            self.require_open()
            before, self._state = self._state, _State.COMMITTING
        may_be_done = False
        try:
            yield
            may_be_done = is_last
        except OutcomeUnknown:
            may_be_done = is_last
            raise
        finally:
            if not may_be_done:
                with self._lock:
                    self._state = before


#: The gate of the work that the current thread does for a pool.
current_gate: ContextVar[CommitGate | None] = ContextVar("current_gate", default=None)


def require_open_gate() -> None:
    """Check that the work of this thread, if a pool does it, is still waited for.

    Raises:
        Unavailable: It is not.
    """
    gate = current_gate.get()
    if gate is not None:
        gate.require_open()


def commit_gate(*, is_last: bool) -> AbstractContextManager[None]:
    """Return the context in which this thread may commit; see `CommitGate.committing`."""
    gate = current_gate.get()
    return nullcontext() if gate is None else gate.committing(is_last=is_last)
