"""The journeys of contracts/journeys arrive, as `redocly respect` judges them.

Respect holds each answer against the document by itself (status, content type, schema) and against
the step's own criteria. `tox run -e respect` runs this.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from tests.support.operator_acts import people_of
from tests.support.service import ROOT, Service
from tests.support.services import started_as
from tests.support.tampering import Spoil, spoiled
from tests.third_party.journeys import FILES, Outcome, Took, make_inputs, read_steps, run_respect

#: What no journey can show, and why.
UNSHOWN: Mapping[tuple[str, int], str] = {
    ("hantera.getPicture", 200): "respect takes bytes for an object, which `type: string` refuses",
}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])


@dataclass
class Shown:
    """What the journeys have shown so far, and the table of it."""

    table: Table
    files: set[Path] = field(default_factory=set)
    answers: set[tuple[str, int]] = field(default_factory=set)

    def add(self, path: Path, outcome: Outcome) -> None:
        self.files.add(path)
        steps = read_steps(path)
        for workflow_id in dict.fromkeys(step.workflow_id for step in steps):
            took = [each for each in outcome.steps if each.workflow_id == workflow_id]
            checks = [passed for each in took for _, passed, _ in each.checks]
            self.table.add_row(
                path.name.split(".")[0],
                workflow_id,
                str(sum(step.workflow_id == workflow_id for step in steps)),
                str(len(took)),
                str(len(checks)),
                str(sum(checks)),
                str(len(checks) - sum(checks)),
            )
        self.answers |= {
            (step.operation_id, each.status)
            for step, each in zip(steps, outcome.steps, strict=False)
            if each.status is not None and not each.failed
        }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started_as(None, tmp_path_factory.mktemp("journeys")) as running:
        yield running


@pytest.fixture(scope="module")
def people(service: Service) -> Iterator[Actors]:
    with people_of(service) as known:
        yield known


@pytest.fixture(scope="module")
def shown(show: Callable[[Table], None]) -> Shown:
    numbers = ("steps", "taken", "checks", "passed", "failed")
    table = Table("dialect", "journey", *numbers, title="Journeys, as redocly respect judges them")
    for column in table.columns[2:]:
        column.justify = "right"
    show(table)
    return Shown(table)


@every_file
def test_the_journeys_of_a_dialect_arrive(
    path: Path, service: Service, people: Actors, shown: Shown, tmp_path: Path
):
    outcome = run_respect(path, service.url, make_inputs(service, people), tmp_path)
    shown.add(path, outcome)
    assert outcome.broken(path) == []


@every_file
def test_each_step_says_which_status_it_wants(path: Path):
    for step in read_steps(path):
        assert step.conditions[0].startswith("$statusCode == "), step


def test_each_success_of_each_operation_is_shown_by_a_journey(shown: Shown):
    assert shown.files == set(FILES), "the journeys of some files have not been run"
    successes = {
        (operation_id, status)
        for operation_id, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.BAD_REQUEST
    }
    untouched = OPERATIONS.keys() - {operation_id for operation_id, _ in shown.answers}
    counts = (
        f"{len(OPERATIONS) - len(untouched)} of {len(OPERATIONS)} operations",
        f"{len(successes & shown.answers)} of {len(successes)} successes",
        f"{len(shown.answers - successes)} refusals",
    )
    reasons = (f"not shown: {name} {status}: {why}" for (name, status), why in UNSHOWN.items())
    shown.table.caption = "\n".join([", ".join(counts), *reasons])
    assert untouched == set()
    assert successes - shown.answers == UNSHOWN.keys()


# Broken on purpose: each of these respect has to notice.


def changed(method: str, target: str, change: Callable[[Answer], Answer]) -> Spoil:
    """Spoil the good answers of one operation."""

    def spoil(request: Request, forward: Callable[[Request], Answer]) -> Answer:
        answer = forward(request)
        wanted = (request.method, request.target) == (method, target)
        return change(answer) if wanted and answer.status < HTTPStatus.BAD_REQUEST else answer

    return spoil


def with_content(change: Callable[[Any], object]) -> Callable[[Answer], Answer]:
    """Spoil what is in a body of JSON."""

    def spoil(answer: Answer) -> Answer:
        content = answer.json()
        change(content)
        return replace(answer, body=json.dumps(content).encode())

    return spoil


def as_text(answer: Answer) -> Answer:
    headers = tuple(each for each in answer.headers if each[0].lower() != "content-type")
    return replace(answer, headers=(*headers, ("Content-Type", "text/plain")))


def revokes_nothing(request: Request, forward: Callable[[Request], Answer]) -> Answer:
    """Say that a key was revoked, and leave it."""
    if request.method == "DELETE" and request.target.startswith("/v1/api-keys/"):
        return Answer(204, (("X-Request-Id", "req_0a1b2c3d4e5f"),), b"")
    return forward(request)


def as_it_is(request: Request, forward: Callable[[Request], Answer]) -> Answer:
    return forward(request)


SPOILED: Mapping[str, tuple[Spoil, str, str]] = {
    "a required field is lost": (
        changed("GET", "/v1/me", with_content(lambda content: content["data"].pop("roles"))),
        "currentUser",
        "schema check",
    ),
    "a field is there that is not documented": (
        changed("GET", "/v1/me", with_content(lambda content: content.update(debug="yes"))),
        "currentUser",
        "schema check",
    ),
    "a value has another form": (
        changed("GET", "/v1/me", with_content(lambda content: content["data"].update(user_id="7"))),
        "currentUser",
        "schema check",
    ),
    "a value is somebody else's": (
        changed(
            "GET",
            "/v1/me",
            with_content(lambda content: content["data"].update(user_id="usr_000000000000")),
        ),
        "currentUser",
        "success criteria check",
    ),
    "a status is not documented": (
        changed("POST", "/v1/api-keys", lambda answer: replace(answer, status=202)),
        "makeKey",
        "status code check",
    ),
    "a status is documented, and another's": (
        changed("POST", "/v1/api-keys", lambda answer: replace(answer, status=409)),
        "makeKey",
        "success criteria check",
    ),
    "a content type is another": (
        changed("GET", "/v1/api-keys", as_text),
        "listKeys",
        "content-type check",
    ),
    "what was revoked still works": (
        revokes_nothing,
        "revokedKeyIsRefused",
        "success criteria check",
    ),
}


def run_spoiled(spoil: Spoil, service: Service, folder: Path) -> Outcome:
    path = ROOT / "contracts" / "journeys" / "ipto.arazzo.yaml"
    inputs = {"nonce": secrets.token_hex(6)}
    with spoiled(service.port, spoil) as port:
        return run_respect(path, f"http://127.0.0.1:{port}", inputs, folder, journey="apiKeys")


@pytest.mark.parametrize("name", SPOILED)
def test_a_wrong_answer_is_noticed(name: str, service: Service, tmp_path: Path):
    spoil, step_id, check = SPOILED[name]
    outcome = run_spoiled(spoil, service, tmp_path)
    [failed] = [each for each in outcome.steps if each.step_id == step_id]
    assert check in failed_checks(failed), failed
    assert outcome.exit_status != 0


def test_the_wrong_proxy_is_wrong_in_nothing_else(service: Service, tmp_path: Path):
    outcome = run_spoiled(as_it_is, service, tmp_path)
    assert [each.step_id for each in outcome.steps if each.failed] == []
    assert outcome.exit_status == 0


def test_a_journey_that_was_not_taken_is_noticed(service: Service, tmp_path: Path):
    outcome = run_spoiled(as_it_is, service, tmp_path)
    [missing] = outcome.broken(ROOT / "contracts" / "journeys" / "ipto.arazzo.yaml")
    assert missing.startswith("steps: ")


def failed_checks(step: Took) -> set[str]:
    return {name for name, passed, _ in step.checks if not passed}
