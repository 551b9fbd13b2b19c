"""The start page, the OpenAPI document as a file, and interactive documentation at `/docs`.

Swagger UI renders the OpenAPI document. Its files are from a wheel that contains nothing else, and
nothing is loaded from another host.
"""

import hashlib
import importlib.metadata
from base64 import b64encode
from collections.abc import Awaitable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation
from handlers.exchange import CROSS_ORIGIN
from oneself.document import DOCUMENT_PATH, operation_specs
from oneself.http.guard import RequestContext
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.dialects import dialect_of
from oneself.http.response.responses import Answer
from oneself.templating import Templates
from oneself.web.languages import preferred_language

_OWN = Path(__file__).parents[2] / "templates" / "docs"
_READ = ("GET", "HEAD")

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

#: These pages cannot be framed, and send and load only the parts listed below.
_CLOSED = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'")
_DOCS_POLICY = "; ".join(
    (
        *_CLOSED,
        "script-src 'self'",
        "style-src 'self'",
        # The arrow icons are data URLs in its stylesheet.
        "img-src data:",
        # The document, and requests of "Try it out".
        "connect-src 'self'",
    )
)


class Docs:
    """ASGI middleware that serves these pages and files, and passes other requests on.

    Connexion would serve the document with its references resolved, so that generated code would
    lose the names of the components.
    """

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
        self._templates = templates
        self._reference = reference
        self._values = {
            # The host name is from the settings, never from the request (EM-12).
            "host": urlsplit(public_origin).netloc,
            "version": document["info"]["version"],
            "dialects": _describe_dialects(document),
            "reference": reference,
        }
        self._documents = {
            "/openapi.yaml": Answer(
                200, DOCUMENT_PATH.read_bytes(), "application/yaml", CROSS_ORIGIN
            ),
            "/openapi.json": Answer(200, orjson.dumps(document), "application/json", CROSS_ORIGIN),
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a page or file, or pass the request on.

        Raises, when it is awaited:
            MethodNotAllowed: The method is not GET or HEAD.
            InvalidRequest: The request has a query.
        """
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/" or path in self._documents or (self._reference and _is_reference(path)):
            return self._show(path, scope, send)
        return self._app(scope, receive, send)

    async def _show(self, path: str, scope: Scope, send: Send) -> None:
        if scope["query_string"]:
            raise InvalidRequest([PlacedViolation((), "takes no parameters", "query")])
        if scope["method"] not in _READ:
            raise MethodNotAllowed(_READ)
        if path == "/":
            answer = self._show_home(preferred_language(self._templates, scope))
        elif path == "/docs":
            answer = self._show_document()
        else:
            answer = self._documents.get(path) or _assets()[path][1]
        request_context: RequestContext = scope["oneself.request_context"]
        await request_context.send(send, answer)

    def _show_home(self, language: str) -> Answer:
        style = self._templates.render("pages/style.css.j2", language)
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = "; ".join((*_CLOSED, f"style-src 'sha256-{digest}'"))
        html = self._templates.render("pages/home.html.j2", language, **self._values)
        return _page(html, policy, language)

    def _show_document(self) -> Answer:
        # By their names in the template, such as `ui_script` for swagger_bundle.js.
        paths = {name: path for path, (name, _) in _assets().items()}
        html = self._templates.render("pages/docs.html.j2", "en", **self._values, **paths)
        return _page(html, _DOCS_POLICY, "en")


def _is_reference(path: str) -> bool:
    return path == "/docs" or (path.startswith("/docs/") and path in _assets())


def _page(html: str, policy: str, language: str) -> Answer:
    headers = {
        "Content-Security-Policy": policy,
        "Content-Language": language,
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Robots-Tag": "noindex",
    }
    return Answer(200, html.encode(), "text/html; charset=utf-8", headers)


@cache
def _assets() -> Mapping[str, tuple[str, Answer]]:
    """Return the name and content of each file of `/docs`, by a path that changes with its content.

    They are read at the first request: they are two megabytes, and few workers get one.
    """
    # The package is located and not imported, since an import reads all of its files.
    folder = Path(str(importlib.metadata.distribution("offapi").locate_file("offapi")))
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    assets = {}
    for name, path in (
        ("ui_script", folder / "swagger_bundle.js"),
        ("ui_style", folder / "swagger_style.css"),
        ("script", _OWN / "docs.js"),
        ("style", _OWN / "docs.css"),
    ):
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:16]
        answer = Answer(200, body, _KINDS[path.suffix], headers)
        assets[f"/docs/{digest}/{path.name}"] = name, answer
    return assets


def _describe_dialects(document: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Return each dialect with its best-known operation: the first GET, else the first one."""
    operations = list(operation_specs(document))
    dialects: list[Mapping[str, str]] = []
    for tag in (tag["name"] for tag in document["tags"]):
        if dialect_of(tag).published:
            own = [operation for operation in operations if operation.dialect == tag]
            first = next((operation for operation in own if operation.method == "get"), own[0])
            dialects.append({"name": tag, "method": first.method.upper(), "path": first.path})
    return dialects
