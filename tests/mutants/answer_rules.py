"""Mutants that answer wrongly: the service does what it should, and says something else."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, ClassVar, Self

from oneself.conformance.fuzz.refusal_codes import documented_codes
from oneself.conformance.http_client import Answer
from oneself.conformance.rows.table import refusal_shapes
from oneself.document import OperationSpec, load_document, resolve
from tests.mutants.mutation import Mutant, codes_asked, statuses_asked

__all__ = ["ANSWER_RULES", "SECURITY_HEADERS"]

#: What every answer has, documented for none; see HT-15 of docs/security.md.
SECURITY_HEADERS = (
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
)
#: In place of what is documented: a success of another kind, and a refusal that nobody documents.
_UNDOCUMENTED = (200, 201, 202, 204, 418)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

#: The way to a value: names, and `*` for each item of a list.
_Steps = tuple[str, ...]


@dataclass(frozen=True)
class _OfStatus(Mutant):
    """A mutant that changes the answers of one status."""

    status: int

    alike: ClassVar[str] = "no answer to any row has it"

    def change_answer(self, answer: Answer) -> Answer:
        """Change an answer of this status."""
        return self._changed(answer) if answer.status == self.status else answer

    def _changed(self, answer: Answer) -> Answer:
        raise NotImplementedError


@dataclass(frozen=True)
class ChangedStatus(_OfStatus):
    """The status is another, documented for the operation or not."""

    instead: int

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each status that is asked for, and each other that there could be."""
        for status in sorted(statuses_asked(operation.operation_id)):
            for instead in sorted({*operation.responses, *_UNDOCUMENTED} - {status}):
                yield cls(operation.operation_id, status, instead)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} is {self.instead}"

    def _changed(self, answer: Answer) -> Answer:
        if self.instead in _BODILESS:
            return replace(_without(answer, "content-type"), status=self.instead, body=b"")
        return replace(answer, status=self.instead)


@dataclass(frozen=True)
class LostHeader(_OfStatus):
    """A header is missing: one that is documented, or one that every answer has."""

    name: str

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each header of each status."""
        for status in sorted(statuses_asked(operation.operation_id)):
            response = operation.responses[status]
            more = ("Content-Type",) if response.get("content") else ()
            for name in (*sorted(response.get("headers", {})), *more, *SECURITY_HEADERS):
                yield cls(operation.operation_id, status, name)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} has no {self.name}"

    def _changed(self, answer: Answer) -> Answer:
        return _without(answer, self.name)


@dataclass(frozen=True)
class _OfBody(_OfStatus):
    """A mutant that changes what stands somewhere in the body."""

    steps: _Steps

    def __str__(self) -> str:
        where = "/".join(("", *self.steps))
        return f"{self.rule}: {self.operation_id} {self.status} {where}"

    def _changed(self, answer: Answer) -> Answer:
        try:
            content = json.loads(answer.body)
        except ValueError:
            return answer
        self._spoil(content)
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        return replace(answer, body=body) if content != json.loads(answer.body) else answer

    def _spoil(self, content: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class DroppedField(_OfBody):
    """A field that is required is missing, in lists from every item."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each required field of each answer."""
        for status, steps, schema in _objects_of(operation):
            for name in schema.get("required", ()):
                yield cls(operation.operation_id, status, (*steps, name))

    def _spoil(self, content: Any) -> None:
        for each in _values_at(content, self.steps[:-1]):
            if isinstance(each, dict):
                each.pop(self.steps[-1], None)


@dataclass(frozen=True)
class AddedField(_OfBody):
    """A field is there that the document does not know."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each object of each answer that is closed."""
        for status, steps, schema in _objects_of(operation):
            if schema.get("additionalProperties") is False:
                yield cls(operation.operation_id, status, steps)

    def _spoil(self, content: Any) -> None:
        for each in _values_at(content, self.steps):
            if isinstance(each, dict):
                each["unknown_field"] = "x"


@dataclass(frozen=True)
class ChangedValue(_OfBody):
    """A success says something else, in a form that no schema can tell from what is right."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each switch, number and free text of each success."""
        for status, steps, schema in _objects_of(operation):
            if status >= HTTPStatus.BAD_REQUEST:
                continue
            for name, below in schema["properties"].items():
                described = resolve(load_document(), below)
                fixed = {"enum", "pattern", "format"} & described.keys()
                if described.get("type") in _OTHERWISE and not fixed:
                    yield cls(operation.operation_id, status, (*steps, name))

    def _spoil(self, content: Any) -> None:
        name = self.steps[-1]
        for each in _values_at(content, self.steps[:-1]):
            if isinstance(each, dict) and name in each:
                kind = _JSON_TYPES.get(type(each[name]))
                if kind is not None:
                    each[name] = _OTHERWISE[kind](each[name])


#: Another value of the same type.
_OTHERWISE: Mapping[str, Callable[[Any], Any]] = {
    "boolean": lambda value: not value,
    "integer": lambda value: value // 2,
    "string": lambda value: f"{value[1:]}x",
}
_JSON_TYPES = {bool: "boolean", int: "integer", str: "string"}


@dataclass(frozen=True)
class ReplacedCode(_OfStatus):
    """A refusal is called by the name of another one that the operation documents."""

    code: str
    instead: str

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each code, as each other of the same status or, where there is none, of the next."""
        known = operation.operation_id
        for status in sorted(statuses_asked(known)):
            others = documented_codes(known, status)
            if len(others) == 1:
                others |= documented_codes(known, _next(operation, status))
            for code in sorted(codes_asked(known, status)):
                for instead in sorted(others - {code}):
                    yield cls(known, status, code, instead)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} {self.code} is {self.instead}"

    def _changed(self, answer: Answer) -> Answer:
        try:
            content = json.loads(answer.body)
        except ValueError:
            return answer
        found = False
        for *steps, name in refusal_shapes().code_paths(self.operation.dialect):
            # A list of violations has a code in each item, and nothing says so in these steps.
            for each in (*_values_at(content, (*steps,)), *_values_at(content, (*steps, "*"))):
                if isinstance(each, dict) and each.get(name) == self.code:
                    each[name], found = self.instead, True
        return replace(answer, body=json.dumps(content).encode()) if found else answer


ANSWER_RULES: tuple[type[Mutant], ...] = (
    DroppedField,
    ChangedStatus,
    LostHeader,
    AddedField,
    ChangedValue,
    ReplacedCode,
)


def _next(operation: OperationSpec, status: int) -> int:
    refused = [each for each in sorted(operation.responses) if each >= HTTPStatus.BAD_REQUEST]
    return refused[(refused.index(status) + 1) % len(refused)]


def _without(answer: Answer, name: str) -> Answer:
    kept = tuple(each for each in answer.headers if each[0].lower() != name.lower())
    return replace(answer, headers=kept)


def _objects_of(operation: OperationSpec) -> Iterator[tuple[int, _Steps, Mapping[str, Any]]]:
    """Each object with fields of its own, in each body that is asked for."""
    for status in sorted(statuses_asked(operation.operation_id)):
        for media, content in operation.responses[status].get("content", {}).items():
            if media.endswith("json"):
                for steps, schema in dict(_objects_in(content["schema"])).items():
                    yield status, steps, schema


def _objects_in(
    described: Mapping[str, Any], steps: _Steps = ()
) -> Iterator[tuple[_Steps, Mapping[str, Any]]]:
    schema = resolve(load_document(), described)
    if "properties" in schema:
        yield steps, schema
    for name, below in schema.get("properties", {}).items():
        yield from _objects_in(below, (*steps, name))
    if "items" in schema:
        yield from _objects_in(schema["items"], (*steps, "*"))
    for below in schema.get("oneOf", ()):
        yield from _objects_in(below, steps)


def _values_at(content: Any, steps: _Steps) -> list[Any]:
    values = [content]
    for step in steps:
        values = [
            below
            for each in values
            for below in (
                (each if isinstance(each, list) else ())
                if step == "*"
                else (each[step],)
                if isinstance(each, dict) and step in each
                else ()
            )
        ]
    return values
