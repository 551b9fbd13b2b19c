"""What a refusal is called, read from its body, and what it may be called by the document."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.table import refusal_shapes
from oneself.document import load_document, resolve

__all__ = ["codes_in", "documented_codes"]


def codes_in(dialect: str, body: Any) -> list[str]:
    """Every code in the body of a refusal, where its dialect has them; none if it has none.

    A list of violations may have a code in each item, as ScaiKey's has.
    """
    return [str(each) for each in _found(refusal_shapes().where_codes_are(dialect), body)]


def _found(places: tuple[tuple[str, ...], ...], body: Any) -> Iterator[Any]:
    for place in places:
        values = [body]
        for step in place:
            values = [
                below[step]
                for each in values
                for below in (each if isinstance(each, list) else [each])
                if isinstance(below, Mapping) and step in below
            ]
        yield from values


@cache
def documented_codes(operation_id: str, status: int) -> frozenset[str]:
    """The codes that an operation documents for a status: the keys of its examples."""
    response = OPERATIONS[operation_id].responses.get(status, {})
    return frozenset(
        name
        for content in resolve(load_document(), response).get("content", {}).values()
        for name in content.get("examples", {})
    )
