"""A service that is about to end says so at /readyz, and goes on serving for a while (OP-01).

SIGTERM reaches the main process, and readiness is asked of a worker. A pipe tells them, out of
which nobody ever reads: so also a worker that takes the place of another later knows it. It need
not be forked, and may be started afresh. A file would tell them too, until somebody cleans up.
"""

from multiprocessing.connection import Connection

__all__ = ["is_draining", "listen_for_shutdown"]

_ears: list[Connection] = []


def listen_for_shutdown(pipe: Connection) -> None:
    """Take the service of this worker for one that is about to end when something is in a pipe."""
    _ears[:] = [pipe]


def is_draining() -> bool:
    """Whether this service is about to end."""
    return any(pipe.poll() for pipe in _ears)
