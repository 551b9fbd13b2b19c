"""Requests that each break one rule of the document's schemas.

They are otherwise valid, so a service that does not check the rule returns another response, even
if it rejects the value later.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.http_client import FORM
from oneself_conformance.operations import request_examples

#: Breaks every pattern, format and enumeration, and is not too long for any.
_INVALID_TEXT = 'no "such"'
#: The same for a path, without quotation marks and spaces.
_INVALID_PATH_SEGMENT = "no-such"
#: Values that break only the pattern or only the format.
_NEAR_MISSES: Mapping[tuple[str, str], str] = {
    ("pattern", "uri"): "http://example.com/photo.jpg",
    ("format", "uri"): "https://example.com/a photo.jpg",
}

#: The messages of a refusal, in its order; `{}` is the value in the document.
_SENTENCES: Mapping[str, str] = {
    "enum": "must be one of {}",
    "maximum": "must be at most {}",
    "minimum": "must be at least {}",
    "maxLength": "must have at most {} characters",
    "minLength": "must have at least {} characters",
    "maxItems": "must have at most {} items",
    "minItems": "must have at least {} items",
    "maxProperties": "must have at most {} names",
    "uniqueItems": "must not have an item twice",
    "pattern": "must match {}",
    "format": "must be {}",
    "additionalProperties": "is not a documented field",
}
_FORMATS = {
    "uuid": "a UUID",
    "date-time": "an RFC 3339 date and time with an offset",
    "email": "an e-mail address",
    "uri": "an absolute URI",
}


class _Value(NamedTuple):
    """A value of a request: its part, its path within the part, and its schema."""

    part: str
    steps: tuple[str | int, ...]
    schema: Mapping[str, Any]


def schema_mutations(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Yield, for each rule of each value, a request that breaks it and the expected violations."""
    for value in _values(operation):
        for keyword, make in _MUTATIONS.items():
            limit = _rule(value, keyword, operation)
            if limit is None:
                continue
            wrong = make(value, limit)
            steps, broken = value.steps, [keyword]
            if keyword == "additionalProperties":
                steps = (*steps, _UNKNOWN)
            elif keyword == "maxLength":
                broken = [each for each in _SENTENCES if _is_broken(each, value, wrong)]
            elif keyword == "maxItems" and value.schema.get("uniqueItems"):
                broken.append("uniqueItems")
            elif keyword == "enum" and _is_broken("maxLength", value, wrong):
                broken.append("maxLength")
            yield {
                "place": "/".join((value.part, *map(str, value.steps))),
                "keyword": keyword,
                "request": _request(operation, value, wrong),
                "violations": [
                    {"in": value.part, "field": [*steps], "rule": _sentence(each, value.schema)}
                    for each in broken
                ],
            }


def _rule(value: _Value, keyword: str, operation: OperationSpec) -> Any:
    """Return the value of a keyword in the document; None if absent, or if it cannot be broken."""
    rule = value.schema.get(keyword)
    if value.schema.get("format") == "binary":
        return None  # schemas do not apply to bytes
    if keyword == "additionalProperties":
        return "" if rule is False else None
    if keyword == "format" and rule not in _FORMATS:
        return None  # `password` says how to show a value, and no value breaks it
    if keyword == "minLength" and FORM in operation.bodies:
        return None  # an empty field counts as absent (RFC 6749, section 3.2)
    return rule or None


def _sentence(keyword: str, schema: Mapping[str, Any]) -> str:
    rule = schema.get(keyword)
    if keyword == "format":
        rule = _FORMATS[str(rule)]
    if keyword == "enum":
        rule = ", ".join(schema[keyword])
    return _SENTENCES[keyword].format(rule)


def _is_broken(keyword: str, value: _Value, wrong: str) -> bool:
    """Return whether a string that is too long breaks another rule as well."""
    rule = value.schema.get(keyword)
    if rule is None:
        return False
    if keyword == "maxLength":
        return len(wrong) > int(rule)
    if keyword == "pattern":
        return re.search(rule, wrong) is None
    # Other formats have no maximum length.
    return keyword == "enum" or (keyword, rule) == ("format", "uuid")


def _too_long(value: _Value, limit: int) -> str:
    """Return a string one character too long, in its format if possible."""
    form = value.schema.get("format")
    if form == "email":
        domain = ".".join(["label" * 12] * 3) + ".example"
        return f"{'a' * (limit - len(domain))}@{domain}"
    example = str(value.schema["example"])
    if form == "date-time":
        resolved = example.removesuffix("Z")
        return f"{resolved}.{'0' * (limit - len(resolved) - 1)}Z"
    return example + "a" * (limit + 1 - len(example))


def _invalid_text(keyword: str, value: _Value, _limit: Any) -> str:
    default = _INVALID_PATH_SEGMENT if value.part == "path" else _INVALID_TEXT
    return _NEAR_MISSES.get((keyword, str(value.schema.get("format"))), default)


def _item(value: _Value) -> Any:
    return resolve(load_document(), value.schema["items"])["example"]


_UNKNOWN = "unknown_field"
_MUTATIONS: Mapping[str, Callable[[_Value, Any], Any]] = {
    "maxLength": _too_long,
    "minLength": lambda _, limit: "a" * (limit - 1),
    "pattern": partial(_invalid_text, "pattern"),
    "format": partial(_invalid_text, "format"),
    "enum": partial(_invalid_text, "enum"),
    "maximum": lambda _, limit: limit + 1,
    "minimum": lambda _, limit: limit - 1,
    "maxItems": lambda value, limit: [_item(value)] * (limit + 1),
    "minItems": lambda value, limit: [_item(value)] * (limit - 1),
    "uniqueItems": lambda value, _: [_item(value)] * 2,
    "maxProperties": lambda _, limit: {f"name{number}": number for number in range(limit + 1)},
    "additionalProperties": lambda _, __: {_UNKNOWN: "some-value"},
}


def _values(operation: OperationSpec) -> Iterator[_Value]:
    for parameter in operation.parameters:
        schema = {"example": parameter.get("example", ""), **parameter["schema"]}
        yield _Value(parameter["in"], (parameter["name"],), schema)
    for schema in operation.bodies.values():
        yield from _below(_Value("body", (), schema))
        return  # the schema is the same for all media types


def _below(value: _Value) -> Iterator[_Value]:
    resolved = value._replace(schema=resolve(load_document(), value.schema))
    yield resolved
    for name, schema in resolved.schema.get("properties", {}).items():
        yield from _below(_Value(value.part, (*value.steps, name), schema))
    if "items" in resolved.schema:
        yield from _below(_Value(value.part, (*value.steps, 0), resolved.schema["items"]))


def _request(operation: OperationSpec, value: _Value, wrong: Any) -> dict[str, Any]:
    """Build the operation's example with the wrong value in its place."""
    if value.part in {"path", "query"}:
        return {"example": True, value.part: {str(value.steps[0]): wrong}}
    body = "form" if FORM in operation.bodies else "json"
    if value.part == "header":
        # With `example`, the header would be sent twice.
        body_part = {body: _example(operation)} if operation.bodies else {}
        return {"headers": {str(value.steps[0]): wrong}, **body_part}
    for step in reversed(value.steps):
        wrong = [wrong] if isinstance(step, int) else {str(step): wrong}
    if value.steps or "properties" in value.schema:
        wrong = _example(operation) | wrong
    return {"example": True, body: wrong}


def _example(operation: OperationSpec) -> dict[str, Any]:
    return dict(next(iter(request_examples(operation).values())))
