"""The operations of the document, by their ids."""

from collections.abc import Mapping

from oneself.document import Described, described_operations, load_document

__all__ = ["OPERATIONS", "links_of", "schemes_of"]

OPERATIONS: Mapping[str, Described] = {
    each.operation_id: each for each in described_operations(load_document())
}


def schemes_of(operation: Described) -> tuple[str, ...]:
    """The security schemes of the document that an operation accepts, in its order."""
    requirements = load_document()["paths"][operation.path][operation.method]["security"]
    return tuple(dict.fromkeys(scheme for each in requirements for scheme in each))


def links_of(operation: Described) -> frozenset[str]:
    """The operations that the links of an operation's answers lead to."""
    return frozenset(
        link["operationId"]
        for response in operation.responses.values()
        for link in response.get("links", {}).values()
    )
