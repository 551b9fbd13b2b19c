"""Asking for a row, and judging what is answered."""

from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException

from oneself.conformance.deployment import Unreachable
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.rows.assertions import find_violations
from oneself.conformance.rows.case_runner import CaseRunner, StepFailed
from oneself.conformance.rows.table import Row

__all__ = ["Ask", "run_case"]

#: Sends a row's own request.
Ask = Callable[[Request], Answer]

_LONGEST_ANSWER = 2_000


def run_case(attempt: CaseRunner, ask: Ask | None = None) -> Outcome:
    """What comes of a row: its steps, its request, and whether the answer keeps the promise."""
    row = attempt.row
    try:
        request = attempt.prepare()
    except Unreachable as error:
        return _outcome(row, Verdict.NOT_ASKED, str(error))
    except StepFailed as failed:
        outcome = _told(attempt, failed.request, failed.answer, [str(failed)])
        return replace(outcome, failed_step=failed.operation_id)
    except (OSError, HTTPException) as error:
        return _outcome(row, Verdict.BROKEN, f"a step gets no answer ({type(error).__name__})")
    try:
        answer = (ask or attempt.deployment.ask)(request)
    except (OSError, HTTPException) as error:
        return _outcome(row, Verdict.BROKEN, f"there is no answer ({type(error).__name__})")
    broken = find_violations(
        row,
        request,
        answer,
        now=attempt.now,
        look_up=attempt.look_up,
        behind_proxy=attempt.deployment.behind_proxy,
    )
    if broken:
        return _told(attempt, request, answer, broken)
    return _outcome(row, Verdict.KEPT)


def _outcome(row: Row, verdict: Verdict, *reasons: str) -> Outcome:
    return Outcome("rows", row.dialect, str(row), str(row.raw["source"]), verdict, reasons)


def _told(attempt: CaseRunner, request: Request, answer: Answer, broken: list[str]) -> Outcome:
    """A broken promise with all that repeats it."""
    return Outcome(
        "rows",
        attempt.row.dialect,
        str(attempt.row),
        str(attempt.row.raw["source"]),
        Verdict.BROKEN,
        tuple(broken),
        request=f"{request.method} {request.target}",
        repeat=request.as_curl(attempt.deployment.url),
        answer=f"{answer.status} {answer.body[:_LONGEST_ANSWER].decode(errors='replace')}",
    )
