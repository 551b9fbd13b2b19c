"""Base class of mutants: ways to break one operation of the document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

from oneself.document import OperationSpec
from oneself_conformance.cases.table import load_rows
from oneself_conformance.http_client import Answer
from oneself_conformance.operations import OPERATIONS

__all__ = ["Mutant", "RowFields", "tested_codes", "tested_statuses"]

#: The fields of a row whose request a mutant should answer differently.
RowFields = Mapping[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One mutation of one operation; each rule is a subclass that generates its mutants.

    A rule changes either responses, or the document that the service is built from. The tests use
    the unchanged document.
    """

    operation_id: str

    #: Why a mutant without observable difference is equivalent.
    equivalence: ClassVar[str] = "the invalid request gets the same response"

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield each mutant of the rule for an operation."""
        raise NotImplementedError

    @property
    def rule(self) -> str:
        """The name of its rule."""
        return type(self).__name__

    @property
    def operation(self) -> OperationSpec:
        """The operation that it mutates."""
        return OPERATIONS[self.operation_id]

    def change_answer(self, answer: Answer) -> Answer:
        """Return the changed response; by default unchanged."""
        return answer

    def change_document(self, document: Any) -> None:
        """Change the document that the service is built from; by default not."""

    def distinguishing_row(self) -> RowFields | None:
        """Return a request that the mutant should answer differently, or None if there is none."""
        return None


@cache
def tested_statuses(operation_id: str) -> frozenset[int]:
    """Return the statuses that rows expect from a service with default settings.

    Others need special settings or failures, which mutants do not have: 500, 503, most of 429, and
    refusals by an operator's policies.
    """
    return frozenset(status for each, status, _ in _tested() if each == operation_id)


@cache
def tested_codes(operation_id: str, status: int) -> frozenset[str]:
    """Return the refusals with a status that rows expect, with default settings."""
    return frozenset(
        code for each, answered, code in _tested() if (each, answered) == (operation_id, status)
    ) - {""}


@cache
def _tested() -> frozenset[tuple[str, int, str]]:
    return frozenset(
        (row.operation_id, row.status, row.code or "")
        for row in load_rows()
        if row.operation_id is not None and not {"service", "path"} & row.raw.keys()
    )
