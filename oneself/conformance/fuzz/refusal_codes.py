"""Refusal codes: read from a body, and listed by the document."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.table import refusal_shapes
from oneself.document import load_document, resolve

__all__ = ["codes_in", "documented_codes"]


def codes_in(dialect: str, body: Any) -> list[str]:
    """Return the codes in the body of a refusal, in the places of its dialect.

    Each item of a list of violations can have a code, as in ScaiKey.
    """
    return [str(each) for each in _found(refusal_shapes().code_paths(dialect), body)]


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
    """Return the codes that an operation documents for a status: the keys of its examples."""
    response = OPERATIONS[operation_id].responses.get(status, {})
    return frozenset(
        name
        for content in resolve(load_document(), response).get("content", {}).values()
        for name in content.get("examples", {})
    )
