"""Reads the arguments of one operation from a request: its parameters and its body."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from accounts.errors import InvalidRequest
from oneself.document import OperationSpec
from oneself.http.request.bodies import is_empty_object, media_type, parse_json
from oneself.http.request.errors import UnexpectedBody
from oneself.http.request.forms import FORM, parse_form
from oneself.http.request.parameters import Parameters
from oneself.http.request.schemas import Schemas, violations

#: Passed to the handler as bytes; their real format is detected when they are decoded.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})


class ArgumentReader:
    """Reads and validates the arguments of one operation, with validators compiled once."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._parameters = Parameters(spec, schemas)
        self._bodies = {media: schemas.validator(schema) for media, schema in spec.bodies.items()}
        self._is_post = spec.method == "post"
        self._has_none = not (spec.parameters or spec.bodies)
        body_type = {"body": _body_type(spec)} if spec.bodies else {}
        self.types: Mapping[str, Any] = self._parameters.types | body_type
        self.places = self._parameters.places

    def read(self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> dict[str, Any]:
        """Return the arguments by the names that handlers have for them.

        Raises:
            UnexpectedBody: There is a body, and the operation takes none. For a POST, the empty
                JSON object is none: HTTP libraries send it when they are given no body.
            UnsupportedMediaType: The body has no documented content type, or is compressed.
            MalformedBody: It is not valid JSON.
            InvalidRequest: An argument is missing, wrong, unknown or repeated.
        """
        if self._has_none and not (scope["query_string"] or body):
            return {}
        arguments = self._parameters.read(
            scope.get("path_params", {}), scope["query_string"], headers
        )
        if self._bodies:
            arguments["body"] = self._read_body(body, headers)
        elif body and not (self._is_post and is_empty_object(headers, body)):
            raise UnexpectedBody  # without a byte it may have any content type
        return arguments

    def check_head(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Check what is known before the body is read: parameters, and the type of the body.

        Raises:
            UnsupportedMediaType: The body has no documented content type, or is compressed.
            InvalidRequest: A parameter is missing, wrong, unknown or repeated.
        """
        self._parameters.read(scope.get("path_params", {}), scope["query_string"], headers)
        media_type(headers, self._bodies)

    def _read_body(self, body: bytes, headers: Mapping[bytes, bytes]) -> Any:
        media = media_type(headers, self._bodies)
        if media in _PICTURES:
            return body
        content = parse_form(body) if media == FORM else parse_json(body)
        validator = self._bodies[media]
        if not validator.is_valid(content):
            raise InvalidRequest(violations(validator.iter_errors(content), "body"))
        return content


def _body_type(spec: OperationSpec) -> Any:
    """Return the type of a body: bytes, or the name of its schema; "" if it has none."""
    if spec.bodies.keys() <= _PICTURES:
        return bytes
    [name] = {schema.get("$ref", "").rpartition("/")[2] for schema in spec.bodies.values()}
    return name
