"""Journeys, run and validated by `redocly respect`.

Respect validates each response against the document (status, content type, schema) and against the
criteria of the step. `tox run -e third-party` runs these tests.
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

from oneself_conformance.actors import Actors
from oneself_conformance.document import DATA
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from tests.support.operator_acts import open_actors
from tests.support.service import Service
from tests.support.services import started_as
from tests.support.tampering import Tamper, tampering_proxy
from tests.third_party.journeys import (
    FILES,
    Outcome,
    StepResult,
    make_inputs,
    read_steps,
    run_respect,
)

#: Responses that no journey can cover, with reasons.
NOT_COVERED: Mapping[tuple[str, int], str] = {
    ("hantera.getPicture", 200): "respect reads bytes as an object, which `type: string` rejects"
}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])


@dataclass
class Coverage:
    """The responses covered so far, and their table."""

    table: Table
    files: set[Path] = field(default_factory=set)
    answers: set[tuple[str, int]] = field(default_factory=set)

    def add(self, path: Path, outcome: Outcome) -> None:
        self.files.add(path)
        steps = read_steps(path)
        for workflow_id in dict.fromkeys(step.workflow_id for step in steps):
            results = [each for each in outcome.steps if each.workflow_id == workflow_id]
            checks = [passed for each in results for _, passed, _ in each.checks]
            self.table.add_row(
                path.name.split(".")[0],
                workflow_id,
                str(sum(step.workflow_id == workflow_id for step in steps)),
                str(len(results)),
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
def actors(service: Service) -> Iterator[Actors]:
    with open_actors(service) as users:
        yield users


@pytest.fixture(scope="module")
def coverage(show: Callable[[Table], None]) -> Coverage:
    numbers = ("steps", "run", "checks", "passed", "failed")
    table = Table("dialect", "journey", *numbers, title="Journeys run by redocly respect")
    for column in table.columns[2:]:
        column.justify = "right"
    show(table)
    return Coverage(table)


@every_file
def test_journeys_of_dialect_pass(
    path: Path, service: Service, actors: Actors, coverage: Coverage, tmp_path: Path
):
    outcome = run_respect(path, service.url, make_inputs(service, actors), tmp_path)
    coverage.add(path, outcome)
    assert outcome.violations(path) == []


@every_file
def test_every_step_expects_a_status(path: Path):
    for step in read_steps(path):
        assert step.conditions[0].startswith("$statusCode == "), step


def test_journeys_cover_every_success_of_every_operation(coverage: Coverage):
    assert coverage.files == set(FILES), "the journeys of some files were not run"
    successes = {
        (operation_id, status)
        for operation_id, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.BAD_REQUEST
    }
    untouched = OPERATIONS.keys() - {operation_id for operation_id, _ in coverage.answers}
    counts = (
        f"{len(OPERATIONS) - len(untouched)} of {len(OPERATIONS)} operations",
        f"{len(successes & coverage.answers)} of {len(successes)} successes",
        f"{len(coverage.answers - successes)} refusals",
    )
    reasons = (
        f"not covered: {name} {status}: {why}" for (name, status), why in NOT_COVERED.items()
    )
    coverage.table.caption = "\n".join([", ".join(counts), *reasons])
    assert untouched == set()
    assert successes - coverage.answers == NOT_COVERED.keys()


# Faults that respect must detect.


def changing(method: str, target: str, change: Callable[[Answer], Answer]) -> Tamper:
    """Change the successful responses of an operation."""

    def spoil(request: Request, forward: Callable[[Request], Answer]) -> Answer:
        answer = forward(request)
        is_target = (request.method, request.target) == (method, target)
        return change(answer) if is_target and answer.status < HTTPStatus.BAD_REQUEST else answer

    return spoil


def with_content(change: Callable[[Any], object]) -> Callable[[Answer], Answer]:
    """Change the content of a JSON body."""

    def spoil(answer: Answer) -> Answer:
        content = answer.json()
        change(content)
        return replace(answer, body=json.dumps(content).encode())

    return spoil


def change_content_type(answer: Answer) -> Answer:
    headers = tuple(each for each in answer.headers if each[0].lower() != "content-type")
    return replace(answer, headers=(*headers, ("Content-Type", "text/plain")))


def ignore_revocation(request: Request, forward: Callable[[Request], Answer]) -> Answer:
    """Claim to revoke an API key without doing it."""
    if request.method == "DELETE" and request.target.startswith("/v1/api-keys/"):
        return Answer(204, (("X-Request-Id", "req_0a1b2c3d4e5f"),), b"")
    return forward(request)


def change_nothing(request: Request, forward: Callable[[Request], Answer]) -> Answer:
    return forward(request)


FAULTS: Mapping[str, tuple[Tamper, str, str]] = {
    "missing required field": (
        changing("GET", "/v1/me", with_content(lambda content: content["data"].pop("roles"))),
        "currentUser",
        "schema check",
    ),
    "undocumented field": (
        changing("GET", "/v1/me", with_content(lambda content: content.update(debug="yes"))),
        "currentUser",
        "schema check",
    ),
    "malformed value": (
        changing(
            "GET", "/v1/me", with_content(lambda content: content["data"].update(user_id="7"))
        ),
        "currentUser",
        "schema check",
    ),
    "value of another user": (
        changing(
            "GET",
            "/v1/me",
            with_content(lambda content: content["data"].update(user_id="usr_000000000000")),
        ),
        "currentUser",
        "success criteria check",
    ),
    "undocumented status": (
        changing("POST", "/v1/api-keys", lambda answer: replace(answer, status=202)),
        "createKey",
        "status code check",
    ),
    "wrong documented status": (
        changing("POST", "/v1/api-keys", lambda answer: replace(answer, status=409)),
        "createKey",
        "success criteria check",
    ),
    "wrong content type": (
        changing("GET", "/v1/api-keys", change_content_type),
        "listKeys",
        "content-type check",
    ),
    "ineffective revocation": (ignore_revocation, "revokedKeyIsRefused", "success criteria check"),
}


def run_spoiled(spoil: Tamper, service: Service, folder: Path) -> Outcome:
    path = DATA / "journeys" / "ipto.arazzo.yaml"
    inputs = {"nonce": secrets.token_hex(6)}
    with tampering_proxy(service.port, spoil) as port:
        return run_respect(path, f"http://127.0.0.1:{port}", inputs, folder, journey="apiKeys")


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_detected(name: str, service: Service, tmp_path: Path):
    spoil, step_id, check = FAULTS[name]
    outcome = run_spoiled(spoil, service, tmp_path)
    [failed] = [each for each in outcome.steps if each.step_id == step_id]
    assert check in failed_checks(failed), failed
    assert outcome.exit_status != 0


def test_unchanged_responses_pass(service: Service, tmp_path: Path):
    outcome = run_spoiled(change_nothing, service, tmp_path)
    assert [each.step_id for each in outcome.steps if each.failed] == []
    assert outcome.exit_status == 0


def test_journey_that_did_not_run_is_detected(service: Service, tmp_path: Path):
    outcome = run_spoiled(change_nothing, service, tmp_path)
    [missing] = outcome.violations(DATA / "journeys" / "ipto.arazzo.yaml")
    assert missing.startswith("steps: ")


def failed_checks(step: StepResult) -> set[str]:
    return {name for name, passed, _ in step.checks if not passed}
