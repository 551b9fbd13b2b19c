"""Each fuzzer check detects a wrong response, so that no check can stop working unnoticed.

A proxy in front of the service changes one thing. Schemathesis runs as in the conformance suite,
so that a check that is not registered or not called fails here as well.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from oneself_conformance.fuzz.checks import RULES
from oneself_conformance.fuzz.runs import FuzzRun, FuzzRunner
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from tests.support.service import Service
from tests.support.tampering import Tamper, tampering_proxy

pytestmark = pytest.mark.usefixtures("whole")

Send = Callable[[Request], Answer]
#: Operations with wrong responses.
READ, PAGED, SENT = "ipto.getCurrentUser", "ipto.listEvents", "ipto.requestPasswordReset"


def with_header(answer: Answer, name: str, value: str | None) -> Answer:
    kept = tuple(each for each in answer.headers if each[0].lower() != name)
    return replace(answer, headers=kept if value is None else (*kept, (name, value)))


def with_body(answer: Answer, content: object) -> Answer:
    return replace(answer, body=json.dumps(content).encode())


def add_field(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    return with_body(answer, {**answer.json(), "debug": 1}) if answer.status == 200 else answer


def drop_email(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 200:
        return answer
    content = answer.json()
    del content["data"]["email"]
    return with_body(answer, content)


def change_code(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 401:
        return answer
    content = answer.json()
    return with_body(answer, {**content, "error": {**content["error"], "code": "go_away"}})


def drop_challenge(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    return with_header(answer, "www-authenticate", None) if answer.status == 401 else answer


def add_allowed_method(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    allow = "GET, HEAD, PATCH"
    return with_header(answer, "allow", allow) if answer.status == 405 else answer


def allow_sniffing(request: Request, ask: Send) -> Answer:
    return with_header(ask(request), "x-content-type-options", None)


def repeat_body(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 400:
        return answer
    content = answer.json()
    message = f"This is wrong: {request.body.decode(errors='replace')}"
    return with_body(answer, {**content, "error": {**content["error"], "message": message}})


def drop_credential(request: Request, ask: Send) -> Answer:
    return ask(replace(request, headers=()))


def reject_valid_request(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 202:
        return answer
    return ask(replace(request, body=b"{}"))


def change_nothing(request: Request, ask: Send) -> Answer:
    return ask(request)


#: For each rule: an operation, and a change of its responses that breaks the rule.
FAULTS: Mapping[str, tuple[str, Tamper]] = {
    "answer_is_documented": (READ, add_field),
    "answer_has_published_members": (READ, drop_email),
    "refusal_has_documented_code": (PAGED, change_code),
    "unauthorized_has_challenge": (PAGED, drop_challenge),
    "allow_lists_all_methods": (READ, add_allowed_method),
    "headers_are_safe": (READ, allow_sniffing),
    "refusal_repeats_no_value": (SENT, repeat_body),
    "valid_credential_is_accepted": (PAGED, drop_credential),
    "valid_request_is_refused_for_documented_reason": (SENT, reject_valid_request),
}


def fuzz(service: Service, operation_id: str, spoil: Tamper, folder: Path) -> Outcome:
    """Fuzz an operation through a proxy that changes its responses."""
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(service.actors))
    path = OPERATIONS[operation_id].path

    def spoil_operation(request: Request, ask: Send) -> Answer:
        # Requests that prepare a run must get correct responses.
        is_operation = request.target.partition("?")[0] == path
        return spoil(request, ask) if is_operation else ask(request)

    with tampering_proxy(service.port, spoil_operation) as port:
        deployment = replace(service, url=f"http://127.0.0.1:{port}")
        phases = ("examples", "coverage", "fuzzing")
        runner = FuzzRunner(deployment, credentials, examples=10, seed=1, phases=phases)
        [outcome] = runner.outcomes(FuzzRun("session", (OPERATIONS[operation_id],)))
    return outcome


def test_every_check_has_a_fault():
    assert {rule.__name__ for rule in RULES} == FAULTS.keys()


@pytest.mark.parametrize("rule", FAULTS)
def test_check_detects_its_fault(rule: str, service: Service, tmp_path: Path):
    operation_id, spoil = FAULTS[rule]
    outcome = fuzz(service, operation_id, spoil, tmp_path)
    assert outcome.verdict is Verdict.FAILED
    assert f"Custom check failed: `{rule}`" in "\n".join(outcome.reasons)


@pytest.mark.parametrize("operation_id", [READ, PAGED, SENT])
def test_unchanged_responses_pass(operation_id: str, service: Service, tmp_path: Path):
    outcome = fuzz(service, operation_id, change_nothing, tmp_path)
    assert outcome.verdict is Verdict.PASSED, outcome.as_text()


def test_unfinished_run_fails(service: Service, tmp_path: Path):
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps(service.actors))
    runner = FuzzRunner(service, credentials, examples=1, seed=1, phases=("no such phase",))
    [outcome] = runner.outcomes(FuzzRun("session", (OPERATIONS[READ],)))
    assert outcome.verdict is Verdict.FAILED
    assert "did not finish" in outcome.reasons[0]
