"""The command of an operator: one JSON object in a line, and one in return."""

import shlex
import sys
from pathlib import Path

import pytest

from oneself_conformance import operator_process
from oneself_conformance.actors import Actors
from oneself_conformance.levels import Level
from oneself_conformance.operator_process import OperatorFailed, start_operator
from oneself_conformance.targets import Deployment, Unreachable

PROGRAM = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    match request["act"]:
        case "add client":
            answer = {"client_id": "c", "client_secret": request["user_id"]}
        case "show tenant":
            answer = {"tenant_uuid": request["tenant_id"]}
        case "add user":
            answer = {"session_token": request["arguments"]["email"][:6]}
        case "read mail":
            answer = {"secret": request["to"] + request["subject"]}
        case "list":
            answer = []
        case "end":
            break
        case "wait":
            time.sleep(60)
        case _:
            answer = {"unable": "no wings"}
    print("no JSON" if request["act"] == "garbage" else json.dumps(answer), flush=True)
"""


@pytest.fixture
def command(tmp_path: Path) -> str:
    program = tmp_path / "acting.py"
    program.write_text(PROGRAM)
    return shlex.join([sys.executable, str(program)])


def test_operator_answers_acts(command: str):
    """contract F2: an operator's command acts outside HTTP."""
    with start_operator(command) as operator:
        assert operator.is_available
        client = operator.act("add client", "usr_1", {})
        assert (client["client"], client["client_encoded"]) == ("c:usr_1", "%63:%75%73%72%5F%31")
        assert operator.find_tenant_uuid("tnt_1") == "tnt_1"
        assert operator.wait_for_mail("a@example.com", "Hi") == {"secret": "a@example.comHi"}
        for name, reason in (("fly", "no wings"), ("list", "no JSON object"), ("garbage", "JSON")):
            with pytest.raises(Unreachable, match=reason):
                operator.act(name, "usr_1", {})


def test_operator_creates_users_of_another_service(command: str):
    """contract F2: in place of a sign-up."""
    deployment = Deployment("http://localhost:1", {"base": {}}, hold=Level.PUBLISHED)
    with start_operator(command) as operator:
        assert Actors(deployment, operator).sign_up()["session_token"] == "fresh."
    with pytest.raises(Unreachable, match="has to sign up"):
        Actors(deployment).sign_up()


@pytest.mark.parametrize("name", ["end", "wait"])
def test_operator_without_an_answer_skips_the_test(
    command: str, monkeypatch: pytest.MonkeyPatch, name: str
):
    """contract F2: and is not asked again, since a late answer would be another request's."""
    monkeypatch.setattr(operator_process, "_SECONDS", 0.5)
    with start_operator(command) as operator:
        for _ in range(2):
            with pytest.raises(Unreachable):
                operator.act(name, "usr_1", {})


@pytest.mark.parametrize("command", ["", "/nowhere/operator", "'"])
def test_operator_that_cannot_be_started_is_reported(command: str):
    with pytest.raises(OperatorFailed, match="cannot be started"), start_operator(command):
        pass


def test_operator_ends_with_the_run(command: str, tmp_path: Path):
    end = tmp_path / "ended"
    program = f"{PROGRAM}\nopen({str(end)!r}, 'w')"
    (tmp_path / "acting.py").write_text(program)
    with start_operator(command):
        assert not end.exists()
    assert end.exists()
