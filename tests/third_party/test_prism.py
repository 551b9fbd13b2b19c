"""No answer to a row or to a journey breaks the document, as Prism judges it.

Prism stands between the contract runs and the service. Whether a promise is kept, tests/contract
judges; here it is only whether an answer is one that the document describes.
`tox run -e prism` runs this.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import SERVICES, Row, load_rows
from tests.support.operator_acts import people_of
from tests.support.service import ROOT
from tests.support.services import started_as
from tests.support.tampering import spoiled
from tests.third_party.journeys import FILES, make_inputs, read_steps, run_respect
from tests.third_party.judging import Judged, Judgement, judged, violations_of

ROWS = load_rows()
PICTURE = ROOT / "contracts" / "journeys" / "picture.webp"
DIALECTS = sorted({row.dialect for row in ROWS})
SUCCESSES = {
    (operation_id, status)
    for operation_id, operation in OPERATIONS.items()
    for status in operation.responses
    if status < HTTPStatus.BAD_REQUEST
}


#: Those that a client can bring about.
REFUSALS = {
    (operation_id, status)
    for operation_id, operation in OPERATIONS.items()
    for status in operation.responses
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
}


@dataclass(frozen=True)
class Asked:
    """A service behind Prism, and its people, who are made through Prism too."""

    service: Judged
    people: Actors


@dataclass
class Tally:
    """What Prism has judged so far."""

    rows: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    kept_from: Counter[str] = field(default_factory=Counter)
    answers: set[tuple[str, int]] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def add_answers(self, judgements: list[Judgement]) -> None:
        for each in judgements:
            if each.operation_id and each.answer and not each.kept_from:
                self.answers.add((each.operation_id, each.answer.status))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str | None, Asked]]:
    """Each of the services that rows are for."""
    with ExitStack() as stack:
        found = {}
        for name in (None, *sorted(SERVICES)):
            folder = tmp_path_factory.mktemp(name or "open")
            running = stack.enter_context(started_as(name, folder))
            service = stack.enter_context(judged(running, running.port, folder))
            found[name] = Asked(service, stack.enter_context(people_of(service)))
        yield found


@pytest.fixture(scope="module")
def tally(show: Callable[[Table], None]) -> Iterator[Tally]:
    found = Tally()
    yield found
    numbers = ("rows", "judged", "not judged", "other requests judged")
    table = Table("dialect", *numbers, title="Answers to the rows, as Prism judges them")
    for column in table.columns[1:]:
        column.justify = "right"
    for dialect in DIALECTS:
        rows, good = found.rows[dialect], found.judged[dialect]
        table.add_row(dialect, *map(str, (rows, good, rows - good, found.others[dialect])))
    counts = (
        f"{len(found.answers & SUCCESSES)} of {len(SUCCESSES)} successes",
        f"{len(found.answers & REFUSALS)} of {len(REFUSALS)} refusals",
        f"{len(found.files)} files of journeys",
    )
    reasons = (f"{count:>4} not judged: {why}" for why, count in found.kept_from.most_common())
    table.caption = "\n".join([", ".join(counts), *reasons])
    table.caption_justify = "left"
    show(table)


def told(judgements: list[Judgement]) -> list[str]:
    """What was found in each of them that is broken."""
    return [
        f"{each.operation_id} {each.answer.status}: {violation}"
        for each in judgements
        for violation in each.violations
        if each.answer
    ]


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_no_answer_breaks_the_document(row: Row, asked: Mapping[str | None, Asked], tally: Tally):
    each = asked[row.raw.get("service")]
    before = len(each.service.judgements)
    runner = CaseRunner(row, each.service, each.people)
    judgement = each.service.judge(runner.prepare())
    found = each.service.judgements[before:]
    tally.rows[row.dialect] += 1
    tally.add_answers(found)
    tally.others[row.dialect] += sum(not other.kept_from for other in found[:-1])
    if judgement.kept_from:
        tally.kept_from[judgement.kept_from] += 1
    else:
        tally.judged[row.dialect] += 1
        # Or else it was not this row's answer that was judged.
        assert judgement.answer
        assert judgement.answer.status == row.status
    assert told(found) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
def test_no_answer_to_a_journey_breaks_the_document(
    path: Path, asked: Mapping[str | None, Asked], tally: Tally, tmp_path: Path
):
    service = asked[None].service
    inputs = make_inputs(service, asked[None].people)
    outcome = run_respect(path, f"http://127.0.0.1:{service.prism_port}", inputs, tmp_path)
    assert outcome.broken(path) == []
    for step, took in zip(read_steps(path), outcome.steps, strict=True):
        assert "x-request-id" in took.headers, took
        assert list(violations_of(took.headers.get("sl-violations", "[]"))) == [], took
        tally.answers.add((step.operation_id, took.status or 0))
    tally.files.add(path)


def test_each_success_of_each_operation_was_judged(tally: Tally):
    assert tally.rows.total() == len(ROWS), "not all rows were asked"
    assert tally.files == set(FILES), "not all journeys were taken"
    assert SUCCESSES - tally.answers == set()


def test_most_rows_were_judged_and_some_of_each_dialect(tally: Tally):
    assert tally.rows.total() == len(ROWS), "not all rows were asked"
    assert tally.judged.total() > len(ROWS) * 2 / 3
    assert tally.judged.keys() == set(DIALECTS)


# Broken on purpose: each of these Prism has to notice.

HEADER = "X-Spoil"


def lose_a_field(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content).pop(_first_field(content))
    return replace(answer, body=json.dumps(content).encode())


def add_a_field(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content)["debug"] = "yes"
    return replace(answer, body=json.dumps(content).encode())


def turn_a_value(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content)[_first_field(content)] = 7.5
    return replace(answer, body=json.dumps(content).encode())


def turn_the_status(answer: Answer) -> Answer:
    return replace(answer, status=int(HTTPStatus.NON_AUTHORITATIVE_INFORMATION))


def lose_the_request_id(answer: Answer) -> Answer:
    return replace(answer, headers=_without(answer, "x-request-id"))


def turn_the_content_type(answer: Answer) -> Answer:
    headers = (*_without(answer, "content-type"), ("Content-Type", "text/plain"))
    return replace(answer, headers=headers)


def leave_it(answer: Answer) -> Answer:
    return answer


def _first_field(content: Any) -> str:
    return str(next(iter(content[0] if isinstance(content, list) else content)))


def _without(answer: Answer, name: str) -> tuple[tuple[str, str], ...]:
    return tuple(each for each in answer.headers if each[0].lower() != name)


SPOILS: Mapping[str, Callable[[Answer], Answer]] = {
    "nothing": leave_it,
    "a required field is lost": lose_a_field,
    "a field is there that is not documented": add_a_field,
    "a value is of another type": turn_a_value,
    "a status is not documented": turn_the_status,
    "a required header is lost": lose_the_request_id,
    "a content type is another": turn_the_content_type,
}


@pytest.fixture(scope="module")
def behind_spoils(
    tmp_path_factory: pytest.TempPathFactory, asked: Mapping[str | None, Asked]
) -> Iterator[Judged]:
    """The service with the wrong proxy in front of it, and Prism in front of both."""

    def spoil(request: Request, forward: Callable[[Request], Answer]) -> Answer:
        wanted = dict(request.headers).get(HEADER.lower())
        kept = tuple(each for each in request.headers if each[0] != HEADER.lower())
        answer = forward(replace(request, headers=kept))
        return SPOILS[wanted or "nothing"](answer)

    service = asked[None].service
    with (
        spoiled(service.port, spoil) as port,
        judged(service, port, tmp_path_factory.mktemp("spoiled")) as running,
    ):
        yield running


def successes() -> Mapping[str, Row]:
    """A row of each operation that is about its success, and about something."""
    return {
        row.operation_id: row
        for row in reversed(ROWS)
        if row.operation_id
        # Who signs up under an address of the row's own has done so by now.
        and not {"path", "method", "service", "signup"} & row.raw.keys()
        and row.status < HTTPStatus.MULTIPLE_CHOICES
        and row.expect.get("body") != []
    }


def has_names(operation_id: str) -> bool:
    """Whether what a success answers is JSON with names that the document fixes."""
    body = successes()[operation_id].expect.get("body")
    return body is not None and operation_id not in {
        "hantera.getSettings",
        "hantera.replaceSettings",
        "hantera.updateSettings",
        "hantera.getPicture",
    }


def judge_spoiled(
    spoil: str, operation_id: str, service: Judged, people: Actors
) -> tuple[str, ...]:
    """Have the answer to one request spoiled, and give what Prism finds."""
    request = CaseRunner(successes()[operation_id], service, people).prepare()
    if operation_id == "hantera.uploadPicture":
        # The one of the journeys, which is text as well, or else Prism would not pass it on.
        headers = (request.headers[0], ("Content-Type", "image/webp"))
        request = replace(request, headers=headers, body=PICTURE.read_bytes())
    judgement = service.judge(replace(request, headers=(*request.headers, (HEADER, spoil))))
    assert judgement.kept_from == ""
    return judgement.violations


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_wrong_status_is_noticed(
    operation_id: str, behind_spoils: Judged, asked: Mapping[str | None, Asked]
):
    found = judge_spoiled(
        "a status is not documented", operation_id, behind_spoils, asked[None].people
    )
    assert any("status code" in each for each in found), found


@pytest.mark.parametrize("operation_id", [*filter(has_names, OPERATIONS)])
def test_a_lost_field_is_noticed(
    operation_id: str, behind_spoils: Judged, asked: Mapping[str | None, Asked]
):
    found = judge_spoiled(
        "a required field is lost", operation_id, behind_spoils, asked[None].people
    )
    assert any("required" in each for each in found), found


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_wrong_answer_is_noticed(
    spoil: str, behind_spoils: Judged, asked: Mapping[str | None, Asked]
):
    found = judge_spoiled(spoil, "ipto.getCurrentUser", behind_spoils, asked[None].people)
    assert bool(found) == (spoil != "nothing")
