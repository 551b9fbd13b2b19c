"""Verdict of a row: run it and check the response."""

from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException

from oneself.conformance.deployment import Unreachable
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.rows.assertions import find_violations
from oneself.conformance.rows.case_runner import CaseRunner, StepFailed
from oneself.conformance.rows.table import Row

__all__ = ["Send", "outcome_of", "run_case"]

#: Sends the request of a row.
Send = Callable[[Request], Answer]

_MAX_ANSWER_LENGTH = 2_000


def run_case(runner: CaseRunner, ask: Send | None = None) -> Outcome:
    """Run the steps and the request of a row, and return the outcome."""
    row = runner.row
    try:
        request = runner.prepare()
    except Unreachable as error:
        return outcome_of(row, Verdict.SKIPPED, str(error))
    except StepFailed as failed:
        outcome = _failure(runner, failed.request, failed.answer, [str(failed)])
        return replace(outcome, failed_step=failed.operation_id)
    except (OSError, HTTPException) as error:
        return outcome_of(row, Verdict.FAILED, f"a step got no response ({type(error).__name__})")
    try:
        answer = (ask or runner.deployment.ask)(request)
    except (OSError, HTTPException) as error:
        return outcome_of(row, Verdict.FAILED, f"there is no response ({type(error).__name__})")
    broken = find_violations(
        row,
        request,
        answer,
        now=runner.now,
        look_up=runner.look_up,
        behind_proxy=runner.deployment.behind_proxy,
    )
    if broken:
        return _failure(runner, request, answer, broken)
    return outcome_of(row, Verdict.PASSED)


def outcome_of(row: Row, verdict: Verdict, *reasons: str) -> Outcome:
    """Return the outcome of a row."""
    return Outcome("rows", row.dialect, str(row), str(row.raw["source"]), verdict, reasons)


def _failure(runner: CaseRunner, request: Request, answer: Answer, broken: list[str]) -> Outcome:
    """Return the outcome of a failed row, with a command that repeats it."""
    return replace(
        outcome_of(runner.row, Verdict.FAILED, *broken),
        request=f"{request.method} {request.target}",
        repeat=request.as_curl(runner.deployment.url),
        answer=f"{answer.status} {answer.body[:_MAX_ANSWER_LENGTH].decode(errors='replace')}",
    )
