"""Draining: before it stops, a service reports not ready and keeps serving (OP-01).

SIGTERM reaches the main process, and a worker answers readiness requests. A pipe tells the workers:
nothing reads from it, so that a worker started later sees the message too, forked or not. A file
would work as well, but would need cleaning up.
"""

from multiprocessing.connection import Connection

_shutdown_pipes: list[Connection] = []


def listen_for_shutdown(pipe: Connection) -> None:
    """Watch a pipe: this worker's service is draining once there is a message in it."""
    _shutdown_pipes[:] = [pipe]


def is_draining() -> bool:
    """Return whether this service is about to stop."""
    return any(pipe.poll() for pipe in _shutdown_pipes)
