"""The outermost middleware: request id, header checks, last-resort error handler."""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import NotFound
from accounts.services.attempts import RefusedAttempt
from handlers.dialect import ResponseMeta
from oneself.host_names import read_host
from oneself.http.request.bodies import headers_of
from oneself.http.request.credentials import sent_bearer
from oneself.http.request.errors import MalformedRequest, UnknownHost
from oneself.http.request.trace_context import Parent, parent_of
from oneself.http.response.dialects import Dialects
from oneself.http.response.error_handler import refusal_of
from oneself.http.response.responses import (
    COMMON_HEADERS,
    Answer,
    answer_of_refusal,
    common_headers,
    send_answer,
)

_MOST_HEAD_BYTES = 65_536
_MOST_PATH_CHARACTERS = 2048
_MOST_HOSTS_LOGGED = 8
#: Paths that respond to any host: a probe often names an IP address.
_PROBES = frozenset({"/healthz", "/readyz"})
#: A host that may be logged. No token matches: those of this service contain an underscore.
_LOGGABLE_HOST = re.compile(r"[a-z0-9.:\[\]-]{1,64}")
_SINGLE = (
    (b"authorization", "Authorization"),
    (b"content-type", "Content-Type"),
    (b"content-length", "Content-Length"),
    (b"transfer-encoding", "Transfer-Encoding"),
    (b"x-tenant-id", "X-Tenant-ID"),
    (b"idempotency-key", "Idempotency-Key"),
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RequestContext:
    """The context of one request, which the access log, metrics and traces read at its end."""

    request_id: str
    started: float
    operation_id: str | None = None
    credential_kind: str | None = None
    status: int = 0
    code: str | None = None
    #: The caller's span, if the request names one.
    parent: Parent | None = None
    #: Headers that the operation adds to every response, refusals included.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: A refused attempt at a password or a client secret, for the log only.
    attempt: RefusedAttempt | None = None
    #: The reason for a 503 or 504, for the log only.
    reason: str | None = None
    #: Headers of every answer.
    common_headers: tuple[tuple[bytes, bytes], ...] = COMMON_HEADERS

    def send(self, send: Send, answer: Answer) -> Awaitable[None]:
        """Send the answer, and note its status and code."""
        self.status, self.code = answer.status, answer.code
        if self.headers:
            answer = answer._replace(headers={**answer.headers, **self.headers})
        return send_answer(send, answer, self.request_id, self.common_headers)


class Request(NamedTuple):
    """One request as read by the event loop; `body` is empty until it is read."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    body: bytes
    request_context: RequestContext


#: Returns the answer to a refused request as its client prefers it.
Presenter = Callable[[Scope, Answer], Answer]

#: Called when a request is over, with its method, its context and its duration in seconds.
Observer = Callable[[str, RequestContext, float], None]


class Guard:
    """ASGI middleware that passes only unambiguous requests to the application.

    A head that a proxy could read differently is rejected rather than interpreted (HT-09, HT-12).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialects: Dialects,
        hosts: frozenset[str],
        clock: Callable[[], datetime],
        issuer: str,
        present: Presenter = lambda _scope, answer: answer,
        observers: Sequence[Observer] = (),
        hsts_subdomains: bool = False,
    ) -> None:
        """Wrap an application; `observers` are called in their order when a request is over."""
        self._peers: set[tuple[str, int] | None] = set()
        self._app = app
        self._dialects = dialects
        self._hosts = hosts
        self._clock = clock
        self._issuer = issuer
        self._present = present
        self._observers = observers
        self._common_headers = common_headers(hsts_subdomains=hsts_subdomains)
        self._logged_hosts: set[str | None] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on the server's lifespan events."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_context = RequestContext(
            _new_request_id(), time.perf_counter(), common_headers=self._common_headers
        )
        scope["oneself.request_context"] = request_context
        peer = scope.get("client")
        if peer is not None:
            self._peers.add(peer)
        headers = headers_of(scope)
        if b"traceparent" in headers:
            request_context.parent = parent_of(scope["headers"])
        try:
            self._check_head(scope, headers)
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 # the last handler: no exception leaves it (OP-05)
            refusal = refusal_of(error)
            request_context.reason = getattr(refusal, "reason", None)
            answer = answer_of_refusal(
                refusal,
                self._dialects.owner(scope["path"]),
                ResponseMeta(request_context.request_id, self._clock(), self._issuer),
                bearer_was_sent=sent_bearer(scope["headers"]),
            )
            # Its traceback refers to this frame and so to Granian's end of the connection, which
            # would otherwise stay open until the next garbage collection.
            del refusal
            if not request_context.status:
                await request_context.send(send, self._present(scope, answer))
        finally:
            self._peers.discard(peer)
            seconds = time.perf_counter() - request_context.started
            for observe in self._observers:
                observe(scope["method"], request_context, seconds)

    def is_busy(self, peer: tuple[str, int]) -> bool:
        """Tell whether a request of a client's address and port is in progress."""
        return peer in self._peers

    def _check_head(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        # Granian limits its buffer, which a single read can exceed.
        size = sum(map(len, chain.from_iterable(scope["headers"])))
        if size + len(scope["query_string"]) > _MOST_HEAD_BYTES:
            raise MalformedRequest("the head has more than 64 KiB")
        repeated = len(headers) < len(scope["headers"])
        names = [name for name, _ in scope["headers"]] if repeated else ()
        if b"host" not in headers or names.count(b"host") > 1:
            raise MalformedRequest("exactly one Host is needed")
        host = read_host(headers[b"host"])
        if host not in self._hosts:
            self._check_other_host(scope, host)
        for name, text in _SINGLE if repeated else ():
            if names.count(name) > 1:
                raise MalformedRequest(f"more than one {text} header")
        # hyper reads chunks of chunks as chunks; a proxy may not.
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise MalformedRequest("a Transfer-Encoding other than chunked")
        # No path of the document needs escapes, and routers interpret them differently.
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if b"%" in raw_path or len(raw_path) > _MOST_PATH_CHARACTERS:
            raise NotFound

    def _check_other_host(self, scope: Scope, host: str | None) -> None:
        """Reject a host that is malformed (None) or unknown, except that probes may name any."""
        is_probe = scope["path"] in _PROBES
        if host is None:
            # A load balancer's probe in HTTP/1.0 has no Host. Granian calls that version "1".
            if is_probe and scope["http_version"] in {"1", "1.0"}:
                return
            raise MalformedRequest("the Host is missing or malformed")
        if not is_probe:
            self._log_unknown_host(host)
            raise UnknownHost

    def _log_unknown_host(self, host: str) -> None:
        """Log each unknown host once, and a few of them only: they are chosen by clients."""
        shown = host if _LOGGABLE_HOST.fullmatch(host) else None
        if len(self._logged_hosts) < _MOST_HOSTS_LOGGED and shown not in self._logged_hosts:
            self._logged_hosts.add(shown)
            _log.warning(
                "rejected an unknown host; if it is yours, add it to ONESELF_EXTRA_HOSTS",
                extra={"host": shown},
            )


def _new_request_id() -> str:
    """Return `req_` and 12 hex digits; not a secret, so not from the system's generator."""
    return f"req_{random.getrandbits(48):012x}"
