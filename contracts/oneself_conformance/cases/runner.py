"""Runner of a row: its user, its steps, its request, and the outcome."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from oneself_conformance.actors import Actor, Actors
from oneself_conformance.cases.assertions import find_violations
from oneself_conformance.cases.request_building import (
    build_body,
    build_target,
    credential_header,
    default_kind,
    is_unprinted,
    user_credential_headers,
)
from oneself_conformance.cases.row_users import RowUsers
from oneself_conformance.cases.table import Row
from oneself_conformance.document import OperationSpec
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.levels import Level, Violation
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.placeholders import fill, resolve_pointer
from oneself_conformance.spares import Spares
from oneself_conformance.targets import OVERLOADED, Deployment, Unreachable
from oneself_conformance.timestamps import add_span, format_timestamp
from oneself_conformance.totp import totp_code

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


#: Values that are made of others, by the beginning of their placeholder.
_DERIVED: Mapping[str, Callable[["CaseRunner", str], str]] = {
    "upper ": lambda runner, name: str(runner.look_up(name)).upper(),
    "in ": lambda runner, span: format_timestamp(add_span(runner.now, span)),
    "code of ": lambda runner, name: totp_code(runner.look_up(name)),
    "next code of ": lambda runner, name: totp_code(runner.look_up(name), steps=1),
}


@dataclass
class CaseRunner:
    """A row with its users, the values kept by its steps, and its start time."""

    row: Row
    deployment: Deployment
    actors: Actors
    spares: Spares | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    #: The values kept by steps, and a word that is unique to the row.
    _variables: dict[str, Any] = field(default_factory=lambda: {"nonce": secrets.token_hex(6)})

    def __post_init__(self) -> None:
        """Find the users of the row."""
        self.users = RowUsers(self.row, self.deployment, self.actors, self.spares)

    def prepare(self) -> Request:
        """Run the steps, and return the row's own request."""
        for step in self.row.raw.get("before", ()):
            for _ in range(step.get("times", 1)):
                outcome = self._run_step(step)
            for name, pointer in step.get("keep", {}).items():
                self._variables[name] = resolve_pointer(outcome, pointer)
        return self.request_of(self.row.raw)

    def finish(self, answer: Answer | None) -> None:
        """Note what the answer has changed, and change back a user who will be used again."""
        if answer is not None and answer.status < HTTPStatus.BAD_REQUEST:
            with suppress(LookupError, TypeError, ValueError):
                content = _json(answer)
                self._remember(self.row.raw, content)
                for name, pointer in self.row.raw.get("keep", {}).items():
                    self._variables[name] = resolve_pointer(content, pointer)
        if self.users.must_change_back:
            for step in self.row.raw.get("after", ()):
                # A step that names what the answer did not have has nothing to change back.
                with suppress(StepFailed, Unreachable, OSError, HTTPException, LookupError):
                    self._run_step(step)
        self.users.give_back()

    def _remember(self, step: Mapping[str, Any], content: Any) -> None:
        names = step.get("remember", {})
        values = {name: resolve_pointer(content, pointer) for name, pointer in names.items()}
        if values:
            self._actor(step.get("as")).remember(values)

    def look_up(self, name: str) -> Any:
        """Return the value of a placeholder, or raise `KeyError`."""
        subject, _, rest = name.partition(".")
        for prefix, derive in _DERIVED.items():
            if name.startswith(prefix):
                return derive(self, name.removeprefix(prefix))
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
        self.users.note(request_spec.get("json"))
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
            return self.actors.wait_for_mail(recipient, step["mail"])
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
                resolve_pointer(outcome, pointer)
            except (LookupError, TypeError, ValueError):
                raise StepFailed(step, request, answer, f" without {pointer}") from None
        self._remember(step, outcome)
        return outcome

    def _actor(self, name: str | None) -> Actor:
        return self.users.find(name, self.look_up)

    def _credentials(
        self, spec: Mapping[str, Any], operation: OperationSpec | None
    ) -> Iterator[tuple[str, str]]:
        sent = fill(spec.get("with", default_kind(operation)), self.look_up)
        for each in sent if isinstance(sent, list) else [sent]:
            if isinstance(each, Mapping):
                [(kind, value)] = each.items()
                yield credential_header(kind, value)
            elif each != "none":
                actor = self._actor(spec.get("as"))
                headers = user_credential_headers(self.deployment, actor, each)
                if is_unprinted(self.deployment, self.row.dialect, each):
                    raise Unreachable(f"a recipe with send/{each} has to say how it is sent")
                yield from headers


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


def is_self_contained(row: Row, *, can_sign_up: bool) -> bool:
    """Return whether a row needs its own dialect only, and the users that a tester has."""
    for each in row.requests:
        operation = OPERATIONS.get(each.get("operation", ""))
        if operation is None or operation.dialect != row.dialect:
            return False
        # OAuth has no page: its RFCs describe it.
        if operation.is_extension and row.dialect != "oauth":
            return False
    if row.raw.get("as") != "fresh" or row.raw.get("restores") or can_sign_up:
        return True
    return "signup" not in row.raw and all(
        OPERATIONS[each["operation"]].method == "get" for each in row.requests
    )


def run_case(runner: CaseRunner, ask: Callable[[Request], Answer] | None = None) -> Outcome:
    """Run the steps and the request of a row, and return the outcome."""
    answers: list[Answer] = []
    try:
        return _run(runner, ask or runner.deployment.ask, answers)
    finally:
        runner.finish(answers[0] if answers else None)


def _run(runner: CaseRunner, ask: Callable[[Request], Answer], answers: list[Answer]) -> Outcome:
    row = runner.row
    what = "a step got no response"
    try:
        request = runner.prepare()
        what = "there is no response"
        answers.append(answer := ask(request))
        runner.deployment.traffic.mark_latest()
        if answer.status != row.status and answer.status in OVERLOADED:
            what = f"it returns {answer.status}; {OVERLOADED[answer.status]}"
            return _skipped(runner, what, is_overload=True)
        what = "what the response is compared with got none"
        return _compare(runner, request, answer)
    except Unreachable as error:
        return _skipped(runner, str(error), is_overload=error.is_overload)
    except StepFailed as failed:
        return _failed_step(runner, failed)
    except TimeoutError:
        seconds = f"{runner.deployment.deadline:.0f} s; --timeout sets another time"
        return _skipped(runner, f"{what} within {seconds}", is_overload=True)
    except (OSError, HTTPException) as error:
        return outcome_of(row, Verdict.FAILED, f"{what} ({type(error).__name__})")


def _compare(runner: CaseRunner, request: Request, answer: Answer) -> Outcome:
    broken = find_violations(
        runner.row,
        request,
        answer,
        now=runner.now,
        look_up=runner.look_up,
        behind_proxy=runner.deployment.behind_proxy,
        hold=runner.deployment.hold,
    )
    if broken:
        return _failure(runner, request, answer, broken)
    levels = {each.title: Verdict.PASSED for each in _demanding(runner)}
    return replace(outcome_of(runner.row, Verdict.PASSED), levels=levels)


def _failed_step(runner: CaseRunner, failed: StepFailed) -> Outcome:
    row = runner.row
    if (hint := OVERLOADED.get(failed.answer.status)) is not None:
        return _skipped(runner, f"{failed}; {hint}", is_overload=True)
    violation = Violation(str(failed), row.level, row.source)
    outcome = _failure(runner, failed.request, failed.answer, [violation])
    return replace(outcome, failed_step=failed.operation_id)


def _skipped(runner: CaseRunner, reason: str, *, is_overload: bool) -> Outcome:
    runner.users.was_throttled |= is_overload
    return replace(outcome_of(runner.row, Verdict.SKIPPED, reason), overloaded=is_overload)


def _demanding(runner: CaseRunner) -> set[Level]:
    """Return the levels at which something is demanded of a row: its own, and ours of all."""
    return {each for each in (runner.row.level, Level.HOUSE) if each <= runner.deployment.hold}


def outcome_of(row: Row, verdict: Verdict, *reasons: str) -> Outcome:
    """Return the outcome of a row."""
    return Outcome(
        "rows",
        row.dialect,
        str(row),
        row.source,
        verdict,
        reasons,
        operation=row.operation_id or "",
        status=row.status,
        effect_of=row.raw.get("effect_of", ""),
        levels={row.level.title: verdict},
    )


def _failure(
    runner: CaseRunner, request: Request, answer: Answer, broken: list[Violation]
) -> Outcome:
    """Return the outcome of a failed row, with a command that repeats it."""
    failed = {each.level for each in broken}
    body = answer.body.decode(errors="replace")
    levels = {
        each.title: Verdict.FAILED if each in failed else Verdict.PASSED
        for each in failed | _demanding(runner)
    }
    return replace(
        outcome_of(runner.row, Verdict.FAILED, *(each.cited for each in broken)),
        levels=levels,
        request=f"{request.method} {request.target}",
        repeat=request.as_curl(runner.deployment.url),
        # Masked before it is cut, so that no part of a secret is left.
        answer=f"{answer.status} {runner.deployment.mask.apply(body)[:_MAX_ANSWER_LENGTH]}",
    )
