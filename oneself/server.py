"""The HTTP server: Granian, with worker processes, limits and graceful shutdown."""

import gc
import logging.config
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from starlette.types import ASGIApp

from oneself.logging import choose_format, configuration
from oneself.runtime.descriptors import MAX_CONNECTIONS, raise_limit
from oneself.runtime.draining import listen_for_shutdown
from oneself.runtime.parent_watchdog import exit_with_parent
from oneself.settings import Settings

_MAX_HEAD_BYTES = 65_536
_SWITCH_SECONDS = 0.0005
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def application() -> ASGIApp:
    """Create the application of one worker; Granian calls this in each of them."""
    # Objects made now live as long as the process. Each garbage collection over all of them, here
    # and during requests later, takes a tenth of a second.
    gc.disable()
    from oneself.app import create_app  # noqa: PLC0415 # the main process does not need it

    settings = Settings()
    choose_format(settings.log_format)
    logging.config.dictConfig(configuration())
    # The event loop waits this long at most for a computing thread to let it run.
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings)
    gc.freeze()
    gc.enable()
    return app


class _Server(Granian):  # type: ignore[misc,valid-type] # one of two classes, by the interpreter
    """Granian with a drain delay after SIGTERM.

    Granian closes its listener at the signal. A load balancer must have noticed by then that this
    replica is not ready, or the requests that it still sends are refused (OP-01).
    """

    def drain_then_stop(self, seconds: int, notify_workers: Callable[[], None]) -> None:
        """Set what SIGTERM does: call `notify_workers`, and stop `seconds` later.

        Any other signal, or a second one, stops at once.
        """
        self._seconds, self._notify_workers = seconds, notify_workers
        self._is_draining = False

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """Stop, now or after the drain delay. The first argument is the signal."""
        if self._is_draining or not self._seconds or args[:1] != (signal.SIGTERM,):
            super().signal_handler_interrupt(*args, **kwargs)
            return
        self._is_draining = True
        # Until then the main thread goes on to replace failed workers.
        timer = threading.Timer(self._seconds, super().signal_handler_interrupt)
        timer.daemon = True  # a second signal does not wait for it
        timer.start()
        # Last, and errors are ignored: an exception here would leave the workers running.
        with suppress(OSError):
            self._notify_workers()


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int,
    target: str = "oneself.server:application",
    **options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish requests in progress, for a bounded time.

    With a drain delay, SIGTERM first makes the service report not ready while it keeps serving.
    `target` names the function that each worker calls for its application.
    """
    os.register_at_fork(
        # Signals wait during a fork: until the worker has a handler, it would lose them.
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _STOP_SIGNALS),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOP_SIGNALS),
        after_in_child=_restore_signals,
    )
    server = _Server(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.asyncio,
        websockets=False,
        # Slow connections are kept until their timeout; past this number, new ones have to wait.
        backlog=MAX_CONNECTIONS,
        backpressure=raise_limit(settings.database_threads),
        # With HTTP/2 detection, Granian waits without limit for the first bytes of a head.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.head_seconds * 1000), max_buffer_size=_MAX_HEAD_BYTES
        ),
        log_dictconfig=configuration(),
        respawn_failed_workers=True,
        workers_kill_timeout=settings.drain_seconds,
        **options,
    )
    receiver, sender = Pipe(duplex=False)
    server.drain_then_stop(settings.drain_delay_seconds, partial(sender.send_bytes, b"draining"))
    server.serve(
        target_loader=partial(_start_worker, os.getpid(), settings.drain_seconds, receiver)
    )


def _start_worker(
    parent_pid: int, drain_seconds: int, shutdown_pipe: Connection, target: str
) -> ASGIApp:
    """Create the application of a worker, linked to the main process."""
    exit_with_parent(parent_pid, drain_seconds=drain_seconds)
    listen_for_shutdown(shutdown_pipe)
    module, _, name = target.partition(":")
    app: ASGIApp = getattr(import_module(module), name)()
    return app


def _restore_signals() -> None:
    """Let a starting worker stop at once.

    It is forked with Granian's handlers of the main process, which do nothing in a worker. Its own
    are set a second later: without this, a stop in that second would not end the worker.
    """
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
