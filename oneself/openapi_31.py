"""Converts the document from OpenAPI 3.0 to OpenAPI 3.1.

Schemas of 3.1 are JSON Schema 2020-12. Only the keywords that 3.0 has of its own differ, as the
OpenAPI Initiative's guide to the migration lists them. Of these, the document uses neither
`exclusiveMinimum` nor `exclusiveMaximum`.

A security requirement of 3.1 can name the scope of an operation for every kind of credential, where
3.0 allows it for OAuth flows only (Security Requirement Object).
"""

from collections.abc import Mapping
from typing import Any

from oneself.document import required_scope

_VERSION = "3.1.0"

#: Members with one schema, with schemas by name, and with a list of schemas.
_ONE = frozenset({"schema", "items", "not", "additionalProperties"})
_NAMED = frozenset({"schemas", "properties"})
_LISTED = frozenset({"allOf", "anyOf", "oneOf"})
#: Members with values that only look like parts of the document.
_VALUES = frozenset({"example", "examples", "default", "enum"})


def convert_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of OpenAPI 3.0 as one of 3.1."""
    return {name: _convert(name, value) for name, value in document.items()} | {"openapi": _VERSION}


def _convert(name: str, value: Any) -> Any:
    """Convert a member of any object that is not a schema."""
    if name in _ONE:
        return _convert_schema(value)
    if name in _NAMED:
        return {each: _convert_schema(schema) for each, schema in value.items()}
    if name in _VALUES or name.startswith("x-"):
        return value
    if isinstance(value, Mapping):
        converted = {each: _convert(each, below) for each, below in value.items()}
        if (scope := required_scope(value)) is not None:
            converted["security"] = [
                {scheme: [scope] for scheme in alternative} for alternative in value["security"]
            ]
        return converted
    if isinstance(value, list):
        return [_convert("", below) for below in value]
    return value


def _convert_schema(schema: Any) -> Any:
    if not isinstance(schema, Mapping) or "$ref" in schema:
        return schema  # nothing stands beside a reference in 3.0
    converted: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _LISTED:
            converted[name] = [_convert_schema(each) for each in value]
        elif name == "example":
            converted["examples"] = [value]
        elif name != "nullable":
            converted[name] = _convert(name, value)
    match converted.get("format"):
        case "binary":
            # The body is the value itself, of the media type beside the schema.
            for name in ("type", "format", "maxLength"):
                converted.pop(name, None)
        case "byte":
            del converted["format"]
            converted["contentEncoding"] = "base64"
    return _allow_null(converted) if schema.get("nullable") else converted


def _allow_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema and None not in schema["enum"]:
        nullable["enum"] = [*schema["enum"], None]
    return nullable
