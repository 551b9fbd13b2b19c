"""What a mutant is: one way in which a service could break one operation of its document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

from oneself.conformance.http_client import Answer
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.table import load_rows
from oneself.document import OperationSpec

__all__ = ["Mutant", "Telling", "codes_asked", "statuses_asked"]

#: A request that a mutant should answer in another way, as a row has it: its keys are a row's.
Telling = Mapping[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One mutation of one operation; each rule is a class of these, and knows all of its own.

    A rule changes answers on their way out, or the document that the service is built from. The
    judge keeps the true document.
    """

    operation_id: str

    #: What it means that nothing shows a difference.
    alike: ClassVar[str] = "what it should refuse is answered alike"

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each mutant of one operation that the rule can make from the document."""
        raise NotImplementedError

    @property
    def rule(self) -> str:
        """The rule that it is made by."""
        return type(self).__name__

    @property
    def operation(self) -> OperationSpec:
        """The operation that it breaks."""
        return OPERATIONS[self.operation_id]

    def change_answer(self, answer: Answer) -> Answer:
        """What comes of an answer of the operation; most rules leave it as it is."""
        return answer

    def change_document(self, document: Any) -> None:
        """Change the document that the service is built from; most rules leave it as it is."""

    def tell(self) -> Telling | None:
        """What a mutant of the document answers in another way; None where no request can."""
        return None


@cache
def statuses_asked(operation_id: str) -> frozenset[int]:
    """The statuses that the rows bring about by themselves.

    Others need a service that is closed, frozen, scarce or failing, which no mutant is: 500, 503,
    nearly all of 429, and what only an operator's own policy refuses.
    """
    return frozenset(status for each, status, _ in _asked() if each == operation_id)


@cache
def codes_asked(operation_id: str, status: int) -> frozenset[str]:
    """The refusals with a status that the rows bring about by themselves."""
    return frozenset(
        code for each, answered, code in _asked() if (each, answered) == (operation_id, status)
    ) - {""}


@cache
def _asked() -> frozenset[tuple[str, int, str]]:
    return frozenset(
        (row.operation_id, row.status, row.code or "")
        for row in load_rows()
        if row.operation_id is not None and not {"service", "path"} & row.raw.keys()
    )
