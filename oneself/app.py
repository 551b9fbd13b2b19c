"""Builds the application from the document, the handlers and the settings."""

import importlib
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import NotFound
from accounts.flows.idempotency import delete_expired_responses
from accounts.flows.oauth.token_introspection import delete_expired_jwts
from accounts.flows.password.password_reset import mail_requested_resets
from accounts.flows.sign_in.login_networks import delete_old_networks, mail_failed_logins
from accounts.jobs.erasure import find_erasures
from accounts.jobs.event_chain import find_chain_parts
from accounts.jobs.expiring_tokens import mail_expiring_tokens
from accounts.jobs.retention import find_expired_records, find_idle_sessions
from accounts.services.idle_sessions import RECORDING_DELAY
from accounts.services.mail.outbox import delete_dead_messages
from accounts.services.rate_limits import delete_old_attempts
from accounts.services.signing_keys import delete_retired_keys, ensure_signing_key
from oneself.database import Database
from oneself.document import load_document, resolve_aliases
from oneself.http.connexion_compat import ConnexionMiddleware, LifespanMiddleware, Resolver
from oneself.http.cors import CrossOrigin
from oneself.http.guard import Guard, Observer
from oneself.http.operations import Operations
from oneself.http.request.upload_limits import UploadLimits
from oneself.http.response.dialects import Dialects
from oneself.http.routing import Routing
from oneself.http.services import Services
from oneself.logging import write_waiting_lines
from oneself.mail.factory import open_delivery
from oneself.observability.access_log import log_request
from oneself.observability.tracing import Spans, trace_endpoint
from oneself.published_document import PublishedDocument, describe_passwords
from oneself.runtime.connections import close_idle
from oneself.runtime.credential_usage import UsageRecorder
from oneself.runtime.descriptors import reachable_connections
from oneself.runtime.jobs import all_repeated, repeated, run_alone, run_found_parts, run_in_parts
from oneself.runtime.kept_policies import KeptPolicies
from oneself.runtime.key_file import open_keyring
from oneself.runtime.policy_store import PolicyStore
from oneself.runtime.signing_keys import SigningKeys
from oneself.runtime.thread_pools import Pool, PoolLimits
from oneself.settings import Settings
from oneself.templating import Templates
from oneself.web.docs import Docs
from oneself.web.error_pages import ErrorPages
from oneself.web.frame import PageFrame
from oneself.web.pages import Pages, PasswordRules

if TYPE_CHECKING:
    from oneself.observability.metrics import Metrics

_HOUR = 3600.0

#: One more than the jobs that may take minutes.
_JOB_THREADS = 4
#: A message that was sent and not marked would be sent again.
_MAIL_STOP_SECONDS = 15.0
_NO_LIMITS = PoolLimits(math.inf, math.inf, math.inf)
#: A client is answered within ten seconds. A hash takes longer than that on a busy machine.
_LIMITS = {
    "database": PoolLimits(wait=1.0, total=9.0, slow=1.0),
    "password": PoolLimits(wait=9.0, total=30.0, slow=30.0),
    "image": PoolLimits(wait=9.0, total=30.0, slow=30.0),
    "jobs": _NO_LIMITS,
    "mail": _NO_LIMITS,
}

#: Work that a pool repeats, and the seconds between two runs.
_Repeated = tuple[Callable[[], object], float]

# Events are nearly always committed within a minute. Searching the last hour for the others every
# ten seconds would take too long where there are thousands of events a second.
_find_recent_chain_parts = partial(find_chain_parts, latest=timedelta(minutes=1))

#: Background jobs on the database: the runner, the name of the lock, the act, seconds between runs.
#: The names stay those of release 0.1: after a rename, two replicas could run a job at once.
JOBS: tuple[tuple[Callable[..., object], str, Callable[..., object], float], ...] = (
    (run_alone, "accounts.password_resets.mail_requested_resets", mail_requested_resets, 1.0),
    (run_found_parts, "accounts.event_chain.chain_events", _find_recent_chain_parts, 10.0),
    (run_found_parts, "accounts.event_chain.chain_events", find_chain_parts, 300.0),
    (run_alone, "accounts.oauth_tokens.forget_expired_jwts", delete_expired_jwts, _HOUR),
    (run_alone, "accounts.throttling.forget_old_attempts", delete_old_attempts, _HOUR),
    (run_alone, "accounts.signing_keys.forget_retired_keys", delete_retired_keys, _HOUR),
    (run_alone, "accounts.outbox.forget_dead_letters", delete_dead_messages, _HOUR),
    (run_alone, "accounts.idempotency.forget_answers", delete_expired_responses, _HOUR),
    (run_found_parts, "accounts.retention.revoke_idle_sessions", find_idle_sessions, _HOUR),
    (run_in_parts, "accounts.login_networks.mail_failed_logins", mail_failed_logins, 600.0),
    (run_alone, "accounts.login_networks.delete_old_networks", delete_old_networks, _HOUR),
    (run_in_parts, "accounts.expiring_tokens.mail_expiring_tokens", mail_expiring_tokens, 600.0),
    (run_found_parts, "accounts.retention.forget_what_ended", find_expired_records, _HOUR),
    (run_found_parts, "accounts.erasure.erase_deleted_accounts", find_erasures, 600.0),
)


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    document: Mapping[str, Any] | None = None,
    policies: PolicyStore | None = None,
) -> ASGIApp:
    """Build the application: the guard around the pages around Connexion with the operations.

    Arguments replace the parts that would be built from the settings.

    Raises:
        UnknownRootKey: The secret key is not the one that the database was created with.
    """
    document = document or load_document()
    policies = policies or PolicyStore(settings.policy_dir, document, KeptPolicies(settings))
    database = database or Database(
        settings.location,
        keys=open_keyring(settings, make=False),
        limits=settings.limits,
        connections=settings.database_threads,
    )
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
    policies.keep()
    signing = SigningKeys(database)
    usage = UsageRecorder()
    metrics = _metrics(settings)
    endpoint = trace_endpoint(settings)
    spans = None if endpoint is None else Spans(endpoint)
    observers: list[Observer] = [log_request]
    if metrics is not None:
        observers.append(metrics.count_request)
    if spans is not None:
        observers.append(spans.record)
    pools = _pools(settings, metrics)
    guards: list[Guard] = []  # the outermost, which is made last
    limit = reachable_connections(settings.database_threads)
    connexion = ConnexionMiddleware(
        _raise_not_found,
        middlewares=[LifespanMiddleware, Routing, Operations],
        lifespan=partial(
            _lifespan,
            settings=settings,
            database=database,
            jobs=(
                *((partial(run, database, lock, act), seconds) for run, lock, act, seconds in JOBS),
                (database.maintain, 5.0),
                (partial(usage.write, database), RECORDING_DELAY.total_seconds() / 2),
                (signing.refresh, 15.0),
                (policies.reload, 2.0),
                (lambda: close_idle(guards[0].is_busy, limit=limit), 1.0),
                *_measurements(metrics, database),
            ),
            pools=pools,
            spans=spans,
        ),
        resolver=Resolver(find_handler),
        pythonic_params=True,
    )
    described = describe_passwords(
        document, min_length=settings.password_min_length, has_classes=settings.password_classes
    )
    services = Services(
        document=PublishedDocument(described, url=settings.public_origin, clock=database.clock),
        database=database,
        usage=usage,
        signing=signing,
        policies=policies,
        pools=pools,
        origins=frozenset({settings.public_origin}),
        issuer=settings.public_origin,
        proxies=settings.proxies,
        api_key_brand=settings.api_key_brand,
        body_bytes=settings.body_bytes,
        upload_limits=UploadLimits(),
        picture_bytes=settings.picture_bytes,
        body_seconds=settings.body_seconds,
        always_recent_authentication=settings.recent_authentication == "always",
        check_responses=settings.validate_responses,
    )
    connexion.add_api(resolve_aliases(document), base_path="", services=services)
    frame = PageFrame(
        Templates(settings.template_dir, brand=settings.brand), public_origin=settings.public_origin
    )
    origins = settings.allowed_origins
    docs = Docs(
        CrossOrigin(connexion, document, origins=origins) if origins else connexion,
        described,
        frame=frame,
        clock=database.clock,
        reference=settings.docs,
    )
    pages = Pages(
        docs,
        database=database,
        decide=policies.decide,
        pools=pools,
        frame=frame,
        password_rules=PasswordRules(settings.password_min_length, settings.password_classes),
        proxies=settings.proxies,
        body_seconds=settings.body_seconds,
    )
    dialects = Dialects(document)
    guard = Guard(
        pages,
        dialects=dialects,
        hosts=settings.known_hosts,
        clock=partial(datetime.now, UTC),
        issuer=settings.public_origin,
        present=ErrorPages(dialects, frame, reference=settings.docs),
        observers=observers,
        hsts_subdomains=settings.hsts_subdomains,
    )
    guards.append(guard)
    return guard


def _metrics(settings: Settings) -> "Metrics | None":
    if settings.metrics_listener is None:
        return None
    from oneself.observability.metrics import Metrics  # noqa: PLC0415 # optional: few deployments have the library

    return Metrics()


def _pools(settings: Settings, metrics: "Metrics | None") -> Mapping[str, Pool]:
    sizes = {
        "database": (settings.database_threads, 1024),
        "password": (settings.password_threads, settings.password_queue),
        # A database that hangs, or a job that takes minutes, blocks these threads and no request.
        "jobs": (_JOB_THREADS, 64),
        # A mail server that hangs blocks this thread, and no request.
        "mail": (1, 1),
        "image": (settings.image_threads, settings.image_queue),
    }
    return {
        name: Pool(
            name,
            threads=threads,
            queue=queue,
            readers=1 if name == "database" else 0,
            low_priority=name in {"password", "image"},
            limits=_LIMITS[name],
            observer=None if metrics is None else metrics.observe_pool(name, threads),
        )
        for name, (threads, queue) in sizes.items()
    }


def _measurements(metrics: "Metrics | None", database: Database) -> Sequence[_Repeated]:
    """Return the job that measures the outbox, if there are metrics; every worker runs it."""
    if metrics is None:
        return ()

    def measure() -> None:
        with database.transaction(writing=False) as session:
            metrics.observe_outbox(session)

    return ((partial(database.attempt, measure), 5.0),)


def find_handler(operation_id: str) -> Callable[..., Any]:
    """Return the handler of an operation: `ipto.getCurrentUser` is `ipto.get_current_user`.

    Raises:
        ImportError, AttributeError: There is none, so that the service does not start.
    """
    tag, _, name = operation_id.partition(".")
    module = importlib.import_module(f"handlers.{tag}")
    handler: Callable[..., Any] = getattr(module, re.sub(r"(?=[A-Z])", "_", name).lower())
    return handler


async def _raise_not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Reject requests after the operations, which answer every request that routing found."""
    raise NotFound


@asynccontextmanager
async def _lifespan(
    _app: object,
    *,
    settings: Settings,
    database: Database,
    jobs: Sequence[_Repeated],
    pools: Mapping[str, Pool],
    spans: Spans | None,
) -> AsyncIterator[None]:
    """Run the background jobs; at shutdown let them finish and close the database."""
    delivery = open_delivery(settings, database)
    async with AsyncExitStack() as stack:
        # Left in reverse order.
        stack.callback(write_waiting_lines)
        stack.callback(database.close)
        for pool in pools.values():
            stack.callback(pool.close)
        # A mail server that hangs may take longer than the process has left, so mail delivery ends
        # after everything else has been written.
        await stack.enter_async_context(
            repeated(delivery.deliver_pending, 1.0, pools["mail"], stop_seconds=_MAIL_STOP_SECONDS)
        )
        stack.callback(write_waiting_lines)
        if spans is not None:
            stack.callback(spans.close)
        await stack.enter_async_context(all_repeated(jobs, pools["jobs"]))
        # Begins no further mail from the start of the shutdown.
        stack.callback(delivery.stop)
        yield
