"""The operations of the document, by id."""

from collections.abc import Mapping

from oneself.document import OperationSpec, load_document, operation_specs

__all__ = ["OPERATIONS", "links_of", "schemes_of"]

OPERATIONS: Mapping[str, OperationSpec] = {
    each.operation_id: each for each in operation_specs(load_document())
}


def schemes_of(operation: OperationSpec) -> tuple[str, ...]:
    """Return the security schemes that an operation accepts, in order."""
    requirements = load_document()["paths"][operation.path][operation.method]["security"]
    return tuple(dict.fromkeys(scheme for each in requirements for scheme in each))


def links_of(operation: OperationSpec) -> frozenset[str]:
    """Return the operations that an operation's responses link to."""
    return frozenset(
        link["operationId"]
        for response in operation.responses.values()
        for link in response.get("links", {}).values()
    )
