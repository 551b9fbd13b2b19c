"""Completeness of a run: of each operation, the success, the effect and the refusals seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from oneself_conformance.outcomes import Outcome, Verdict

__all__ = ["OperationSeen", "find_unseen", "summarize"]

#: How the reasons begin that no option of a run can do away with.
_BEYOND_HTTP = ("it needs an operator", "it needs access to email", "it needs a deployment")


@dataclass(frozen=True)
class OperationSeen:
    """The outcomes of an operation: its successes, its effects, and its refusals by status."""

    operation: str
    success: Verdict | None
    effect: Verdict | None
    refusals: Mapping[int, Verdict]
    is_excused: bool

    @property
    def is_unseen(self) -> bool:
        """True if no success was seen, and one could have been."""
        return self.success is not Verdict.PASSED and not self.is_excused


def summarize(outcomes: Sequence[Outcome], operations: Iterable[str]) -> list[OperationSeen]:
    """Return the outcomes of each operation in order."""
    rows = [each for each in outcomes if each.suite == "rows"]
    return [_summary(operation, rows) for operation in operations]


def find_unseen(summary: Iterable[OperationSeen]) -> list[str]:
    """Return the operations without a success."""
    return [each.operation for each in summary if each.is_unseen]


def _summary(operation: str, rows: Sequence[Outcome]) -> OperationSeen:
    own = [each for each in rows if each.operation == operation]
    successes = [each for each in own if each.status < HTTPStatus.BAD_REQUEST]
    statuses = sorted({each.status for each in own if each.status >= HTTPStatus.BAD_REQUEST})
    return OperationSeen(
        operation,
        _worst(successes),
        _worst([each for each in rows if each.effect_of == operation]),
        {status: _worst([each for each in own if each.status == status]) or Verdict.SKIPPED
         for status in statuses},
        # Only an operator, or the owner of a mailbox, could see it succeed.
        bool(successes)
        and all(
            each.verdict is Verdict.SKIPPED
            and all(reason.startswith(_BEYOND_HTTP) for reason in each.reasons)
            for each in successes
        ),
    )  # fmt: skip


def _worst(outcomes: Iterable[Outcome]) -> Verdict | None:
    """Return failed if one failed, else passed if one passed, else skipped; None without any."""
    verdicts = {each.verdict for each in outcomes}
    for verdict in (Verdict.FAILED, Verdict.PASSED, Verdict.SKIPPED):
        if verdict in verdicts:
            return verdict
    return None
