"""Each promise in contracts/ is kept by the running service."""

from collections.abc import Callable, Mapping

import pytest

from tests.support.asking import Answer
from tests.support.attempts import Attempt
from tests.support.keeping import broken_by
from tests.support.people import People
from tests.support.rows import Row, load_rows
from tests.support.service import Service

ROWS = load_rows()


@pytest.fixture
def attempt_of(request: pytest.FixtureRequest) -> Callable[[Row], Attempt]:
    """Begins a row, at the service that it is for."""

    def attempt_of(row: Row) -> Attempt:
        named = row.raw.get("service")
        prefix = f"{named}_" if named else ""
        service: Service = request.getfixturevalue(f"{prefix}service")
        people: People = request.getfixturevalue(f"{prefix}people")
        return Attempt(row, service, people)

    return attempt_of


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_the_promise_is_kept(
    row: Row,
    attempt_of: Callable[[Row], Attempt],
    answers_to_dribbles: Mapping[str, tuple[Attempt, Answer]],
):
    """LG-01, LG-12, among many: the row's request gets the row's answer."""
    attempt = attempt_of(row)
    request = attempt.prepare()
    if row.dribbles:
        attempt, answer = answers_to_dribbles[str(row)]
    else:
        answer = attempt.service.ask(request)
    broken = broken_by(row, request, answer, now=attempt.now, look_up=attempt.look_up)
    if broken:
        lines = [
            row.promise,
            f"source:  {row.raw['source']}",
            f"request: {request.method} {request.target}",
            f"repeat:  {request.as_curl(attempt.service.url)}",
            f"answer:  {answer.status} {answer.body[:2000].decode(errors='replace')}",
            *(f"broken:  {each}" for each in broken),
        ]
        pytest.fail("\n".join(lines), pytrace=False)
