"""`serve`: serve the API."""

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import REFUSED, USAGE, Failure
from oneself.commands.mail import open_delivery

if TYPE_CHECKING:
    from oneself.database import Database
    from oneself.settings import Settings

_MAX_PORT = 65_535
#: The rate limits that the conformance tests would reach; they compare the other ones.
_CONFORMANCE_LIMITS = {
    f"ONESELF_THROTTLE_{name}": "100000/1" for name in ("ACCOUNT", "SIGNUP", "SOURCE", "WRITE")
}
#: The names of addresses that are no good ones in a URL: the default name, and all addresses.
_NAMES = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost"}  # noqa: S104 # compared, not listened on


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=_MAX_PORT, help="The port to listen on.")] = 8080,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="The number of worker processes.")
    ] = 1,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Create demo users first, and print how to log in as one."),
    ] = False,
    credentials: Annotated[
        Path | None,
        typer.Option(
            "--credentials",
            metavar="FILE",
            dir_okay=False,
            help="With --demo: write the credentials of the demo users to this file, for `prove`.",
        ),
    ] = None,
    for_conformance: Annotated[
        bool,
        typer.Option(
            "--for-conformance",
            help="Raise the rate limits that the conformance tests reach. Not for real users.",
        ),
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
    from oneself.commands.start_warnings import report_doubtful_settings
    from oneself.document import load_document
    from oneself.logging import choose_format, configuration
    from oneself.observability.tracing import TelemetryMissing, require_library, trace_endpoint
    from oneself.runtime.jobs import run_act
    from oneself.runtime.kept_policies import KeptPolicies
    from oneself.runtime.policy_store import PolicyStore
    from oneself.server import serve as serve_until_stopped
    from oneself.settings_parsers import is_loopback
    from oneself.templating import Templates

    # The workers read the environment themselves.
    os.environ |= _CONFORMANCE_LIMITS if for_conformance else {}
    settings = load_settings()
    address = _require_free_address(host, port)
    if not (is_loopback(address) or allow_http or (settings.allow_http and not demo)):
        raise Failure(
            f"Plain http is not served on {host}, since others could read it in transit. Listen on"
            " 127.0.0.1 or, behind an https reverse proxy, give --allow-http.",
            status=USAGE,
        )
    if credentials and not demo:
        raise Failure("--credentials needs --demo, which creates them.", status=USAGE)
    _require_free_metrics_address(settings, address, port)
    if "public_url" not in settings.model_fields_set:
        # The workers read the environment themselves, and reject pages of another origin.
        os.environ["ONESELF_PUBLIC_URL"] = _origin(address, port)
        settings = load_settings()
    choose_format(settings.log_format)
    logging.config.dictConfig(configuration())
    report_doubtful_settings(
        settings, address=address, port=port, demo=demo, for_conformance=for_conformance
    )
    # Errors that every worker would hit are reported here, once.
    PolicyStore(settings.policy_dir, load_document(), KeptPolicies(settings))
    Templates(settings.template_dir, brand=settings.brand)
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
        if for_conformance:
            _require_demo_users(database)
        if demo:
            _create_demo(database, settings, credentials)
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


def _create_demo(database: "Database", settings: "Settings", credentials: Path | None) -> None:
    from oneself.commands.demo import create_demo, has_demo, print_banner, write_accounts
    from oneself.commands.demo_data import has_only_real_users

    with database.transaction(writing=False) as session:
        if not has_demo(settings) and has_only_real_users(session):
            raise Failure(
                "The database has users, and none of the demo. Set ONESELF_DATA_DIR to another"
                " folder for the demo, or start without --demo."
            )
    accounts = create_demo(database, settings)
    if credentials:
        write_accounts(credentials, accounts)
    print_banner(accounts["base"], settings)


def _require_demo_users(database: "Database") -> None:
    """Fail on a database of real users, whose passwords the raised limits would not protect."""
    from oneself.commands.demo_data import has_only_real_users

    with database.transaction(writing=False) as session:
        if has_only_real_users(session):
            raise Failure(
                "The database has users, and none of the demo: --for-conformance is for test"
                " deployments. Set ONESELF_DATA_DIR to another folder, or start without it."
            )


def _origin(address: str, port: int) -> str:
    """Return the public URL of a service that is reached at the address it listens on."""
    host = _NAMES.get(address, f"[{address}]" if ":" in address else address)
    return f"http://{host}:{port}"


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
