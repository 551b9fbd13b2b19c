"""The start page, its icon, and the API reference at `/docs`.

The reference is HTML that the service renders from the document (ADR 48). One script adds search
and "Try it"; nothing is loaded from another host.
"""

import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation
from oneself.document import operation_specs
from oneself.http.guard import RequestContext
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.dialects import dialect_of
from oneself.http.response.responses import Answer
from oneself.templating import Templates
from oneself.web.languages import preferred_language
from oneself.web.reference import read_reference, title_of

_OWN = Path(__file__).parents[2] / "templates" / "docs"
_READ = ("GET", "HEAD")

#: Ends the session of the reference when the user signs out there.
LOG_OUT = "ipto.logOut"

#: These pages cannot be framed, and send and load only the parts listed below.
_CLOSED = (
    *("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"),
    "img-src 'self'",
)
_DOCS_POLICY = "; ".join(
    (
        *_CLOSED,
        "script-src 'self'",
        "style-src 'self'",
        # Requests of "Try it".
        "connect-src 'self'",
        # The script makes no HTML of text: an answer that it shows can run nothing.
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)

_ICON_HEADERS = {"Cache-Control": "public, max-age=86400"}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}


class Docs:
    """ASGI middleware that serves these pages and files, and passes other requests on."""

    def __init__(
        self,
        app: ASGIApp,
        document: Mapping[str, Any],
        *,
        templates: Templates,
        public_origin: str,
        reference: bool = True,
    ) -> None:
        """Wrap an application; without `reference`, `/docs` and its files are not served."""
        self._app = app
        self._document = document
        self._templates = templates
        self._public_origin = public_origin
        self._reference = reference
        self._values = {
            # The host name is from the settings, never from the request (EM-12).
            "host": urlsplit(public_origin).netloc,
            "version": document["info"]["version"],
            "dialects": _describe_dialects(document),
            "reference": reference,
        }
        self._files = {
            "/favicon.svg": _icon("favicon.svg", "image/svg+xml"),
            # Browsers ask for it where a page names no icon, as with JSON.
            "/favicon.ico": _icon("favicon.ico", "image/vnd.microsoft.icon"),
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a page or file, or pass the request on.

        Raises, when it is awaited:
            MethodNotAllowed: The method is not GET or HEAD.
            InvalidRequest: The request has a query.
        """
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/" or path in self._files or (self._reference and self._is_reference(path)):
            return self._show(path, scope, send)
        return self._app(scope, receive, send)

    def _is_reference(self, path: str) -> bool:
        return path in {"/docs", "/docs/"} or (path.startswith("/docs/") and path in self._assets)

    async def _show(self, path: str, scope: Scope, send: Send) -> None:
        if scope["query_string"]:
            raise InvalidRequest([PlacedViolation((), "takes no parameters", "query")])
        if scope["method"] not in _READ:
            raise MethodNotAllowed(_READ)
        if path == "/":
            answer = self._show_home(preferred_language(self._templates, scope))
        elif path == "/docs":
            answer = self._page
        elif path == "/docs/":
            # Not built from `Host` (HT-10).
            answer = Answer(308, b"", None, {"Location": "/docs", "Content-Length": "0"})
        else:
            answer = self._files.get(path) or self._assets[path]
        request_context: RequestContext = scope["oneself.request_context"]
        await request_context.send(send, answer)

    def _show_home(self, language: str) -> Answer:
        style = self._templates.render("pages/style.css.j2", language)
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = "; ".join((*_CLOSED, f"style-src 'sha256-{digest}'"))
        html = self._templates.render("pages/home.html.j2", language, **self._values)
        return _page(html, policy, language)

    @cached_property
    def _page(self) -> Answer:
        """The reference, rendered at the first request, since few workers get one."""
        reference = read_reference(self._document, self._public_origin)
        values = {
            **self._values,
            "reference": reference,
            "count": len(self._values["dialects"]),
            "log_out": LOG_OUT,
            **{Path(path).suffix.removeprefix("."): path for path in self._assets},
        }
        return _page(
            self._templates.render("pages/docs.html.j2", "en", **values), _DOCS_POLICY, "en"
        )

    @cached_property
    def _assets(self) -> Mapping[str, Answer]:
        """The script and the style of the reference, by paths that change with their content."""
        script = (_OWN / "docs.js").read_bytes()
        style = self._templates.render("pages/docs.css.j2", "en").encode()
        return {
            f"/docs/{hashlib.sha256(body).hexdigest()[:16]}/{name}": Answer(
                200, body, kind, _ASSET_HEADERS
            )
            for name, body, kind in (
                ("docs.css", style, "text/css; charset=utf-8"),
                ("docs.js", script, "text/javascript; charset=utf-8"),
            )
        }


def _icon(name: str, content_type: str) -> Answer:
    return Answer(200, (_OWN / name).read_bytes(), content_type, _ICON_HEADERS)


def _page(html: str, policy: str, language: str) -> Answer:
    headers = {
        "Content-Security-Policy": policy,
        "Content-Language": language,
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }
    return Answer(200, html.encode(), "text/html; charset=utf-8", headers)


def _describe_dialects(document: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Return each dialect with its best-known operation: the first GET, else the first one."""
    operations = list(operation_specs(document))
    dialects: list[Mapping[str, str]] = []
    for tag in document["tags"]:
        name = tag["name"]
        if dialect_of(name).published:
            own = [operation for operation in operations if operation.dialect == name]
            first = next((operation for operation in own if operation.method == "get"), own[0])
            shown = {"title": title_of(tag), "method": first.method.upper(), "path": first.path}
            dialects.append({"name": name, **shown})
    return dialects
