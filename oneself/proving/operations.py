"""The operations of the document, by their ids."""

from collections.abc import Mapping

from oneself.document import Described, described_operations, load_document

__all__ = ["OPERATIONS"]

OPERATIONS: Mapping[str, Described] = {
    each.operation_id: each for each in described_operations(load_document())
}
