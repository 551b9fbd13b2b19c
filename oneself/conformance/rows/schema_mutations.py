"""For each rule that the document has about a value of a request, the request that breaks it.

Nothing else is wrong with these requests: a service that does not know the rule would go on to
something else, and would say something else, even where it refuses the value in the end.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from oneself.conformance.http_client import FORM
from oneself.document import OperationSpec, load_document, resolve

__all__ = ["schema_mutations"]

#: What fits no pattern, no format and no list of words, and is not too long for any.
_UNFIT = 'no "such"'
#: A path has no quotation marks and no spaces in it.
_UNFIT_IN_A_PATH = "no-such"
#: For a pattern or a format, something that breaks it and none of the others.
_NEAR: Mapping[tuple[str, str], str] = {
    ("pattern", "uri"): "http://example.com/photo.jpg",
    ("format", "uri"): "https://example.com/a photo.jpg",
}

#: What a refusal says, in the order in which it says it; `{}` is what the document has there.
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
    """One value of a request: in which part, where there, and what the document says of it."""

    part: str
    steps: tuple[str | int, ...]
    schema: Mapping[str, Any]

    @property
    def place(self) -> str:
        return "/".join((self.part, *map(str, self.steps)))


def schema_mutations(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Each rule of each value: where, which, the request that breaks it, and what is said of it."""
    for value in _values(operation):
        for keyword, make in _BREAKERS.items():
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
                "place": value.place,
                "keyword": keyword,
                "request": _request(operation, value, wrong),
                "violations": [
                    {"in": value.part, "field": [*steps], "rule": _sentence(each, value.schema)}
                    for each in broken
                ],
            }


def _rule(value: _Value, keyword: str, operation: OperationSpec) -> Any:
    """What the document has for a keyword; None where it has none, or where it cannot be broken."""
    rule = value.schema.get(keyword)
    if value.schema.get("format") == "binary":
        return None  # of bytes, of which a schema says nothing to a service
    if keyword == "additionalProperties":
        return "" if rule is False else None
    if keyword == "minLength" and FORM in operation.bodies:
        return None  # a field without a value is one that is not there (RFC 6749, section 3.2)
    return rule or None


def _sentence(keyword: str, schema: Mapping[str, Any]) -> str:
    rule = schema.get(keyword)
    if keyword == "format":
        rule = _FORMATS[str(rule)]
    if keyword == "enum":
        rule = ", ".join(schema[keyword])
    return _SENTENCES[keyword].format(rule)


def _is_broken(keyword: str, value: _Value, wrong: str) -> bool:
    """Whether a text that is too long for one rule breaks another one as well."""
    rule = value.schema.get(keyword)
    if rule is None:
        return False
    if keyword == "maxLength":
        return len(wrong) > int(rule)
    if keyword == "pattern":
        return re.search(rule, wrong) is None
    if keyword == "format":
        return str(rule) == "uuid"  # the others can be as long as one likes
    return keyword == "enum"


def _too_long(value: _Value, limit: int) -> str:
    """A text of one character too many, which is still what its format wants if that can be."""
    form = value.schema.get("format")
    if form == "email":
        domain = ".".join(["label" * 12] * 3) + ".example"
        return f"{'a' * (limit - len(domain))}@{domain}"
    example = str(value.schema["example"])
    if form == "date-time":
        whole = example.removesuffix("Z")
        return f"{whole}.{'0' * (limit - len(whole) - 1)}Z"
    return example + "a" * (limit + 1 - len(example))


def _other(keyword: str) -> Callable[[_Value, Any], str]:
    def make(value: _Value, _rule: Any) -> str:
        usual = _UNFIT_IN_A_PATH if value.part == "path" else _UNFIT
        return _NEAR.get((keyword, str(value.schema.get("format"))), usual)

    return make


def _item(value: _Value) -> Any:
    return resolve(load_document(), value.schema["items"])["example"]


_UNKNOWN = "unknown_field"
_BREAKERS: Mapping[str, Callable[[_Value, Any], Any]] = {
    "maxLength": _too_long,
    "minLength": lambda _, limit: "a" * (limit - 1),
    "pattern": _other("pattern"),
    "format": _other("format"),
    "enum": _other("enum"),
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
        return  # what is in several media types is the same in each


def _below(value: _Value) -> Iterator[_Value]:
    whole = value._replace(schema=resolve(load_document(), value.schema))
    yield whole
    for name, schema in whole.schema.get("properties", {}).items():
        yield from _below(_Value(value.part, (*value.steps, name), schema))
    if "items" in whole.schema:
        yield from _below(_Value(value.part, (*value.steps, 0), whole.schema["items"]))


def _request(operation: OperationSpec, value: _Value, wrong: Any) -> dict[str, Any]:
    """The example of the operation with a wrong value in its place."""
    if value.part in {"path", "query"}:
        return {"example": True, value.part: {str(value.steps[0]): wrong}}
    body = "form" if FORM in operation.bodies else "json"
    if value.part == "header":
        # By `example`, the header would have its own value as well.
        beside = {body: _example(operation)} if operation.bodies else {}
        return {"headers": {str(value.steps[0]): wrong}, **beside}
    for step in reversed(value.steps):
        wrong = [wrong] if isinstance(step, int) else {str(step): wrong}
    if value.steps or "properties" in value.schema:
        wrong = _example(operation) | wrong
    return {"example": True, body: wrong}


def _example(operation: OperationSpec) -> dict[str, Any]:
    spec = load_document()["paths"][operation.path][operation.method]["requestBody"]
    content = next(iter(resolve(load_document(), spec)["content"].values()))
    example: dict[str, Any] = content["example"]
    return example
