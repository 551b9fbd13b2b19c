"""What leads to a promise can fail in every way in which a deployment can answer."""

from dataclasses import dataclass
from typing import Any

import pytest

from oneself.conformance.actors import Actors
from oneself.conformance.deployment import Deployment, Unreachable
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.outcomes import Verdict
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row
from oneself.conformance.rows.verdicts import run_case

STEP: dict[str, Any] = {"operation": "hyperclast.getAccessToken", "keep": {"old": "/access_token"}}
ROW = Row(
    "hyperclast",
    {
        "promise": "The old token is dead",
        "source": "Hyperclast, Users",
        "operation": "hyperclast.getCurrentUser",
        "before": [STEP],
        "with": {"bearer": "${old}"},
        "expect": {"status": 401, "refusal": "invalid_token"},
    },
)


@dataclass(frozen=True)
class Stubborn(Deployment):
    """It answers everything with the same."""

    answer: Answer

    def ask(self, request: Request) -> Answer:  # noqa: ARG002 # whatever it is
        return self.answer


def _deployment(body: bytes, status: int = 200) -> Stubborn:
    headers = (("content-type", "application/json"),)
    known = {"base": {"session_token": "sess_a", "user_id": "usr_a"}}
    return Stubborn("http://127.0.0.1:9", known, answer=Answer(status, headers, body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"token": "tok_a"}', "answers 200 without /access_token"),
        (b'["tok_a"]', "answers 200 without /access_token"),
        (b'"tok_a"', "answers 200 without /access_token"),
        (b"<p>tok_a</p>", "answers 200 without JSON"),
    ],
)
def test_a_step_that_answers_without_what_is_kept_of_it_breaks_the_promise(body: bytes, said: str):
    deployment = _deployment(body)
    outcome = run_case(CaseRunner(ROW, deployment, Actors(deployment)))
    assert outcome.verdict is Verdict.BROKEN
    assert outcome.reasons == (f"the step hyperclast.getAccessToken {said}",)
    assert outcome.failed_step == "hyperclast.getAccessToken"


@pytest.mark.parametrize("name", ["access_token", "api_key", "identity_id"])
@pytest.mark.parametrize("body", [b"{}", b"[]", b"<p>tok_a</p>"])
def test_a_credential_that_is_not_answered_with_is_out_of_reach(name: str, body: bytes):
    person = Actors(_deployment(body)).find("base")
    with pytest.raises(Unreachable, match="answers without what is needed"):
        person[name]


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": "Alice"}', b"<p>tok_a</p>"])
def test_who_has_signed_up_and_is_told_nothing_is_out_of_reach(body: bytes):
    with pytest.raises(Unreachable, match="signup answers without what is needed"):
        Actors(_deployment(body, 201)).sign_up()
