"""The journeys of contracts/journeys, read by us and run by `redocly respect`.

They are read here as well, so that what respect says it did is compared with what there was to do.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from oneself.conformance.actors import Actors
from oneself.conformance.http_client import json_request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.matching import add_span, format_timestamp
from tests.support.service import ROOT, Service
from tests.third_party.tools import node_command

__all__ = ["FILES", "Outcome", "Step", "Took", "make_inputs", "read_steps", "run_respect"]

FILES = sorted((ROOT / "contracts" / "journeys").glob("*.arazzo.yaml"))

_PATHS = "{$sourceDescriptions.oneself.url}#/paths/"
_SECONDS = 120


@dataclass(frozen=True)
class Step:
    """A step as the file has it."""

    workflow_id: str
    step_id: str
    operation_id: str
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Took:
    """A step as respect took it; each check is its name, whether it passed, and what it says."""

    workflow_id: str
    step_id: str
    status: int | None
    headers: Mapping[str, str]
    checks: tuple[tuple[str, bool, str], ...]

    @property
    def failed(self) -> list[str]:
        return [f"{name}: {said}" for name, passed, said in self.checks if not passed]


@dataclass(frozen=True)
class Outcome:
    """One run of respect: its exit status, what it took, and what it wrote."""

    exit_status: int
    steps: tuple[Took, ...]
    said: str

    def broken(self, path: Path) -> list[str]:
        """Each way in which what respect took is not what the file has, or did not hold."""
        steps = read_steps(path)
        wanted = [(step.workflow_id, step.step_id) for step in steps]
        taken = [(each.workflow_id, each.step_id) for each in self.steps]
        found = [] if taken == wanted else [f"steps: {taken} are not {wanted}"]
        for step, each in zip(steps, self.steps, strict=False):
            names = [name for name, _, _ in each.checks]
            if names.count("success criteria check") != len(step.conditions):
                found.append(f"{step.step_id}: not each of its criteria was checked")
            if "status code check" not in names:
                found.append(f"{step.step_id}: it was not held against the document")
            found += [f"{step.step_id}: {failed}" for failed in each.failed]
        if self.exit_status:
            found.append(f"exit status {self.exit_status}")
        return found


def read_steps(path: Path) -> tuple[Step, ...]:
    """Each step of a file, in its order."""
    ids = {(each.path, each.method): each.operation_id for each in OPERATIONS.values()}
    return tuple(
        Step(
            workflow["workflowId"],
            step["stepId"],
            ids[_path_and_method(step["operationPath"])],
            tuple(each["condition"] for each in step["successCriteria"]),
        )
        for workflow in yaml.safe_load(path.read_bytes())["workflows"]
        for step in workflow["steps"]
    )


def _path_and_method(pointer: str) -> tuple[str, str]:
    assert pointer.startswith(_PATHS), pointer
    path, method = pointer.removeprefix(_PATHS).split("/")
    return path.replace("~1", "/").replace("~0", "~"), method


def make_inputs(service: Service, people: Actors) -> Mapping[str, Any]:
    """What the journeys begin with: the demo's people with new credentials, and what was mailed.

    No journey can read mail, so whoever has some is made here.
    """
    command = [sys.executable, "-m", "oneself", "demo", "--json"]
    demo = subprocess.run(
        command, cwd=ROOT, env=service.environment, capture_output=True, check=True
    )
    unverified = people.sign_up()
    forgetful = people.sign_up()
    verifications = {}
    for person in (unverified, forgetful):
        person.ask("POST", "/api/v1/me/verify-email")
        mail = people.operator.wait_for_mail(person["email"], "Verify your email address")
        verifications[person["email"]] = mail["secret"]
    # A password is reset by mail to an address that is verified, and to no other.
    for path, body in (
        ("/api/v1/me/verify-email/confirm", {"secret": verifications[forgetful["email"]]}),
        ("/v1/auth/password/forgot", {"email": forgetful["email"]}),
    ):
        answer = service.ask(json_request("POST", path, body))
        assert answer.status in {200, 202}, answer
    reset = people.operator.wait_for_mail(forgetful["email"], "Reset your password")
    return {
        **json.loads(demo.stdout),
        "nonce": secrets.token_hex(6),
        "next_month": format_timestamp(add_span(datetime.now(UTC), "+30d")),
        "unverified": {
            "email": unverified["email"],
            "session_token": unverified["session_token"],
            "secret": verifications[unverified["email"]],
        },
        "forgetful": {
            "email": forgetful["email"],
            "session_token": forgetful["session_token"],
            "secret": reset["secret"],
        },
    }


def run_respect(
    path: Path, url: str, inputs: Mapping[str, Any], folder: Path, *, journey: str | None = None
) -> Outcome:
    """Run the journeys of a file, or one of them; what respect writes stays in `folder`."""
    log = folder / "respect.json"
    ran = subprocess.run(
        [
            *node_command("ONESELF_REDOCLY"),
            "respect",
            str(path),
            "--server",
            f"oneself={url}",
            "--json-output",
            str(log),
            "--har-output",
            str(folder / "respect.har"),
            *(() if journey is None else ("--workflow", journey)),
        ],
        # Elsewhere, because it reads an .env file and a configuration from where it is started.
        cwd=folder,
        # Credentials among a command's arguments can be read by whoever else is on the machine.
        env={**os.environ, "REDOCLY_CLI_RESPECT_INPUT": json.dumps(inputs)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert log.exists(), said
    files = json.loads(log.read_bytes())["files"]
    steps = tuple(
        _took(workflow["workflowId"], step)
        for file in files.values()
        for workflow in file["executedWorkflows"]
        for step in workflow["executedSteps"]
    )
    return Outcome(ran.returncode, steps, said)


def _took(workflow_id: str, step: Mapping[str, Any]) -> Took:
    response = step.get("response") or {}
    return Took(
        workflow_id,
        step["stepId"],
        response.get("statusCode"),
        response.get("headers", {}),
        tuple((each["name"], each["passed"], each["message"]) for each in step["checks"]),
    )
