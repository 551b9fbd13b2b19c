"""The first to see a request and the last to catch what it causes."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import NotFound
from handlers.dialect import ResponseMeta
from oneself.http.request.bodies import headers_of
from oneself.http.request.credentials import sent_bearer
from oneself.http.request.errors import MalformedRequest, UnknownHost
from oneself.http.request.trace_context import Parent, parent_of
from oneself.http.response.dialects import Dialects
from oneself.http.response.error_handler import refusal_of
from oneself.http.response.responses import Answer, answer_of_refusal, send_answer

__all__ = ["Guard", "Observer", "Request", "RequestContext"]

_MOST_HEAD_BYTES = 65_536
_MOST_PATH_CHARACTERS = 2048
_MOST_HOSTS_KEPT = 64
#: A host with or without a port, as RFC 3986 section 3.2.2 has it; nothing may follow.
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_SINGLE = (
    (b"authorization", "Authorization"),
    (b"content-type", "Content-Type"),
    (b"content-length", "Content-Length"),
    (b"transfer-encoding", "Transfer-Encoding"),
    (b"x-tenant-id", "X-Tenant-ID"),
    (b"idempotency-key", "Idempotency-Key"),
)


@dataclass(slots=True)
class RequestContext:
    """One request on its way through the house, with what is told of it afterwards."""

    request_id: str
    started: float
    operation_id: str | None = None
    credential_kind: str | None = None
    status: int = 0
    code: str | None = None
    #: The span of whoever asked, if they have told it.
    parent: Parent | None = None
    #: What the operation adds to every answer, also to one that is given on the way to it.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Why the service cannot answer, for the log alone.
    reason: str | None = None

    def send(self, send: Send, answer: Answer) -> Awaitable[None]:
        """Send the answer, and remember it for who is told of it."""
        self.status, self.code = answer.status, answer.code
        if self.headers:
            answer = answer._replace(headers={**answer.headers, **self.headers})
        return send_answer(send, answer, self.request_id)


class Request(NamedTuple):
    """One request as far as the event loop reads it."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    body: bytes
    request_context: RequestContext


#: Is told of a request that is over: its method, what it was, and how many seconds it took.
Observer = Callable[[str, RequestContext, float], None]


class Guard:
    """An ASGI application around another, which it only lets see what is plain.

    A head that two readers could read in two ways is refused whole, rather than read in one of
    them (HT-09, HT-12).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialects: Dialects,
        hosts: frozenset[str],
        clock: Callable[[], datetime],
        observers: Sequence[Observer] = (),
    ) -> None:
        """`observers` are told of each request that is over, in their order."""
        self._app = app
        self._dialects = dialects
        self._hosts = hosts
        self._clock = clock
        self._watches = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the server's lifespan on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_context = RequestContext(_new_request_id(), time.perf_counter())
        scope["oneself.request_context"] = request_context
        headers = headers_of(scope)
        if b"traceparent" in headers:
            request_context.parent = parent_of(scope["headers"])
        try:
            self._check_head(scope, headers)
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 # the last catcher: nothing may pass it (OP-05)
            refusal = refusal_of(error)
            answer = answer_of_refusal(
                refusal,
                self._dialects.owner(scope["path"]),
                ResponseMeta(request_context.request_id, self._clock()),
                bearer_was_sent=sent_bearer(scope["headers"]),
            )
            # Its traceback holds this frame, and with it Granian's end of the connection, which
            # would stay open until the garbage collector comes by.
            del refusal
            if not request_context.status:
                await request_context.send(send, answer)
        finally:
            seconds = time.perf_counter() - request_context.started
            for watch in self._watches:
                watch(scope["method"], request_context, seconds)

    def _check_head(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        # Granian's limit is one of its buffer, which a single read can pass by some.
        size = sum(map(len, chain.from_iterable(scope["headers"])))
        if size + len(scope["query_string"]) > _MOST_HEAD_BYTES:
            rule = "the head has more than 64 KiB"
            raise MalformedRequest(rule)
        repeated = len(headers) < len(scope["headers"])
        names = [name for name, _ in scope["headers"]] if repeated else ()
        if b"host" not in headers or names.count(b"host") > 1:
            rule = "exactly one Host is needed"
            raise MalformedRequest(rule)
        if _host_name(headers[b"host"]) not in self._hosts:
            raise UnknownHost
        for name, text in _SINGLE if repeated else ():
            if names.count(name) > 1:
                rule = f"more than one {text} header"
                raise MalformedRequest(rule)
        # hyper reads chunks of chunks as chunks; another reader before us may not.
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            rule = "a Transfer-Encoding other than chunked"
            raise MalformedRequest(rule)
        # No path of ours needs an escape, and routers differ over what one means.
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if b"%" in raw_path or len(raw_path) > _MOST_PATH_CHARACTERS:
            raise NotFound


def _new_request_id() -> str:
    """Make `req_` and 12 hex digits; no secret, and so the system is not asked for each."""
    return f"req_{random.getrandbits(48):012x}"


@lru_cache(maxsize=_MOST_HOSTS_KEPT)
def _host_name(header: bytes) -> str | None:
    """The name in a `Host` header, without its port; None for what is no host."""
    matched = _HOST.fullmatch(header.decode("latin-1").lower())
    return matched["name"] if matched else None
