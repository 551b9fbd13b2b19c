"""Reads the body of one operation as the document describes it."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import InvalidRequest
from oneself.document import OperationSpec
from oneself.http.request.bodies import media_type, parse_json, refuse_body
from oneself.http.request.forms import FORM, parse_form
from oneself.http.request.schemas import Schemas, violations

__all__ = ["RequestBodyReader"]

#: Passed to the handler as bytes; their real format is detected when they are decoded.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})


class RequestBodyReader:
    """Reads the bodies of one operation, with validators that are compiled once."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._validators = {
            media: schemas.validator(schema) for media, schema in spec.bodies.items()
        }
        self.types = {"body": _type_of(spec)} if spec.bodies else {}

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Return the body as the argument `body`; nothing if the operation takes none.

        Raises:
            UnexpectedBody: There is a body, and the operation takes none.
            UnsupportedMediaType: It has no documented content type, or is compressed.
            MalformedBody: It is not valid JSON.
            InvalidRequest: It does not have the documented shape.
        """
        if not self._validators:
            refuse_body(body)
            return {}
        media = media_type(headers, self._validators)
        if media in _PICTURES:
            return {"body": body}
        content = parse_form(body) if media == FORM else parse_json(body)
        validator = self._validators[media]
        if not validator.is_valid(content):
            raise InvalidRequest(violations(validator.iter_errors(content), "body"))
        return {"body": content}


def _type_of(spec: OperationSpec) -> Any:
    """Return the type of a body: bytes, or the name of its schema; "" if it has none."""
    if spec.bodies.keys() <= _PICTURES:
        return bytes
    [name] = {schema.get("$ref", "").rpartition("/")[2] for schema in spec.bodies.values()}
    return name
