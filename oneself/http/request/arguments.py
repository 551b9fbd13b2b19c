"""Reads the arguments of one operation from a request: its parameters and its body."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from handlers.dialect import Place
from oneself.document import OperationSpec
from oneself.http.request.parameters import Parameters
from oneself.http.request.request_body import RequestBodyReader
from oneself.http.request.schemas import Schemas

__all__ = ["ArgumentReader"]


class ArgumentReader:
    """Reads and validates the arguments of one operation, with validators compiled once."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._parameters = Parameters(spec, schemas)
        self._body = RequestBodyReader(spec, schemas)
        self._has_none = not (spec.parameters or spec.bodies)
        self.types: Mapping[str, Any] = self._parameters.types | self._body.types

    @property
    def places(self) -> Mapping[str, Place]:
        """The places of the parameters by their names in the document."""
        return self._parameters.places

    def read(self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> dict[str, Any]:
        """Return the arguments by the names that handlers have for them.

        Raises:
            UnexpectedBody, UnsupportedMediaType, MalformedBody: As `RequestBodyReader.read`.
            InvalidRequest: One is missing, wrong, unknown or repeated.
        """
        if self._has_none and not (scope["query_string"] or body):
            return {}
        arguments: dict[str, Any] = self._parameters.read(
            scope.get("path_params", {}), scope["query_string"], headers
        )
        return arguments | self._body.read(body, headers)
