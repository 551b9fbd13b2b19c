"""Runner of a row: its user, its steps, its request, and the outcome."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from oneself_conformance.actors import Actor, Actors
from oneself_conformance.cases.assertions import find_violations
from oneself_conformance.cases.matching import fill
from oneself_conformance.cases.request_building import (
    ACTOR_KEYS,
    build_body,
    build_target,
    credential_header,
)
from oneself_conformance.cases.table import Row
from oneself_conformance.document import OperationSpec
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.targets import Deployment, Unreachable
from oneself_conformance.timestamps import add_span, format_timestamp

_MAX_ANSWER_LENGTH = 2_000


class StepFailed(Exception):
    """A step before the row's own request got an unexpected response."""

    def __init__(
        self, step: Mapping[str, Any], request: Request, answer: Answer, more: str = ""
    ) -> None:
        super().__init__(f"the step {step['operation']} returns {answer.status}{more}")
        self.operation_id: str = step["operation"]
        self.request = request
        self.answer = answer


@dataclass
class CaseRunner:
    """A row with its users, the values kept by its steps, and its start time."""

    row: Row
    deployment: Deployment
    actors: Actors
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    #: The values kept by steps, and a word that is unique to the row.
    _variables: dict[str, Any] = field(default_factory=lambda: {"nonce": secrets.token_hex(6)})
    _fresh: Actor | None = None

    def prepare(self) -> Request:
        """Run the steps, and return the row's own request."""
        for step in self.row.raw.get("before", ()):
            for _ in range(step.get("times", 1)):
                outcome = self._run_step(step)
            for name, pointer in step.get("keep", {}).items():
                self._variables[name] = _resolve_pointer(outcome, pointer)
        return self.request_of(self.row.raw)

    def look_up(self, name: str) -> Any:
        """Return the value of a placeholder, or raise `KeyError`."""
        subject, _, rest = name.partition(".")
        if name.startswith("in "):
            return format_timestamp(add_span(self.now, name.removeprefix("in ")))
        if subject == "service":
            return getattr(self.deployment, rest)
        if rest:
            return self._actor(None if subject == "me" else subject)[rest]
        return self._variables[name]

    def request_of(self, spec: Mapping[str, Any]) -> Request:
        """Build the request of the row or of a step."""
        operation = OPERATIONS.get(spec.get("operation", ""))
        request_spec = fill(spec.get("request", {}), self.look_up)
        headers = [*self._credentials(spec, operation), *_headers(request_spec, operation)]
        body, media = build_body(request_spec, operation)
        if media is not None:
            headers.append(("Content-Type", media))
        path = spec.get("path") or (operation.path if operation else "/")
        method = spec.get("method") or (operation.method.upper() if operation else "GET")
        target = build_target(fill(path, self.look_up), operation, request_spec)
        dribbles = bool(request_spec.get("dribble"))
        return Request(method, target, tuple(headers), body, dribbles)

    def _run_step(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        actor = self._actor(step.get("as"))
        if "act" in step:
            return actor.act(step["act"], **fill(step.get("arguments", {}), self.look_up))
        if "mail" in step:
            recipient = fill(step.get("to", actor["email"]), self.look_up)
            return self.actors.operator.wait_for_mail(recipient, step["mail"])
        request = self.request_of(step)
        answer = self.deployment.ask(request)
        ok = answer.status < HTTPStatus.BAD_REQUEST
        if not (answer.status == step["status"] if "status" in step else ok):
            raise StepFailed(step, request, answer)
        headers = {name.lower(): value for name, value in answer.headers}
        try:
            outcome = {"headers": headers, **_json(answer)}
        except ValueError:
            raise StepFailed(step, request, answer, " without JSON") from None
        for pointer in step.get("keep", {}).values():
            try:
                _resolve_pointer(outcome, pointer)
            except (LookupError, TypeError, ValueError):
                raise StepFailed(step, request, answer, f" without {pointer}") from None
        return outcome

    def _actor(self, name: str | None) -> Actor:
        """Return the user that a step names, by default the user of the row."""
        named = name or self.row.raw.get("as", "base")
        if named != "fresh":
            return self.actors.find(named)
        if self._fresh is None:
            self._fresh = self.actors.sign_up(**fill(self.row.raw.get("signup", {}), self.look_up))
        return self._fresh

    def _credentials(
        self, spec: Mapping[str, Any], operation: OperationSpec | None
    ) -> Iterator[tuple[str, str]]:
        if operation is None or operation.public:
            default = "none"
        else:
            default = "session" if not operation.takes_client else "client"
        sent = fill(spec.get("with", default), self.look_up)
        for each in sent if isinstance(sent, list) else [sent]:
            if isinstance(each, Mapping):
                [(kind, value)] = each.items()
                yield credential_header(kind, value)
            elif each != "none":
                actor = self._actor(spec.get("as"))
                yield credential_header(each, actor[ACTOR_KEYS[each]])


def _headers(
    request_spec: Mapping[str, Any], operation: OperationSpec | None
) -> Iterator[tuple[str, str]]:
    if operation and request_spec.get("example"):
        for each in operation.parameters:
            if each["in"] == "header" and each.get("required"):
                yield each["name"], each["example"]
    for name, values in request_spec.get("headers", {}).items():
        for value in values if isinstance(values, list) else [values]:
            yield name, value


def _json(answer: Answer) -> Mapping[str, Any]:
    if not answer.body or answer.values("content-type") == ["image/webp"]:
        return {}
    content = answer.json()
    return content if isinstance(content, Mapping) else {"items": content}


def _resolve_pointer(content: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901)."""
    for step in pointer.split("/")[1:]:
        content = content[int(step) if isinstance(content, list) else step]
    return content


def run_case(runner: CaseRunner, ask: Callable[[Request], Answer] | None = None) -> Outcome:
    """Run the steps and the request of a row, and return the outcome."""
    row = runner.row
    try:
        request = runner.prepare()
    except Unreachable as error:
        return outcome_of(row, Verdict.SKIPPED, str(error))
    except StepFailed as failed:
        outcome = _failure(runner, failed.request, failed.answer, [str(failed)])
        return replace(outcome, failed_step=failed.operation_id)
    except (OSError, HTTPException) as error:
        return outcome_of(row, Verdict.FAILED, f"a step got no response ({type(error).__name__})")
    try:
        answer = (ask or runner.deployment.ask)(request)
    except (OSError, HTTPException) as error:
        return outcome_of(row, Verdict.FAILED, f"there is no response ({type(error).__name__})")
    broken = find_violations(
        row,
        request,
        answer,
        now=runner.now,
        look_up=runner.look_up,
        behind_proxy=runner.deployment.behind_proxy,
    )
    if broken:
        return _failure(runner, request, answer, broken)
    return outcome_of(row, Verdict.PASSED)


def outcome_of(row: Row, verdict: Verdict, *reasons: str) -> Outcome:
    """Return the outcome of a row."""
    return Outcome("rows", row.dialect, str(row), str(row.raw["source"]), verdict, reasons)


def _failure(runner: CaseRunner, request: Request, answer: Answer, broken: list[str]) -> Outcome:
    """Return the outcome of a failed row, with a command that repeats it."""
    return replace(
        outcome_of(runner.row, Verdict.FAILED, *broken),
        request=f"{request.method} {request.target}",
        repeat=request.as_curl(runner.deployment.url),
        answer=f"{answer.status} {answer.body[:_MAX_ANSWER_LENGTH].decode(errors='replace')}",
    )
