"""Serving the API."""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import REFUSED, USAGE, Failure

if TYPE_CHECKING:
    from oneself.settings import Settings

__all__ = ["serve"]

_MAX_PORT = 65_535


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=_MAX_PORT, help="The port to listen on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Make the demo data first, and print curl lines to try it."),
    ] = False,
    allow_http: Annotated[
        bool,
        typer.Option(
            "--allow-http",
            help="Serve plain http off loopback: only behind a proxy that speaks https.",
        ),
    ] = False,
) -> None:
    """Serve the API until SIGTERM or Ctrl-C, then finish what is in flight and exit with 0.

    A fresh database is migrated and a missing key file is made. An older database is refused until
    `db upgrade`.
    """
    import logging.config  # help does without all of these

    from accounts.services.signing_keys import ensure_signing_key
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.document import load_document
    from oneself.logging import configuration
    from oneself.mail.factory import open_delivery
    from oneself.observability.tracing import TelemetryMissing, endpoint_of, require_library
    from oneself.runtime.jobs import run_act
    from oneself.runtime.policy_store import read_policies
    from oneself.server import serve as serve_until_stopped
    from oneself.settings_parsers import is_loopback
    from oneself.templating import Templates

    settings = load_settings()
    address = _free_address(host, port)
    if not (is_loopback(address) or allow_http or settings.allow_http):
        raise Failure(
            f"Plain http is not served on {host}, where others could read along. Listen on"
            " 127.0.0.1 or, behind a proxy that speaks https, give --allow-http.",
            status=USAGE,
        )
    _keep_apart(settings, address, port)
    logging.config.dictConfig(configuration())
    # Closed before it is served: a connection to SQLite must not be carried into a forked worker.
    # What the workers would fail at one after the other is found out here, and said once.
    read_policies(settings.policy_dir, load_document())
    Templates(settings.template_dir)
    try:
        if endpoint_of(settings) is not None:
            require_library()
    except TelemetryMissing as missing:
        raise Failure(str(missing), status=USAGE) from missing
    with open_database(settings, make=True) as database:
        run_act(database, ensure_signing_key)
        try:
            open_delivery(settings, database)
        except ValueError as problem:
            raise Failure(f"ONESELF_SMTP_URL {problem}.", status=USAGE) from problem
        if demo:
            from oneself.commands.demo import introduce

            introduce(database, settings, address=address, port=port)
    if "password_threads" not in settings.model_fields_set:
        # Hashing threads that are more than the processors keep the event loops waiting for them,
        # whatever their priority (LG-13). The workers read the environment for themselves.
        shared = max(1, (os.cpu_count() or 1) // workers)
        os.environ["ONESELF_PASSWORD_THREADS"] = str(min(settings.password_threads, shared))
    # What is imported is for good: a worker that does not look through it for garbage starts in a
    # tenth of a second less, and shares its pages.
    gc.freeze()
    with _measured(settings):
        serve_until_stopped(settings, host=address, port=port, workers=workers)


@contextmanager
def _measured(settings: "Settings") -> Iterator[None]:
    """Listen for who wants metrics, if anybody may."""
    if settings.metrics_listener is None:
        yield
        return
    from oneself.observability.metrics import listening  # most do without its library

    with ExitStack() as stack:
        try:
            stack.enter_context(listening(*settings.metrics_listener))
        except OSError as error:
            raise _no_metrics(settings, error) from error
        yield


def _keep_apart(settings: "Settings", address: str, port: int) -> None:
    """See that the service can listen beside who gives its metrics, before anything is done.

    Its workers would fail at it, one after the other.
    """
    if settings.metrics_listener is None:
        return
    status = REFUSED
    try:
        with _held(*settings.metrics_listener):
            status = USAGE
            with _held(address, port):
                pass
    except OSError as error:
        raise _no_metrics(settings, error, status=status) from error


def _no_metrics(settings: "Settings", error: OSError, *, status: int = REFUSED) -> Failure:
    return Failure(
        f"Cannot listen on ONESELF_METRICS_ADDRESS, {settings.metrics_address}: {error.strerror}."
        " Give another one.",
        status=status,
    )


def _free_address(host: str, port: int) -> str:
    """The address of a host name, if nobody listens there.

    Granian wants an address, and lets its sockets be shared (SO_REUSEPORT): beside another service
    it would start without a word, and each would get some of the requests.
    """
    try:
        with _held(host, port) as address:
            return address
    except OSError as error:
        raise Failure(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Give another --host or"
            " --port."
        ) from error


@contextmanager
def _held(host: str, port: int) -> Iterator[str]:
    """Listen on a port for a moment; gives the address of the host.

    Raises:
        OSError: Somebody listens there, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()
        yield probe.getsockname()[0]
