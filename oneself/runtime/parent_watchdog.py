"""A worker whose main process is gone ends too, as if it had been told to (OP-08).

Nobody is left who would end it, or put another in its place. It would keep the port from the next
start, and answer with the version and the keys of the one that is gone.
"""

import logging
import os
import signal
import threading
import time

__all__ = ["exit_with_parent"]

_log = logging.getLogger("oneself.runtime.parent_watchdog")

_SECONDS_BETWEEN_LOOKS = 0.25


def exit_with_parent(main: int, *, drain_seconds: float) -> None:
    """Have this process end once the process that has started it, `main`, is gone.

    It drains as at SIGTERM, and for as long as it would have had from the main process.
    """
    # A thread, which looks also while the event loop waits. Linux could send the signal by itself,
    # but does so when a thread is gone, and no other system does.
    threading.Thread(
        target=_outlive, args=(main, drain_seconds), name="orphans", daemon=True
    ).start()


def _outlive(main: int, drain_seconds: float) -> None:
    while os.getppid() == main:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _log.error("the main process is gone, and this worker ends")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
