"""Each promise in contracts/ is kept by the running service."""

from collections.abc import Callable, Mapping

import pytest

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import Answer
from oneself.conformance.outcomes import Verdict
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row, load_rows
from oneself.conformance.rows.verdicts import run_case
from tests.support.service import Service

ROWS = load_rows()


@pytest.fixture
def idempotent_attempt(request: pytest.FixtureRequest) -> Callable[[Row], CaseRunner]:
    """Begins a row, at the service that it is for."""

    def idempotent_attempt(row: Row) -> CaseRunner:
        named = row.raw.get("service")
        prefix = f"{named}_" if named else ""
        service: Service = request.getfixturevalue(f"{prefix}service")
        people: Actors = request.getfixturevalue(f"{prefix}people")
        return CaseRunner(row, service, people)

    return idempotent_attempt


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_the_promise_is_kept(
    row: Row,
    idempotent_attempt: Callable[[Row], CaseRunner],
    answers_to_dribbles: Mapping[str, tuple[CaseRunner, Answer]],
):
    """LG-01, LG-12, HT-24, among many: the row's request gets the row's answer."""
    runner, answer = answers_to_dribbles.get(str(row), (None, None))
    outcome = run_case(runner or idempotent_attempt(row), answer and (lambda _: answer))
    # Here an operator is beside the service, so there is nothing that cannot be asked.
    if outcome.verdict is not Verdict.PASSED:
        pytest.fail(outcome.as_text(), pytrace=False)
