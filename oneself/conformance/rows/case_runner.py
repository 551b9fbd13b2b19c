"""One row on its way to the service: its person, its steps, its request."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from oneself.conformance.actors import Actor, Actors
from oneself.conformance.deployment import Deployment
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.matching import after, fill, write
from oneself.conformance.rows.request_building import (
    FROM_PERSON,
    build_body,
    build_target,
    credential_header,
)
from oneself.conformance.rows.table import Row
from oneself.document import OperationSpec

__all__ = ["CaseRunner", "StepFailed"]


class StepFailed(Exception):
    """A step on the way to a promise was answered in another way than it has to be."""

    def __init__(
        self, step: Mapping[str, Any], request: Request, answer: Answer, more: str = ""
    ) -> None:
        super().__init__(f"the step {step['operation']} answers {answer.status}{more}")
        self.operation_id: str = step["operation"]
        self.request = request
        self.answer = answer


@dataclass
class CaseRunner:
    """Who asks for a row, what its steps have kept, and when it began."""

    row: Row
    deployment: Deployment
    people: Actors
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    #: What steps have kept, and a word that no other row has.
    _kept: dict[str, Any] = field(default_factory=lambda: {"nonce": secrets.token_hex(6)})
    _fresh: Actor | None = None

    def prepare(self) -> Request:
        """Take the steps, and give the request that the row is about."""
        for step in self.row.raw.get("before", ()):
            for _ in range(step.get("times", 1)):
                outcome = self._take(step)
            for name, pointer in step.get("keep", {}).items():
                self._kept[name] = _at(outcome, pointer)
        return self.request_of(self.row.raw)

    def look_up(self, name: str) -> Any:
        """What a placeholder stands for.

        Raises:
            KeyError: Nothing of this name is known.
        """
        subject, _, rest = name.partition(".")
        if name.startswith("in "):
            return write(after(self.now, name.removeprefix("in ")))
        if subject == "service":
            return getattr(self.deployment, rest)
        if rest:
            return self._person(None if subject == "me" else subject)[rest]
        return self._kept[name]

    def request_of(self, spec: Mapping[str, Any]) -> Request:
        """The request that the row or one of its steps describes."""
        operation = OPERATIONS.get(spec.get("operation", ""))
        wanted = fill(spec.get("request", {}), self.look_up)
        headers = [*self._credentials(spec, operation), *_headers(wanted, operation)]
        body, media = build_body(wanted, operation)
        if media is not None:
            headers.append(("Content-Type", media))
        path = spec.get("path") or (operation.path if operation else "/")
        method = spec.get("method") or (operation.method.upper() if operation else "GET")
        target = build_target(fill(path, self.look_up), operation, wanted)
        dribbles = bool(wanted.get("dribble"))
        return Request(method, target, tuple(headers), body, dribbles)

    def _take(self, step: Mapping[str, Any]) -> Mapping[str, Any]:
        person = self._person(step.get("as"))
        if "act" in step:
            return person.act(step["act"], **fill(step.get("arguments", {}), self.look_up))
        if "mail" in step:
            return self.people.operator.wait_for_mail(person["email"], step["mail"])
        request = self.request_of(step)
        answer = self.deployment.ask(request)
        good = answer.status < HTTPStatus.BAD_REQUEST
        if not (answer.status == step["status"] if "status" in step else good):
            raise StepFailed(step, request, answer)
        headers = {name.lower(): value for name, value in answer.headers}
        try:
            outcome = {"headers": headers, **_json(answer)}
        except ValueError:
            raise StepFailed(step, request, answer, " without JSON") from None
        for pointer in step.get("keep", {}).values():
            try:
                _at(outcome, pointer)
            except (LookupError, TypeError, ValueError):
                raise StepFailed(step, request, answer, f" without {pointer}") from None
        return outcome

    def _person(self, name: str | None) -> Actor:
        """Whoever a step names; of nobody, the row's own person."""
        named = name or self.row.raw.get("as", "base")
        if named != "fresh":
            return self.people.find(named)
        if self._fresh is None:
            self._fresh = self.people.sign_up(**fill(self.row.raw.get("signup", {}), self.look_up))
        return self._fresh

    def _credentials(
        self, spec: Mapping[str, Any], operation: OperationSpec | None
    ) -> Iterator[tuple[str, str]]:
        sent = fill(spec.get("with", _usual_credential(operation)), self.look_up)
        for each in sent if isinstance(sent, list) else [sent]:
            if isinstance(each, Mapping):
                [(kind, value)] = each.items()
                yield credential_header(kind, value)
            elif each != "none":
                person = self._person(spec.get("as"))
                yield credential_header(each, person[FROM_PERSON[each]])


def _usual_credential(operation: OperationSpec | None) -> str:
    """What is sent where nothing is said about it."""
    if operation is None or operation.public:
        return "none"
    return "session" if operation.client is None else "client"


def _headers(
    wanted: Mapping[str, Any], operation: OperationSpec | None
) -> Iterator[tuple[str, str]]:
    if operation and wanted.get("example"):
        for each in operation.parameters:
            if each["in"] == "header" and each.get("required"):
                yield each["name"], each["example"]
    for name, values in wanted.get("headers", {}).items():
        for value in values if isinstance(values, list) else [values]:
            yield name, value


def _json(answer: Answer) -> Mapping[str, Any]:
    if not answer.body or answer.values("content-type") == ["image/webp"]:
        return {}
    content = answer.json()
    return content if isinstance(content, Mapping) else {"items": content}


def _at(content: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) points at."""
    for step in pointer.split("/")[1:]:
        content = content[int(step) if isinstance(content, list) else step]
    return content
