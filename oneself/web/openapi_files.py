"""The OpenAPI document as a file, for client generators and tests."""

from collections.abc import Awaitable, Mapping
from typing import Any

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation
from oneself.document import DOCUMENT_PATH
from oneself.http.guard import RequestContext
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.responses import Answer

__all__ = ["Published"]


class Published:
    """ASGI middleware that serves `/openapi.yaml` and `/openapi.json`.

    Connexion would serve the document with its references resolved, so that generated code would
    lose the names of the components.
    """

    def __init__(self, app: ASGIApp, document: Mapping[str, Any]) -> None:
        self._app = app
        self._files = {
            "/openapi.yaml": (DOCUMENT_PATH.read_bytes(), "application/yaml"),
            "/openapi.json": (orjson.dumps(document), "application/json"),
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve the document, or pass the request on.

        Raises, when it is awaited:
            MethodNotAllowed: The method is not GET or HEAD.
            InvalidRequest: The request has a query.
        """
        file = self._files.get(scope["path"]) if scope["type"] == "http" else None
        if file is None:
            return self._app(scope, receive, send)
        return self._show(file, scope, send)

    @staticmethod
    async def _show(file: tuple[bytes, str], scope: Scope, send: Send) -> None:
        if scope["query_string"]:
            rule = "takes no parameters"
            raise InvalidRequest([PlacedViolation((), rule, "query")])
        if scope["method"] not in {"GET", "HEAD"}:
            raise MethodNotAllowed(("GET", "HEAD"))
        request_context: RequestContext = scope["oneself.request_context"]
        await request_context.send(send, Answer(200, *file, {}))
