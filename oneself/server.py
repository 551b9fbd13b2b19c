"""Serves the application with Granian, which brings workers, limits and an orderly end."""

import gc
import logging.config
import os
import signal
import sys
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from starlette.types import ASGIApp

from oneself.logs import configuration
from oneself.settings import Settings

__all__ = ["application", "serve"]

_MOST_HEAD_BYTES = 65_536
_MOST_CONNECTIONS = 4096
_SWITCH_SECONDS = 0.0005


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

    `target` names what each worker calls for its application.
    """
    os.register_at_fork(after_in_child=_hear_signals)
    Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        factory=True,
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
    ).serve()


def _hear_signals() -> None:
    """Have a worker that is only just starting end at once.

    It is forked with Granian's handlers of the main process, which do nothing in it, until it has
    handlers of its own a second later: what stopped the service meanwhile waited for it in vain.
    """
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
