"""Rows, run on the started services.

Generated rows that repeat a rule at another operation are left to `test_edge_rows` by day.
"""

from collections.abc import Callable, Mapping

import pytest

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner, run_case
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.http_client import Answer
from oneself_conformance.outcomes import Verdict
from tests.support.edge_rows import repetitions
from tests.support.service import Service

_REPEATED = repetitions(load_rows())
ROWS = [
    pytest.param(row, id=str(row), marks=pytest.mark.nightly if str(row) in _REPEATED else ())
    for row in load_rows()
]


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


@pytest.mark.parametrize("row", ROWS)
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
