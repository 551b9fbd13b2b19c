"""Rows of contracts/, run on the started services."""

from collections.abc import Callable, Mapping

import pytest

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import Answer
from oneself.conformance.outcomes import Verdict
from oneself.conformance.rows.case_runner import CaseRunner, run_case
from oneself.conformance.rows.table import Row, load_rows
from tests.support.service import Service

ROWS = load_rows()


@pytest.fixture
def runner_for(request: pytest.FixtureRequest) -> Callable[[Row], CaseRunner]:
    """Create the runner of a row, on the service that the row names."""

    def runner_for(row: Row) -> CaseRunner:
        name = row.raw.get("service")
        prefix = f"{name}_" if name else ""
        service: Service = request.getfixturevalue(f"{prefix}service")
        actors: Actors = request.getfixturevalue(f"{prefix}actors")
        return CaseRunner(row, service, actors)

    return runner_for


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row(
    row: Row,
    runner_for: Callable[[Row], CaseRunner],
    slow_row_answers: Mapping[str, tuple[CaseRunner, Answer]],
):
    """LG-01, LG-12, HT-24, among many: the row's request gets the expected response."""
    runner, answer = slow_row_answers.get(str(row), (None, None))
    outcome = run_case(runner or runner_for(row), answer and (lambda _: answer))
    # The tests have an operator, so no row is skipped.
    if outcome.verdict is not Verdict.PASSED:
        pytest.fail(outcome.as_text(), pytrace=False)
