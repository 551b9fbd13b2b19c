"""Compiles the document's schemas into validators, and words their errors.

jsonschema-rs's Draft 4 is closest to OpenAPI 3.0: it counts code points, `$` in a pattern does not
match before a newline, and 5.0 is no integer. This module adds `nullable` and the format `uuid`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonschema_rs
from jsonschema_rs import Draft4Validator, EmailOptions

from accounts.values.identifiers import canonical_uuid
from handlers.dialect import Place, PlacedViolation

_MOST_VIOLATIONS = 20
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class Schemas:
    """The schemas of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._components = _draft4(document.get("components", {}).get("schemas", {}))
        self._validators: dict[str, Draft4Validator] = {}

    def validator(self, schema: Mapping[str, Any]) -> Draft4Validator:
        """Return the validator of a schema, which may refer to components.

        Compiled once: hundreds of responses refer to the same few schemas, and each compilation
        takes all components with it.
        """
        text = json.dumps(schema)
        if text not in self._validators:
            self._validators[text] = self._compile(schema)
        return self._validators[text]

    def _compile(self, schema: Mapping[str, Any]) -> Draft4Validator:
        return Draft4Validator(
            {"allOf": [_draft4(schema)], "components": {"schemas": self._components}},
            validate_formats=True,
            formats={"uuid": lambda value: canonical_uuid(value) is not None},
            email_options=EmailOptions(
                require_tld=True, allow_domain_literal=False, allow_display_text=False
            ),
            offline=True,
        )


def _draft4(schema: Any) -> Any:
    """Convert a schema to Draft 4: `nullable` becomes a type, descriptions are dropped."""
    if isinstance(schema, list):
        return [_draft4(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    converted = {
        key: _draft4(value)
        for key, value in schema.items()
        if key not in {"nullable", "example", "description"} or isinstance(value, Mapping)
    }
    if schema.get("nullable") is True:
        converted["type"] = [converted["type"], "null"]
    return converted


def violations(
    errors: Iterable[jsonschema_rs.ValidationError], place: Place, *path: str
) -> list[PlacedViolation]:
    """Return a validator's errors as violations, without values and names that the caller chose."""
    result = []
    for error in errors:
        field = (*path, *error.instance_path)
        kind: Any = error.kind
        if kind.name == "required":
            field, rule = (*field, kind.property), "is required"
        elif kind.name == "additionalProperties":
            # The caller chose the name. It helps to name a misspelt field; a longer or stranger
            # name could be a value that was pasted into the wrong place.
            unknown = [name for name in kind.unexpected if _PLAIN_NAME.fullmatch(name)]
            field, rule = (*field, *unknown[:1]), "is not a documented field"
        else:
            rule = _RULES.get(kind.name, lambda _: "does not have the documented shape")(kind)
        result.append(PlacedViolation(field, rule, place))
        if len(result) == _MOST_VIOLATIONS:
            break
    return result


_JSON_TYPES = {"object": "an object", "array": "an array", "integer": "an integer"}


def _type(kind: Any) -> str:
    names = [_JSON_TYPES.get(name, f"a {name}") for name in kind.types]
    return f"must be {' or '.join(names).replace('a null', 'null')}"


_FORMATS = {
    "uuid": "a UUID",
    "date-time": "an RFC 3339 date and time with an offset",
    "email": "an e-mail address",
    "uri": "an absolute URI",
}

_RULES: Mapping[str, Callable[[Any], str]] = {
    "type": _type,
    "minLength": lambda kind: f"must have at least {kind.limit} characters",
    "maxLength": lambda kind: f"must have at most {kind.limit} characters",
    "minItems": lambda kind: f"must have at least {kind.limit} items",
    "maxItems": lambda kind: f"must have at most {kind.limit} items",
    "maxProperties": lambda kind: f"must have at most {kind.limit} names",
    "minimum": lambda kind: f"must be at least {kind.limit}",
    "maximum": lambda kind: f"must be at most {kind.limit}",
    "uniqueItems": lambda _: "must not have an item twice",
    "pattern": lambda kind: f"must match {kind.pattern}",
    "format": lambda kind: f"must be {_FORMATS.get(kind.format, kind.format)}",
    "enum": lambda kind: f"must be one of {', '.join(map(str, kind.options))}",
}
