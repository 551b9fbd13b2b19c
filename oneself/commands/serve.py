"""`serve`: serve the API."""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import REFUSED, USAGE, Failure
from oneself.commands.mail import open_delivery

if TYPE_CHECKING:
    from oneself.settings import Settings

_MAX_PORT = 65_535


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=_MAX_PORT, help="The port to listen on.")] = 8080,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="The number of worker processes.")
    ] = 1,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Create demo data first, and print curl commands to try it."),
    ] = False,
    allow_http: Annotated[
        bool,
        typer.Option(
            "--allow-http",
            help="Serve plain http to other machines. Use it only behind an https reverse proxy.",
        ),
    ] = False,
) -> None:
    """Serve the API until SIGTERM or Ctrl-C, then finish open requests and exit with 0.

    A new database is created and migrated, and so is a missing key file. An older database is
    rejected until you run `db upgrade`.
    """
    import logging.config  # not needed for --help

    from accounts.services.signing_keys import ensure_signing_key
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.commands.doctor.server import report_lost_settings
    from oneself.commands.doctor.unsafe_settings import lacks_trusted_proxies
    from oneself.document import load_document
    from oneself.logging import configuration
    from oneself.observability.tracing import TelemetryMissing, require_library, trace_endpoint
    from oneself.runtime.jobs import run_act
    from oneself.runtime.policy_store import read_policies
    from oneself.server import serve as serve_until_stopped
    from oneself.settings_parsers import is_loopback
    from oneself.templating import Templates

    settings = load_settings()
    address = _require_free_address(host, port)
    if not (is_loopback(address) or allow_http or settings.allow_http):
        raise Failure(
            f"Plain http is not served on {host}, since others could read it in transit. Listen on"
            " 127.0.0.1 or, behind an https reverse proxy, give --allow-http.",
            status=USAGE,
        )
    _require_free_metrics_address(settings, address, port)
    logging.config.dictConfig(configuration())
    if lacks_trusted_proxies(settings):
        logging.getLogger(__name__).error(
            "ONESELF_TRUSTED_PROXIES is empty and ONESELF_PUBLIC_URL is https: all users share one"
            " client address and its rate limits. Set it to the addresses that the reverse proxy"
            " connects from."
        )
    # Errors that every worker would hit are reported here, once.
    read_policies(settings.policy_dir, load_document())
    Templates(settings.template_dir)
    try:
        if trace_endpoint(settings) is not None:
            require_library()
    except TelemetryMissing as missing:
        raise Failure(str(missing), status=USAGE) from missing
    report_lost_settings(settings.location)
    # Closed before serving: a SQLite connection must not be carried into a forked worker.
    with open_database(settings, make=True) as database:
        run_act(database, ensure_signing_key)
        open_delivery(settings, database)
        if demo:
            from oneself.commands.demo import print_demo

            print_demo(database, settings, address=address, port=port)
    if "password_threads" not in settings.model_fields_set:
        # More hashing threads than processors would delay the event loops, even at low priority
        # (LG-13). The workers read the environment themselves.
        shared = max(1, (os.cpu_count() or 1) // workers)
        os.environ["ONESELF_PASSWORD_THREADS"] = str(min(settings.password_threads, shared))
    # Imported modules are never freed. Excluding them from garbage collection lets a worker start a
    # tenth of a second faster, and share the memory.
    gc.freeze()
    with _metrics_served(settings):
        serve_until_stopped(settings, host=address, port=port, workers=workers)


@contextmanager
def _metrics_served(settings: "Settings") -> Iterator[None]:
    """Serve the metrics, if ONESELF_METRICS_ADDRESS is set."""
    if settings.metrics_listener is None:
        yield
        return
    from oneself.observability.metrics import listening  # most deployments do not have its library

    with ExitStack() as stack:
        try:
            host, port = settings.metrics_listener
            stack.enter_context(listening(host, port, hosts=settings.known_hosts | {host}))
        except OSError as error:
            raise _metrics_failure(settings, error) from error
        yield


def _require_free_metrics_address(settings: "Settings", address: str, port: int) -> None:
    """Check early that the metrics and the service can listen on their two addresses.

    Otherwise each worker would fail at it.
    """
    if settings.metrics_listener is None:
        return
    status = REFUSED
    try:
        with _listening(*settings.metrics_listener):
            status = USAGE
            with _listening(address, port):
                pass
    except OSError as error:
        raise _metrics_failure(settings, error, status=status) from error


def _metrics_failure(settings: "Settings", error: OSError, *, status: int = REFUSED) -> Failure:
    return Failure(
        f"Cannot listen on ONESELF_METRICS_ADDRESS, {settings.metrics_address}: {error.strerror}."
        " Set another one.",
        status=status,
    )


def _require_free_address(host: str, port: int) -> str:
    """Resolve a host name to an address, and check that the port is free.

    Granian takes no host names, and shares its sockets (SO_REUSEPORT): next to another service it
    would start without an error, and each would get some of the requests.
    """
    try:
        with _listening(host, port) as address:
            return address
    except OSError as error:
        raise Failure(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Give another --host or"
            " --port."
        ) from error


@contextmanager
def _listening(host: str, port: int) -> Iterator[str]:
    """Listen on a port until the end of the block, and yield the address of the host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()
        yield probe.getsockname()[0]
