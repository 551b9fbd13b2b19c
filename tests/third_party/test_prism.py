"""Responses to rows and journeys conform to the document, as validated by Prism.

Prism is a proxy between the rows and the service. tests/contract checks the rows themselves; these
tests check only that the document describes each response. `tox run -e third-party` runs them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

import pytest
from rich.table import Table

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import SERVICES, Row, load_rows
from oneself_conformance.document import DATA
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from tests.support.operator_acts import open_actors
from tests.support.services import started_as
from tests.support.tampering import tampering_proxy
from tests.third_party.faults import FAULTS
from tests.third_party.journeys import FILES, make_inputs, read_steps, run_respect
from tests.third_party.prism import PrismResult, PrismService, prism_proxy, violations_of

ROWS = load_rows()
PICTURE = DATA / "journeys" / "picture.webp"
DIALECTS = sorted({row.dialect for row in ROWS})
SUCCESSES = {
    (operation_id, status)
    for operation_id, operation in OPERATIONS.items()
    for status in operation.responses
    if status < HTTPStatus.BAD_REQUEST
}

#: The refusals that a client can cause.
REFUSALS = {
    (operation_id, status)
    for operation_id, operation in OPERATIONS.items()
    for status in operation.responses
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
}


@dataclass(frozen=True)
class ProxiedService:
    """A service behind Prism, and its users, who are also created through Prism."""

    service: PrismService
    actors: Actors


@dataclass
class Tally:
    """The numbers of responses that Prism has validated so far."""

    rows: Counter[str] = field(default_factory=Counter)
    validated: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    answers: set[tuple[str, int]] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def add_answers(self, results: list[PrismResult]) -> None:
        for each in results:
            if each.operation_id and each.answer and not each.reason:
                self.answers.add((each.operation_id, each.answer.status))


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str | None, ProxiedService]]:
    """The services that rows run on, by name."""
    with ExitStack() as stack:
        found = {}
        for name in (None, *sorted(SERVICES)):
            folder = tmp_path_factory.mktemp(name or "open")
            running = stack.enter_context(started_as(name, folder))
            service = stack.enter_context(prism_proxy(running, running.port, folder))
            found[name] = ProxiedService(service, stack.enter_context(open_actors(service)))
        yield found


@pytest.fixture(scope="module")
def tally(show: Callable[[Table], None]) -> Iterator[Tally]:
    totals = Tally()
    yield totals
    numbers = ("rows", "validated", "not validated", "other requests validated")
    table = Table("dialect", *numbers, title="Responses to the rows, validated by Prism")
    for column in table.columns[1:]:
        column.justify = "right"
    for dialect in DIALECTS:
        rows, good = totals.rows[dialect], totals.validated[dialect]
        table.add_row(dialect, *map(str, (rows, good, rows - good, totals.others[dialect])))
    counts = (
        f"{len(totals.answers & SUCCESSES)} of {len(SUCCESSES)} successes",
        f"{len(totals.answers & REFUSALS)} of {len(REFUSALS)} refusals",
        f"{len(totals.files)} files of journeys",
    )
    lines = (f"{count:>4} not validated: {why}" for why, count in totals.reasons.most_common())
    table.caption = "\n".join([", ".join(counts), *lines])
    table.caption_justify = "left"
    show(table)


def violations_in(results: list[PrismResult]) -> list[str]:
    """Return the violations in all results."""
    return [
        f"{each.operation_id} {each.answer.status}: {violation}"
        for each in results
        for violation in each.violations
        if each.answer
    ]


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_row_response_conforms_to_document(
    row: Row, services: Mapping[str | None, ProxiedService], tally: Tally
):
    each = services[row.raw.get("service")]
    before = len(each.service.results)
    runner = CaseRunner(row, each.service, each.actors)
    result = each.service.send(runner.prepare())
    found = each.service.results[before:]
    tally.rows[row.dialect] += 1
    tally.add_answers(found)
    tally.others[row.dialect] += sum(not other.reason for other in found[:-1])
    if result.reason:
        tally.reasons[result.reason] += 1
    else:
        tally.validated[row.dialect] += 1
        # Otherwise Prism would have validated the response to another request.
        assert result.answer
        assert result.answer.status == row.status
    assert violations_in(found) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
def test_journey_responses_conform_to_document(
    path: Path, services: Mapping[str | None, ProxiedService], tally: Tally, tmp_path: Path
):
    service = services[None].service
    inputs = make_inputs(service, services[None].actors)
    outcome = run_respect(path, f"http://127.0.0.1:{service.prism_port}", inputs, tmp_path)
    assert outcome.violations(path) == []
    for step, result in zip(read_steps(path), outcome.steps, strict=True):
        assert "x-request-id" in result.headers, result
        assert list(violations_of(result.headers.get("sl-violations", "[]"))) == [], result
        tally.answers.add((step.operation_id, result.status or 0))
    tally.files.add(path)


def test_every_success_of_every_operation_was_validated(tally: Tally):
    assert tally.rows.total() == len(ROWS), "not all rows were run"
    assert tally.files == set(FILES), "not all journeys were run"
    assert SUCCESSES - tally.answers == set()


def test_most_rows_were_validated_and_some_of_each_dialect(tally: Tally):
    assert tally.rows.total() == len(ROWS), "not all rows were run"
    assert tally.validated.total() > len(ROWS) * 2 / 3
    assert tally.validated.keys() == set(DIALECTS)


# Faults that Prism must detect.

HEADER = "X-Spoil"


@pytest.fixture(scope="module")
def faulty_prism(
    tmp_path_factory: pytest.TempPathFactory, services: Mapping[str | None, ProxiedService]
) -> Iterator[PrismService]:
    """The service behind a faulty proxy, and Prism in front of both."""

    def spoil(request: Request, forward: Callable[[Request], Answer]) -> Answer:
        fault = dict(request.headers).get(HEADER.lower())
        headers = tuple(each for each in request.headers if each[0] != HEADER.lower())
        answer = forward(replace(request, headers=headers))
        return FAULTS[fault or "nothing"](answer)

    service = services[None].service
    with (
        tampering_proxy(service.port, spoil) as port,
        prism_proxy(service, port, tmp_path_factory.mktemp("spoiled")) as running,
    ):
        yield running


def successes() -> Mapping[str, Row]:
    """Return a row with a non-empty success for each operation."""
    return {
        row.operation_id: row
        for row in reversed(ROWS)
        if row.operation_id
        # A fixed signup address of a row is already taken by now.
        and not {"path", "method", "service", "signup"} & row.raw.keys()
        and row.status < HTTPStatus.MULTIPLE_CHOICES
        and row.expect.get("body") != []
    }


def has_names(operation_id: str) -> bool:
    """Return whether the success of an operation is JSON with documented names."""
    body = successes()[operation_id].expect.get("body")
    return body is not None and operation_id not in {
        "hantera.getSettings",
        "hantera.replaceSettings",
        "hantera.updateSettings",
        "hantera.getPicture",
    }


def send_spoiled(
    spoil: str, operation_id: str, service: PrismService, actors: Actors
) -> tuple[str, ...]:
    """Send a request with a fault in its response, and return Prism's violations."""
    request = CaseRunner(successes()[operation_id], service, actors).prepare()
    if operation_id == "hantera.uploadPicture":
        # The picture of the journeys is text as well; Prism would not forward another.
        headers = (request.headers[0], ("Content-Type", "image/webp"))
        request = replace(request, headers=headers, body=PICTURE.read_bytes())
    result = service.send(replace(request, headers=(*request.headers, (HEADER, spoil))))
    assert result.reason == ""
    return result.violations


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_wrong_status_is_detected(
    operation_id: str, faulty_prism: PrismService, services: Mapping[str | None, ProxiedService]
):
    found = send_spoiled("undocumented status", operation_id, faulty_prism, services[None].actors)
    assert any("status code" in each for each in found), found


@pytest.mark.parametrize("operation_id", [*filter(has_names, OPERATIONS)])
def test_missing_field_is_detected(
    operation_id: str, faulty_prism: PrismService, services: Mapping[str | None, ProxiedService]
):
    found = send_spoiled(
        "missing required field", operation_id, faulty_prism, services[None].actors
    )
    assert any("required" in each for each in found), found


@pytest.mark.parametrize("spoil", FAULTS)
def test_fault_is_detected(
    spoil: str, faulty_prism: PrismService, services: Mapping[str | None, ProxiedService]
):
    found = send_spoiled(spoil, "ipto.getCurrentUser", faulty_prism, services[None].actors)
    assert bool(found) == (spoil != "nothing")
