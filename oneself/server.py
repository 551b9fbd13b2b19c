"""Serves the application with Granian, which brings workers, limits and an orderly end."""

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

from oneself.logging import configuration
from oneself.runtime.draining import listen_for_shutdown
from oneself.runtime.parent_watchdog import exit_with_parent
from oneself.settings import Settings

__all__ = ["application", "serve"]

_MOST_HEAD_BYTES = 65_536
_MOST_CONNECTIONS = 4096
_SWITCH_SECONDS = 0.0005
_ENDING = (signal.SIGTERM, signal.SIGINT)


def application() -> ASGIApp:
    """The application of one worker; Granian calls this in each of them."""
    # What is made now stays for good: to look through all of it for garbage, again and again while
    # it is made and in the midst of requests later, takes a tenth of a second each time.
    gc.disable()
    from oneself.app import create_app  # noqa: PLC0415 # the main process does not need it

    logging.config.dictConfig(configuration())
    # The event loop waits for this long at most until a thread that computes lets it run.
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(Settings())
    gc.freeze()
    gc.enable()
    return app


class _Server(Granian):  # type: ignore[misc,valid-type] # one of two classes, by the interpreter
    """Granian, which after SIGTERM goes on for a while, so that whoever sends requests looks away.

    It closes its listener with the signal. By then a balancer has to have seen that this replica is
    not ready, or the requests that it sends until its next look are refused (OP-01).
    """

    def drain_then_stop(self, seconds: int, tell: Callable[[], None]) -> None:
        """At SIGTERM tell, and end so many seconds later; at another signal end at once."""
        self._seconds, self._tell = seconds, tell
        self._leaving = False

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """End, now or soon. The first argument is the signal."""
        if self._leaving or not self._seconds or args[:1] != (signal.SIGTERM,):
            super().signal_handler_interrupt(*args, **kwargs)
            return
        self._leaving = True
        # Meanwhile the main thread goes on to replace workers that fail.
        later = threading.Timer(self._seconds, super().signal_handler_interrupt)
        later.daemon = True  # who asks twice does not wait for it
        later.start()
        # After that, and in vain if it must be: what fails in here would end no worker.
        with suppress(OSError):
            self._tell()


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int,
    target: str = "oneself.server:application",
    **more: Any,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight, for a bounded time.

    After SIGTERM it is not ready for as long as is set before that, and serves nevertheless.

    `target` names what each worker calls for its application.
    """
    os.register_at_fork(
        before=_hold_signals, after_in_parent=_let_signals_come, after_in_child=_hear_signals
    )
    server = _Server(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        loop=Loops.asyncio,
        websockets=False,
        # Connections that only send slowly are held until their time is up; past this number they
        # would keep everybody else waiting.
        backlog=_MOST_CONNECTIONS,
        backpressure=_MOST_CONNECTIONS,
        # Told to look for HTTP/2 as well, Granian waits for ever for the first bytes of a head.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.head_seconds * 1000), max_buffer_size=_MOST_HEAD_BYTES
        ),
        log_dictconfig=configuration(),
        respawn_failed_workers=True,
        workers_kill_timeout=settings.drain_seconds,
        **more,
    )
    heard, told = Pipe(duplex=False)
    server.drain_then_stop(settings.drain_delay_seconds, partial(told.send_bytes, b"leaving"))
    server.serve(target_loader=partial(_begin, os.getpid(), settings.drain_seconds, heard))


def _begin(main: int, drain_seconds: int, heard: Connection, target: str) -> ASGIApp:
    """The application of a worker, which is told what the main process knows."""
    exit_with_parent(main, drain_seconds=drain_seconds)
    listen_for_shutdown(heard)
    module, _, name = target.partition(":")
    app: ASGIApp = getattr(import_module(module), name)()
    return app


def _hold_signals() -> None:
    """Keep signals waiting while a worker is forked: until it has a handler, it would lose them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _let_signals_come() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _hear_signals() -> None:
    """Have a worker that is only just starting end at once.

    It is forked with Granian's handlers of the main process, which do nothing in it, until it has
    handlers of its own a second later: what stopped the service meanwhile waited for it in vain.
    """
    for each in _ENDING:
        signal.signal(each, signal.SIG_DFL)
    _let_signals_come()
