"""Cross-origin requests: the headers that let pages of configured origins call the API (CORS).

Starlette's middleware answers a preflight itself, in plain text, with a fixed list of methods and
without the headers, the log line and the host check of every other answer; and it would replace
the `*` of public documents. This one takes the methods of a path from the routing's 405.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from oneself.document import operation_specs
from oneself.http.guard import RequestContext
from oneself.http.request.bodies import headers_of
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.responses import Answer

_PREFLIGHT_SECONDS = 600
#: Headers that carry credentials and bodies; the document lists the others as parameters.
_REQUEST_HEADERS = frozenset({"Authorization", "Content-Type", "X-API-Key", "X-Session-Token"})
#: Goes with the cookie, which pages of other origins never use.
_UNUSED_HEADERS = frozenset({"X-CSRFToken"})
#: Response headers that pages see already, or never may.
_UNEXPOSED = ("access-control-", "cache-control", "cross-origin-", "set-cookie")
_VARY = (b"vary", b"Origin")


class CrossOrigin:
    """ASGI middleware that lets pages of some origins call the API with a header's credential.

    `Access-Control-Allow-Credentials` is never sent: browsers then keep the answer to a request
    with the session cookie from the page, and a cookie changes nothing across origins anyway
    (SE-09).
    """

    def __init__(
        self, app: ASGIApp, document: Mapping[str, Any], *, origins: Iterable[str]
    ) -> None:
        """Wrap an application; an origin is a scheme, a host and a port, as browsers send it."""
        self._app = app
        sent, received = _header_names(document)
        self._preflight = {
            "Access-Control-Allow-Headers": ", ".join(
                sorted((_REQUEST_HEADERS | sent) - _UNUSED_HEADERS)
            ),
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        }
        exposed = ", ".join(sorted(received)).encode()
        self._headers = {
            origin.encode(): (
                _VARY,
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", exposed),
            )
            for origin in origins
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        allowed = self._headers.get(headers.get(b"origin", b""))
        context: RequestContext = scope["oneself.request_context"]
        # Without an allowed origin as well: a cache must not keep that answer for the others.
        context.common_headers += allowed or (_VARY,)
        try:
            await self._app(scope, receive, send)
        except MethodNotAllowed as refusal:
            asks_first = (
                scope["method"] == "OPTIONS" and b"access-control-request-method" in headers
            )
            if not asks_first or allowed is None:
                raise
            methods = {"Access-Control-Allow-Methods": ", ".join(refusal.allowed)}
            await context.send(send, Answer(204, b"", None, {**self._preflight, **methods}))


def _header_names(document: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the names of all request headers and of all response headers in the document."""
    specs = list(operation_specs(document))
    sent = {each["name"] for spec in specs for each in spec.parameters if each["in"] == "header"}
    received = {
        name
        for spec in specs
        for response in spec.responses.values()
        for name in (*response["headers"], *spec.deprecation_headers)
        if not name.lower().startswith(_UNEXPOSED)
    }
    return sent, received
