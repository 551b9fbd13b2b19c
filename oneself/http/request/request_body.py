"""What is in a body, by what one operation of the document says of it."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import InvalidRequest
from oneself.document import OperationSpec
from oneself.http.request.bodies import media_type, parse_json, refuse_body
from oneself.http.request.forms import FORM, parse_form
from oneself.http.request.schemas import Schemas, violations

__all__ = ["RequestBodyReader"]

#: Given to the handler as bytes; what they are is told from them, whatever their head says.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})


class RequestBodyReader:
    """Reads the bodies of one operation, with validators that are compiled once."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._validators = {
            media: schemas.validator(schema) for media, schema in spec.bodies.items()
        }
        self.types = {"body": _type_of(spec)} if spec.bodies else {}

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Give the body by the name that handlers have for it; nothing where none is documented.

        Raises:
            UnexpectedBody: There is one, and none is documented.
            UnsupportedMediaType: It is of none of the documented types, or compressed.
            MalformedBody: It is no JSON.
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
    """Return the type of a body: bytes, or the name of its schema."""
    if spec.bodies.keys() <= _PICTURES:
        return bytes
    [name] = {schema["$ref"].rpartition("/")[2] for schema in spec.bodies.values()}
    return name
