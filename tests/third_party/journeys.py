"""The journeys, run by `redocly respect`.

The files are also read here, to compare the steps that respect reports with those of the file.
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

from oneself_conformance.actors import Actors
from oneself_conformance.document import DATA
from oneself_conformance.http_client import json_request
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.timestamps import add_span, format_timestamp
from tests.support.service import ROOT, Service
from tests.third_party.tools import node_command

__all__ = ["FILES", "Outcome", "Step", "StepResult", "make_inputs", "read_steps", "run_respect"]

FILES = sorted((DATA / "journeys").glob("*.arazzo.yaml"))

_PATHS = "{$sourceDescriptions.oneself.url}#/paths/"
_SECONDS = 120


@dataclass(frozen=True)
class Step:
    """A step of the file."""

    workflow_id: str
    step_id: str
    operation_id: str
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class StepResult:
    """A step as run by respect; each check has a name, whether it passed, and a message."""

    workflow_id: str
    step_id: str
    status: int | None
    headers: Mapping[str, str]
    checks: tuple[tuple[str, bool, str], ...]

    @property
    def failed(self) -> list[str]:
        return [f"{name}: {message}" for name, passed, message in self.checks if not passed]


@dataclass(frozen=True)
class Outcome:
    """A run of respect: its exit status, its steps and its output."""

    exit_status: int
    steps: tuple[StepResult, ...]
    output: str

    def violations(self, path: Path) -> list[str]:
        """Return each deviation from the file, and each failed check."""
        steps = read_steps(path)
        expected = [(step.workflow_id, step.step_id) for step in steps]
        run_steps = [(each.workflow_id, each.step_id) for each in self.steps]
        violations = [] if run_steps == expected else [f"steps: {run_steps} are not {expected}"]
        for step, each in zip(steps, self.steps, strict=False):
            names = [name for name, _, _ in each.checks]
            if names.count("success criteria check") != len(step.conditions):
                violations.append(f"{step.step_id}: not all criteria were checked")
            if "status code check" not in names:
                violations.append(f"{step.step_id}: it was not validated against the document")
            violations += [f"{step.step_id}: {failed}" for failed in each.failed]
        if self.exit_status:
            violations.append(f"exit status {self.exit_status}")
        return violations


def read_steps(path: Path) -> tuple[Step, ...]:
    """Return the steps of a file in order."""
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


def make_inputs(service: Service, actors: Actors) -> Mapping[str, Any]:
    """Return the inputs of the journeys: demo users with new credentials, and emailed secrets.

    Journeys cannot read email, so users with emailed secrets are created here.
    """
    command = [sys.executable, "-m", "oneself", "demo", "--json"]
    demo = subprocess.run(
        command, cwd=ROOT, env=service.environment, capture_output=True, check=True
    )
    unverified = actors.sign_up()
    resetting = actors.sign_up()
    moving = actors.sign_up()
    moving.ask("POST", "/resources/me/email/change", {"email": f"new.{moving['email']}"})
    undo = actors.operator.wait_for_mail(moving["email"], "Your email address is about to change")
    verifications = {}
    for user in (unverified, resetting):
        user.ask("POST", "/api/v1/me/verify-email")
        mail = actors.operator.wait_for_mail(user["email"], "Verify your email address")
        verifications[user["email"]] = mail["secret"]
    # Reset emails go only to verified addresses.
    for path, body in (
        ("/api/v1/me/verify-email/confirm", {"secret": verifications[resetting["email"]]}),
        ("/v1/auth/password/forgot", {"email": resetting["email"]}),
    ):
        answer = service.ask(json_request("POST", path, body))
        assert answer.status in {200, 202}, answer
    reset = actors.operator.wait_for_mail(resetting["email"], "Reset your password")
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
            "email": resetting["email"],
            "session_token": resetting["session_token"],
            "secret": reset["secret"],
        },
        "moving": {
            "email": moving["email"],
            "session_token": moving["session_token"],
            "secret": undo["secret"],
        },
    }


def run_respect(
    path: Path, url: str, inputs: Mapping[str, Any], folder: Path, *, journey: str | None = None
) -> Outcome:
    """Run the journeys of a file, or one of them; the output of respect is in `folder`."""
    log = folder / "respect.json"
    process = subprocess.run(
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
            # A secret `wrong` would be masked in the names of steps, too; all are made up.
            "--no-secrets-masking",
            *(() if journey is None else ("--workflow", journey)),
        ],
        # Another folder, because respect reads .env and a configuration from the current one.
        cwd=folder,
        # Not as arguments, which other users of the machine could read.
        env={**os.environ, "REDOCLY_CLI_RESPECT_INPUT": json.dumps(inputs)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    output = process.stdout + process.stderr
    assert log.exists(), output
    files = json.loads(log.read_bytes())["files"]
    steps = tuple(
        _step_result(workflow["workflowId"], step)
        for file in files.values()
        for workflow in file["executedWorkflows"]
        for step in workflow["executedSteps"]
    )
    return Outcome(process.returncode, steps, output)


def _step_result(workflow_id: str, step: Mapping[str, Any]) -> StepResult:
    response = step.get("response") or {}
    return StepResult(
        workflow_id,
        step["stepId"],
        response.get("statusCode"),
        response.get("headers", {}),
        tuple((each["name"], each["passed"], each["message"]) for each in step["checks"]),
    )
