"""Finds the operation of a method and a path."""

from collections.abc import Awaitable, Mapping
from typing import Any

from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import NotFound
from oneself.document import METHODS
from oneself.http.connexion_compat import RoutingMiddleware
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.response.dialects import path_pattern, with_other_ending


class Routing(RoutingMiddleware):  # type: ignore[misc] # connexion has no types
    """Connexion's routing with three changes.

    Literal paths are looked up in a dict: trying one regular expression per operation took 41 µs
    for the last of fifty. Paths are not redirected to add or remove a slash, because the target
    would be built from `Host` (HT-10). A 405 lists every method of the path, where Starlette lists
    one (RFC 9110 section 15.5.6).
    """

    app: ASGIApp

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._literal: dict[str, dict[str, str]] = {}
        self._templates: list[tuple[Any, tuple[str, ...]]] = []

    def add_api(self, specification: Any, **options: Any) -> None:
        """Add the paths of the document."""
        super().add_api(specification, **options)
        self.router.redirect_slashes = False
        for route in self.router.routes:
            if isinstance(route, Mount) and isinstance(route.app, Router):
                route.app.redirect_slashes = False
        paths: Mapping[str, Mapping[str, Any]] = specification["paths"]
        for path, item in paths.items():
            operations = {
                method.upper(): item[method]["operationId"] for method in METHODS if method in item
            }
            if "GET" in operations:
                operations["HEAD"] = operations["GET"]
            if "{" in path:
                self._templates.append((path_pattern(path), tuple(sorted(operations))))
            else:
                self._literal[path] = operations

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Put the operation into the scope and call the next middleware.

        Raises:
            NotFound: The document does not have the path; with a hint if only the slash differs.
            MethodNotAllowed: The document has the path with other methods.
        """
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        method, path = scope["method"], scope["path"]
        operations = self._literal.get(path)
        if operations is not None:
            if method not in operations:
                raise MethodNotAllowed(sorted(operations))
            scope.setdefault("extensions", {})["connexion_routing"] = {
                "api_base_path": "",
                "operation_id": operations[method],
            }
            return self.app(scope, receive, send)
        allowed = next((m for pattern, m in self._templates if pattern.fullmatch(path)), None)
        if allowed is None:
            raise self._not_found(path)
        if method not in allowed:
            raise MethodNotAllowed(allowed)
        response: Awaitable[None] = super().__call__(scope, receive, send)
        return response

    def _not_found(self, path: str) -> NotFound:
        other = with_other_ending(path)
        if other in self._literal or any(each.fullmatch(other) for each, _ in self._templates):
            preposition = "with" if other.endswith("/") else "without"
            return NotFound(f"this path exists {preposition} a final slash")
        return NotFound()
