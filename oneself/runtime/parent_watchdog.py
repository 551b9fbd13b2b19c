"""Parent watchdog: a worker stops when its main process is gone (OP-08).

Without a parent, the worker is neither stopped nor replaced by another process. It would keep the
port from the next start, and answer with the version and keys of the previous one.
"""

import logging
import os
import signal
import threading
import time

_log = logging.getLogger("oneself.runtime.parent_watchdog")

_POLL_SECONDS = 0.25


def exit_with_parent(parent_pid: int, *, drain_seconds: float) -> None:
    """Stop this process, as SIGTERM does, once its parent process is gone.

    It gets `drain_seconds` to drain, as the parent would give it, and is then killed.
    """
    # A thread works while the event loop is blocked. Linux can send the signal itself
    # (PR_SET_PDEATHSIG), but does so when a thread of the parent ends, and no other system can.
    threading.Thread(
        target=_stop_after_parent,
        args=(parent_pid, drain_seconds),
        name="parent-watchdog",
        daemon=True,
    ).start()


def _stop_after_parent(parent_pid: int, drain_seconds: float) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_POLL_SECONDS)
    _log.error("the main process is gone; stopping this worker")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
