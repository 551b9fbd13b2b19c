"""Steps of a row can fail in every way in which a deployment can respond."""

from dataclasses import dataclass
from typing import Any

import pytest

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner, run_case
from oneself_conformance.cases.table import Row
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.outcomes import Verdict
from oneself_conformance.targets import Deployment, Unreachable

STEP: dict[str, Any] = {"operation": "hyperclast.getAccessToken", "keep": {"old": "/access_token"}}
ROW = Row(
    "hyperclast",
    {
        "promise": "The old token is rejected",
        "source": "Hyperclast, Users",
        "operation": "hyperclast.getCurrentUser",
        "before": [STEP],
        "with": {"bearer": "${old}"},
        "expect": {"status": 401, "refusal": "invalid_token"},
    },
)


@dataclass(frozen=True)
class FixedDeployment(Deployment):
    """A deployment with the same response to every request."""

    answer: Answer

    def ask(self, request: Request) -> Answer:  # noqa: ARG002 # the inherited signature
        return self.answer


def _deployment(body: bytes, status: int = 200) -> FixedDeployment:
    headers = (("content-type", "application/json"),)
    users = {"base": {"session_token": "sess_a", "user_id": "usr_a"}}
    return FixedDeployment("http://127.0.0.1:9", users, answer=Answer(status, headers, body))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"token": "tok_a"}', "returns 200 without /access_token"),
        (b'["tok_a"]', "returns 200 without /access_token"),
        (b'"tok_a"', "returns 200 without /access_token"),
        (b"<p>tok_a</p>", "returns 200 without JSON"),
    ],
)
def test_row_fails_when_step_response_lacks_kept_value(body: bytes, message: str):
    deployment = _deployment(body)
    outcome = run_case(CaseRunner(ROW, deployment, Actors(deployment)))
    assert outcome.verdict is Verdict.FAILED
    source = "[published: Hyperclast, Users]"
    assert outcome.reasons == (f"the step hyperclast.getAccessToken {message} {source}",)
    assert outcome.failed_step == "hyperclast.getAccessToken"


@pytest.mark.parametrize("name", ["access_token", "api_key", "identity_id"])
@pytest.mark.parametrize("body", [b"{}", b"[]", b"<p>tok_a</p>"])
def test_credential_missing_from_response_is_unreachable(name: str, body: bytes):
    user = Actors(_deployment(body)).find("base")
    with pytest.raises(Unreachable, match="returns a response without the needed values"):
        user[name]


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": "Alice"}', b"<p>tok_a</p>"])
def test_signup_without_needed_values_is_unreachable(body: bytes):
    with pytest.raises(Unreachable, match="signup returns a response without the needed values"):
        Actors(_deployment(body, 201)).sign_up()
