"""Facts for the SDKs that no generator reads: refusals, credentials, pages and secrets.

Everything is derived from the document, so that new operations, codes and dialects appear in both
SDKs without further code.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "DOCUMENT",
    "Facts",
    "Operation",
    "Pages",
    "Refusal",
    "Shape",
    "document_of_clients",
    "read_facts",
]

DOCUMENT = Path(__file__).parent.parent / "openapi" / "openapi.yaml"

_FIRST_REFUSAL = 400
_METHODS = ("get", "put", "post", "delete", "patch")
#: The schemas that identify the parts of a refusal in every dialect.
_CODE, _MESSAGE, _NOTICES = "RefusalCode", "Message", "Notices"
_VIOLATIONS = ("Violation", "ValidationError")
#: The query parameter that selects a page, and the fields of a page.
_CURSOR, _ITEMS, _NEXT_CURSOR = "cursor", "items", "next_cursor"


class UnreadableDocument(Exception):
    """The document lacks something that the SDKs need."""


@dataclass(frozen=True)
class Refusal:
    """A code, with the message of its first example and its statuses."""

    code: str
    message: str
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """The paths of a dialect to the parts of a refusal in the response body."""

    schema: str
    code: tuple[str | int, ...]
    message: tuple[str | int, ...]
    notices: tuple[str | int, ...] | None
    violations: tuple[str | int, ...] | None


@dataclass(frozen=True)
class Pages:
    """The pages of a list: the fields around a page, and the schema of an item."""

    steps: tuple[str | int, ...]
    item: str


@dataclass(frozen=True)
class Operation:
    """An operation, with the credentials that it accepts."""

    operation_id: str
    method: str
    path: str
    #: The names of the security schemes that it accepts; none for a public operation.
    credentials: tuple[str, ...]
    #: The descriptions of the parameters, by name.
    parameters: Mapping[str, str]
    #: For a list that is returned in pages.
    pages: Pages | None


@dataclass(frozen=True)
class Facts:
    """All facts."""

    version: str
    refusals: tuple[Refusal, ...]
    shapes: tuple[Shape, ...]
    operations: tuple[Operation, ...]
    #: The names of schemas and of the fields in them that are secrets.
    secrets: frozenset[tuple[str, str]]

    def as_json(self) -> Mapping[str, Any]:
        """Return the facts as JSON types, for programs in other languages."""
        return asdict(self)


def document_of_clients(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as the SDKs show it: a login returns a session, or raises `MfaRequired`.

    The challenge of a second factor is a response with status 200, which the code of the SDKs
    turns into that error.
    """
    begun, complete = (f"#/components/schemas/Ipto{name}LogInEnvelope" for name in ("Begun", ""))
    shown: dict[str, Any] = json.loads(json.dumps(document).replace(f'"{begun}"', f'"{complete}"'))
    del shown["components"]["schemas"]["IptoBegunLogInEnvelope"]
    return shown


def read_facts(document: Mapping[str, Any] | None = None) -> Facts:
    """Derive the facts from the document.

    Raises:
        UnreadableDocument: A refusal has no code or message, or a code has no example.
    """
    source = document if document is not None else yaml.safe_load(DOCUMENT.read_text())
    refusals = _read_refusals(source)
    return Facts(
        version=source["info"]["version"],
        refusals=tuple(refusals[code] for code in sorted(refusals)),
        shapes=_read_shapes(source),
        operations=tuple(_read_operations(source)),
        secrets=frozenset(_read_secrets(source)),
    )


def _resolve(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a node, or the target of its reference."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _each_operation(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _refusals_of(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each status from 400 on, with the media type object of its body."""
    for status, response in operation["responses"].items():
        if int(status) >= _FIRST_REFUSAL:
            (content,) = _resolve(document, response)["content"].values()
            yield int(status), content


def _read_operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, method, operation in _each_operation(document):
        alternatives = operation.get("security", document.get("security", []))
        yield Operation(
            operation_id=operation["operationId"],
            method=method.upper(),
            path=path,
            credentials=tuple(name for alternative in alternatives for name in alternative),
            parameters=_describe_parameters(document, document["paths"][path], operation),
            pages=_read_pages(document, operation),
        )


def _read_pages(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Pages | None:
    """Return how to read the pages of a list, or None for any other operation."""
    parameters = (_resolve(document, item) for item in operation.get("parameters", ()))
    if _CURSOR not in {parameter["name"] for parameter in parameters}:
        return None
    (content,) = _resolve(document, operation["responses"]["200"])["content"].values()
    for name, steps in _walk(document, content["schema"], ()):
        properties = document["components"]["schemas"][name].get("properties", {})
        if _NEXT_CURSOR in properties:
            return Pages(steps, _name_of(properties[_ITEMS]["items"]))
    msg = f"{operation['operationId']} has a {_CURSOR} and no {_NEXT_CURSOR}"
    raise UnreadableDocument(msg)


def _read_secrets(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, schema in document["components"]["schemas"].items():
        for field, value in schema.get("properties", {}).items():
            if _resolve(document, value).get("format") == "password":
                yield name, field


def _describe_parameters(
    document: Mapping[str, Any], *holders: Mapping[str, Any]
) -> dict[str, str]:
    parameters = (
        _resolve(document, parameter)
        for holder in holders
        for parameter in holder.get("parameters", ())
    )
    return {item["name"]: " ".join(item["description"].split()) for item in parameters}


def _read_refusals(document: Mapping[str, Any]) -> Mapping[str, Refusal]:
    shapes = {shape.schema: shape for shape in _read_shapes(document)}
    messages: dict[str, str] = {}
    statuses: dict[str, set[int]] = {}
    for _, _, operation in _each_operation(document):
        for status, content in _refusals_of(document, operation):
            shape = shapes[_name_of(content["schema"])]
            for code, example in content.get("examples", {}).items():
                statuses.setdefault(code, set()).add(status)
                messages.setdefault(code, str(_follow(example["value"], shape.message)))
    documented = set(document["components"]["schemas"][_CODE]["x-extensible-enum"])
    if documented != set(statuses):
        problem = f"codes without an example, or the reverse: {documented ^ set(statuses)}"
        raise UnreadableDocument(problem)
    return {code: Refusal(code, messages[code], tuple(sorted(statuses[code]))) for code in statuses}


def _read_shapes(document: Mapping[str, Any]) -> tuple[Shape, ...]:
    names = {
        _name_of(content["schema"])
        for _, _, operation in _each_operation(document)
        for _, content in _refusals_of(document, operation)
    }
    shapes = [_read_shape(document, name) for name in sorted(names)]
    # Clients try the shapes in this order. Hyperclast's list looks like ScaiKey's, so shapes with a
    # code at the top level come before those with a code in a list.
    return tuple(sorted(shapes, key=lambda shape: len(shape.code)))


def _read_shape(document: Mapping[str, Any], name: str) -> Shape:
    paths: dict[str, tuple[str | int, ...]] = {}
    for schema, steps in _walk(document, {"$ref": f"#/components/schemas/{name}"}, ()):
        # Keep the first, which is nearest to the top: a violation has a message too.
        paths.setdefault(schema, steps)
    if _CODE not in paths or _MESSAGE not in paths:
        problem = f"{name} is a refusal without {_CODE} or {_MESSAGE}"
        raise UnreadableDocument(problem)
    violations = next((paths[schema][:-1] for schema in _VIOLATIONS if schema in paths), None)
    return Shape(name, paths[_CODE], paths[_MESSAGE], paths.get(_NOTICES), violations)


def _walk(
    document: Mapping[str, Any], top: Mapping[str, Any], start: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield each named schema inside a schema, with its path, in breadth-first order."""
    queue = [(top, start)]
    while queue:
        node, steps = queue.pop(0)
        if "$ref" in node:
            yield _name_of(node), steps
        schema = _resolve(document, node)
        queue += [(option, steps) for key in ("oneOf", "allOf") for option in schema.get(key, ())]
        queue += [(inner, (*steps, name)) for name, inner in schema.get("properties", {}).items()]
        if "items" in schema:
            queue.append((schema["items"], (*steps, 0)))


def _name_of(schema: Mapping[str, Any]) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def _follow(body: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        body = body[step]
    return body
