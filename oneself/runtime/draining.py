"""A service that is about to end says so at /readyz, and goes on serving for a while (OP-01).

SIGTERM reaches the main process, and readiness is asked of a worker. A pipe tells them, out of
which nobody ever reads: so also a worker that takes the place of another later knows it. It need
not be forked, and may be started afresh. A file would tell them too, until somebody cleans up.
"""

from multiprocessing.connection import Connection

__all__ = ["hear_of_the_end", "is_leaving"]

_ears: list[Connection] = []


def hear_of_the_end(pipe: Connection) -> None:
    """Take the service of this worker for one that is about to end when something is in a pipe."""
    _ears[:] = [pipe]


def is_leaving() -> bool:
    """Whether this service is about to end."""
    return any(pipe.poll() for pipe in _ears)
