"""The operations of the document, by id."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from oneself_conformance.document import OperationSpec, load_document, operation_specs, resolve

OPERATIONS: Mapping[str, OperationSpec] = {
    each.operation_id: each for each in operation_specs(load_document())
}


def schemes_of(operation: OperationSpec) -> tuple[str, ...]:
    """Return the security schemes that an operation accepts, in order."""
    requirements = load_document()["paths"][operation.path][operation.method]["security"]
    return tuple(dict.fromkeys(scheme for each in requirements for scheme in each))


def find_probe(scheme: str, dialect: str | None) -> OperationSpec | None:
    """Return an operation that reads with this kind of credential, to check one; None without."""
    for each in OPERATIONS.values():
        is_plain = each.method == "get" and "{" not in each.path
        needs_more = any(parameter.get("required") for parameter in each.parameters)
        is_own = dialect in {None, each.dialect}
        if is_own and is_plain and not needs_more and scheme in schemes_of(each):
            return each
    return None


def links_of(operation: OperationSpec) -> frozenset[str]:
    """Return the operations that an operation's responses link to."""
    return frozenset(
        link["operationId"]
        for response in operation.responses.values()
        for link in response.get("links", {}).values()
    )


def request_examples(operation: OperationSpec) -> Mapping[str, Any]:
    """Return the example of each media type of an operation's body."""
    spec = load_document()["paths"][operation.path][operation.method]["requestBody"]
    contents = resolve(load_document(), spec)["content"]
    return {media: content["example"] for media, content in contents.items()}


@cache
def documented_codes(operation_id: str, status: int) -> frozenset[str]:
    """Return the codes that an operation documents for a status: the keys of its examples."""
    contents = OPERATIONS[operation_id].responses.get(status, {}).get("content", {})
    return frozenset(name for each in contents.values() for name in each.get("examples", {}))
