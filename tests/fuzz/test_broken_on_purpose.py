"""A check that no longer checked would be noticed: each is shown an answer that it has to refuse.

The service is right; a proxy in front of it is wrong in one thing. Schemathesis is started as it is
for a proof, so that a check that is written and not registered, or not called, fails here too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from oneself.conformance.fuzz.checks import RULES
from oneself.conformance.fuzz.runs import FuzzRun, FuzzRunner
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.outcomes import Outcome, Verdict
from tests.support.service import Service
from tests.support.tampering import Spoil, spoiled

pytestmark = pytest.mark.usefixtures("whole")

Send = Callable[[Request], Answer]
#: The operation that is answered wrongly.
READ, PAGED, SENT = "ipto.getCurrentUser", "ipto.listEvents", "ipto.requestPasswordReset"


def with_header(answer: Answer, name: str, value: str | None) -> Answer:
    kept = tuple(each for each in answer.headers if each[0].lower() != name)
    return replace(answer, headers=kept if value is None else (*kept, (name, value)))


def with_body(answer: Answer, content: object) -> Answer:
    return replace(answer, body=json.dumps(content).encode())


def a_field_too_many(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    return with_body(answer, {**answer.json(), "debug": 1}) if answer.status == 200 else answer


def an_invented_code(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 401:
        return answer
    content = answer.json()
    return with_body(answer, {**content, "error": {**content["error"], "code": "go_away"}})


def no_challenge(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    return with_header(answer, "www-authenticate", None) if answer.status == 401 else answer


def a_method_too_many(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    allow = "GET, HEAD, PATCH"
    return with_header(answer, "allow", allow) if answer.status == 405 else answer


def sniffing_allowed(request: Request, ask: Send) -> Answer:
    return with_header(ask(request), "x-content-type-options", None)


def what_was_sent(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 400:
        return answer
    content = answer.json()
    message = f"This is wrong: {request.body.decode(errors='replace')}"
    return with_body(answer, {**content, "error": {**content["error"], "message": message}})


def a_good_session_refused(request: Request, ask: Send) -> Answer:
    return ask(replace(request, headers=()))


def a_good_request_refused(request: Request, ask: Send) -> Answer:
    answer = ask(request)
    if answer.status != 202:
        return answer
    return ask(replace(request, body=b"{}"))


def nothing(request: Request, ask: Send) -> Answer:
    return ask(request)


#: For each rule, what breaks it and where.
WRONG: Mapping[str, tuple[str, Spoil]] = {
    "answer_is_documented": (READ, a_field_too_many),
    "refusal_has_documented_code": (PAGED, an_invented_code),
    "unauthorized_has_challenge": (PAGED, no_challenge),
    "allow_lists_all_methods": (READ, a_method_too_many),
    "headers_are_safe": (READ, sniffing_allowed),
    "refusal_repeats_no_value": (SENT, what_was_sent),
    "valid_credential_is_accepted": (PAGED, a_good_session_refused),
    "valid_request_is_refused_for_documented_reason": (SENT, a_good_request_refused),
}


def fuzz(service: Service, operation_id: str, spoil: Spoil, folder: Path) -> Outcome:
    """What comes of fuzzing one operation through a proxy that spoils its answers."""
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(service.people))
    path = OPERATIONS[operation_id].path

    def spoil_it(request: Request, ask: Send) -> Answer:
        # What is asked for to prepare a run has to be answered as it should be.
        asked_for = request.target.partition("?")[0] == path
        return spoil(request, ask) if asked_for else ask(request)

    with spoiled(service.port, spoil_it) as port:
        deployment = replace(service, url=f"http://127.0.0.1:{port}")
        phases = ("examples", "coverage", "fuzzing")
        fuzzing = FuzzRunner(deployment, credentials, examples=10, seed=1, phases=phases)
        [outcome] = fuzzing.outcomes(FuzzRun("session", (OPERATIONS[operation_id],)))
    return outcome


def test_there_is_a_wrong_answer_for_each_check():
    assert {rule.__name__ for rule in RULES} == WRONG.keys()


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_answer_is_caught_by_its_check(rule: str, service: Service, tmp_path: Path):
    operation_id, spoil = WRONG[rule]
    outcome = fuzz(service, operation_id, spoil, tmp_path)
    assert outcome.verdict is Verdict.FAILED
    assert f"Custom check failed: `{rule}`" in "\n".join(outcome.reasons)


@pytest.mark.parametrize("operation_id", [READ, PAGED, SENT])
def test_the_proxy_is_wrong_in_nothing_else(operation_id: str, service: Service, tmp_path: Path):
    outcome = fuzz(service, operation_id, nothing, tmp_path)
    assert outcome.verdict is Verdict.PASSED, outcome.as_text()


def test_a_run_that_does_not_finish_keeps_nothing(service: Service, tmp_path: Path):
    """A fuzzer that fell over at its start has found nothing, and proven nothing."""
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps(service.people))
    fuzzing = FuzzRunner(service, credentials, examples=1, seed=1, phases=("no such phase",))
    [outcome] = fuzzing.outcomes(FuzzRun("session", (OPERATIONS[READ],)))
    assert outcome.verdict is Verdict.FAILED
    assert "did not finish" in outcome.reasons[0]
