"""The start page, its icon, the error catalogue, and the API reference at `/docs`.

The reference is HTML that the service renders from the document (ADR 48). One script adds search
and "Try it"; nothing is loaded from another host.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation
from handlers.problem_details import CATALOGUE_PATH
from oneself.document import operation_specs
from oneself.error_catalogue import read_catalogue
from oneself.example_dates import DailyContent
from oneself.http.guard import RequestContext
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.dialects import dialect_of
from oneself.http.response.responses import Answer
from oneself.web.frame import CLOSED, NO_FORMS, OWN_SCRIPT, PageFrame, assets, page
from oneself.web.languages import preferred_language
from oneself.web.reference import read_reference, title_of

_OWN = Path(__file__).parents[2] / "templates" / "docs"
_READ = ("GET", "HEAD")
#: Pages in the language of the browser. Problem details point to the second, so it is always there.
_PAGES = frozenset({"/", CATALOGUE_PATH})

#: Ends the session of the reference when the user signs out there.
LOG_OUT = "ipto.logOut"

_DOCS_POLICY = (
    *(*CLOSED, *NO_FORMS, *OWN_SCRIPT),
    "style-src 'self'",
    # Requests of "Try it".
    "connect-src 'self'",
)
_CATALOGUE_HEADERS = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Language"}


class Docs:
    """ASGI middleware that serves these pages and files, and passes other requests on."""

    def __init__(
        self,
        app: ASGIApp,
        document: Mapping[str, Any],
        *,
        frame: PageFrame,
        clock: Callable[[], datetime],
        reference: bool = True,
    ) -> None:
        """Wrap an application; without `reference`, `/docs` and its files are not served."""
        self._app = app
        self._document = document
        self._frame = frame
        self._reference = reference
        self._content = DailyContent(self._render_reference, clock=clock)
        self._values = {
            "version": document["info"]["version"],
            "dialects": _describe_dialects(document),
            "reference": reference,
        }
        #: The error catalogue by language, rendered at the first request for it.
        self._catalogues: dict[str, Answer] = {}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a page or file, or pass the request on.

        Raises, when it is awaited:
            MethodNotAllowed: The method is not GET or HEAD.
            InvalidRequest: The request has a query.
        """
        path = scope["path"] if scope["type"] == "http" else ""
        if (
            path in _PAGES
            or path in self._frame.files
            or (self._reference and self._is_reference(path))
        ):
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
            answer = self._frame.render(
                "home", preferred_language(self._frame.templates, scope), self._values
            )
        elif path == CATALOGUE_PATH:
            answer = self._show_catalogue(preferred_language(self._frame.templates, scope))
        elif path == "/docs":
            answer = page(self._content.read(), "en", _DOCS_POLICY)
        elif path == "/docs/":
            # Not built from `Host` (HT-10).
            answer = Answer(308, b"", None, {"Location": "/docs", "Content-Length": "0"})
        else:
            answer = self._frame.files.get(path) or self._assets[path]
        request_context: RequestContext = scope["oneself.request_context"]
        await request_context.send(send, answer)

    def _show_catalogue(self, language: str) -> Answer:
        if language not in self._catalogues:
            values = {**self._values, "entries": read_catalogue(self._document)}
            answer = self._frame.render("errors", language, values)
            headers = {**answer.headers, **_CATALOGUE_HEADERS}
            self._catalogues[language] = answer._replace(headers=headers)
        return self._catalogues[language]

    def _render_reference(self) -> bytes:
        reference = read_reference(self._document, self._frame.public_origin)
        values = {
            **self._values,
            "host": self._frame.host,
            "reference": reference,
            "count": len(self._values["dialects"]),
            "log_out": LOG_OUT,
            **{Path(path).suffix.removeprefix("."): path for path in self._assets},
        }
        return self._frame.templates.render("pages/docs.html.j2", "en", **values).encode()

    @cached_property
    def _assets(self) -> Mapping[str, Answer]:
        """The script and the style of the reference."""
        style = self._frame.templates.render("pages/docs.css.j2", "en").encode()
        script = (_OWN / "docs.js").read_bytes()
        return assets([("docs.css", style), ("docs.js", script)], "/docs")


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
