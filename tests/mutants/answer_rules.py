"""Mutants that change responses: the service acts correctly and returns something else."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, ClassVar, Self

from oneself.document import OperationSpec, load_document, resolve
from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.http_client import Answer
from oneself_conformance.operations import documented_codes
from tests.mutants.mutation import Mutant, tested_codes, tested_statuses

__all__ = ["ANSWER_RULES", "SECURITY_HEADERS"]

#: Headers of every response, which the document does not list; see HT-15 of docs/security.md.
SECURITY_HEADERS = (
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Resource-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
)
#: Undocumented statuses to replace a documented one: other successes, and an unknown refusal.
_UNDOCUMENTED = (200, 201, 202, 204, 418)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

#: The path to a value: names, and `*` for each item of a list.
_Steps = tuple[str, ...]


@dataclass(frozen=True)
class _StatusMutant(Mutant):
    """A mutant that changes the responses with one status."""

    status: int

    equivalence: ClassVar[str] = "no response to any row has it"

    def change_answer(self, answer: Answer) -> Answer:
        """Change a response with this status."""
        return self._mutate(answer) if answer.status == self.status else answer

    def _mutate(self, answer: Answer) -> Answer:
        raise NotImplementedError


@dataclass(frozen=True)
class ChangedStatus(_StatusMutant):
    """The status is replaced by another, documented or not."""

    replacement: int

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each tested status and each replacement."""
        for status in sorted(tested_statuses(operation.operation_id)):
            for replacement in sorted({*operation.responses, *_UNDOCUMENTED} - {status}):
                yield cls(operation.operation_id, status, replacement)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} is {self.replacement}"

    def _mutate(self, answer: Answer) -> Answer:
        if self.replacement in _BODILESS:
            return replace(_without(answer, "content-type"), status=self.replacement, body=b"")
        return replace(answer, status=self.replacement)


@dataclass(frozen=True)
class LostHeader(_StatusMutant):
    """A header is missing, a documented one or one of every response."""

    name: str

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each header of each status."""
        for status in sorted(tested_statuses(operation.operation_id)):
            response = operation.responses[status]
            more = ("Content-Type",) if response.get("content") else ()
            for name in (*sorted(response.get("headers", {})), *more, *SECURITY_HEADERS):
                yield cls(operation.operation_id, status, name)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} has no {self.name}"

    def _mutate(self, answer: Answer) -> Answer:
        return _without(answer, self.name)


@dataclass(frozen=True)
class _BodyMutant(_StatusMutant):
    """A mutant that changes part of the body."""

    steps: _Steps

    def __str__(self) -> str:
        where = "/".join(("", *self.steps))
        return f"{self.rule}: {self.operation_id} {self.status} {where}"

    def _mutate(self, answer: Answer) -> Answer:
        try:
            content = json.loads(answer.body)
        except ValueError:
            return answer
        self._mutate_content(content)
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        return replace(answer, body=body) if content != json.loads(answer.body) else answer

    def _mutate_content(self, content: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class DroppedField(_BodyMutant):
    """A required field is missing, in lists from every item."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each required field of each response."""
        for status, steps, schema in _objects_of(operation):
            for name in schema.get("required", ()):
                yield cls(operation.operation_id, status, (*steps, name))

    def _mutate_content(self, content: Any) -> None:
        for each in _values_at(content, self.steps[:-1]):
            if isinstance(each, dict):
                each.pop(self.steps[-1], None)


@dataclass(frozen=True)
class AddedField(_BodyMutant):
    """An undocumented field is added."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each closed object of each response."""
        for status, steps, schema in _objects_of(operation):
            if schema.get("additionalProperties") is False:
                yield cls(operation.operation_id, status, steps)

    def _mutate_content(self, content: Any) -> None:
        for each in _values_at(content, self.steps):
            if isinstance(each, dict):
                each["unknown_field"] = "x"


@dataclass(frozen=True)
class ChangedValue(_BodyMutant):
    """A value of a success is changed within its schema."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each boolean, integer and free string of each success."""
        for status, steps, schema in _objects_of(operation):
            if status >= HTTPStatus.BAD_REQUEST:
                continue
            for name, below in schema["properties"].items():
                schema_or_ref = resolve(load_document(), below)
                fixed = {"enum", "pattern", "format"} & schema_or_ref.keys()
                if schema_or_ref.get("type") in _CHANGES and not fixed:
                    yield cls(operation.operation_id, status, (*steps, name))

    def _mutate_content(self, content: Any) -> None:
        name = self.steps[-1]
        for each in _values_at(content, self.steps[:-1]):
            if isinstance(each, dict) and name in each:
                kind = _JSON_TYPES.get(type(each[name]))
                if kind is not None:
                    each[name] = _CHANGES[kind](each[name])


#: A different value of the same type.
_CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "boolean": lambda value: not value,
    "integer": lambda value: value // 2,
    "string": lambda value: f"{value[1:]}x",
}
_JSON_TYPES = {bool: "boolean", int: "integer", str: "string"}


@dataclass(frozen=True)
class ReplacedCode(_StatusMutant):
    """The code of a refusal is replaced by another code that the operation documents."""

    code: str
    replacement: str

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each code and each other code of the same status, or of the next."""
        operation_id = operation.operation_id
        for status in sorted(tested_statuses(operation_id)):
            replacements = documented_codes(operation_id, status)
            if len(replacements) == 1:
                replacements |= documented_codes(operation_id, _next_refusal(operation, status))
            for code in sorted(tested_codes(operation_id, status)):
                for replacement in sorted(replacements - {code}):
                    yield cls(operation_id, status, code, replacement)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.status} {self.code} is {self.replacement}"

    def _mutate(self, answer: Answer) -> Answer:
        try:
            content = json.loads(answer.body)
        except ValueError:
            return answer
        is_found = False
        for *steps, name in refusal_shapes().code_paths(self.operation.dialect):
            # Each item of a list of violations can have a code; the paths do not contain the list.
            for each in (*_values_at(content, (*steps,)), *_values_at(content, (*steps, "*"))):
                if isinstance(each, dict) and each.get(name) == self.code:
                    each[name], is_found = self.replacement, True
        return replace(answer, body=json.dumps(content).encode()) if is_found else answer


ANSWER_RULES: tuple[type[Mutant], ...] = (
    DroppedField,
    ChangedStatus,
    LostHeader,
    AddedField,
    ChangedValue,
    ReplacedCode,
)


def _next_refusal(operation: OperationSpec, status: int) -> int:
    refused = [each for each in sorted(operation.responses) if each >= HTTPStatus.BAD_REQUEST]
    return refused[(refused.index(status) + 1) % len(refused)]


def _without(answer: Answer, name: str) -> Answer:
    kept = tuple(each for each in answer.headers if each[0].lower() != name.lower())
    return replace(answer, headers=kept)


def _objects_of(operation: OperationSpec) -> Iterator[tuple[int, _Steps, Mapping[str, Any]]]:
    """Yield each object with fields in each tested response body."""
    for status in sorted(tested_statuses(operation.operation_id)):
        for media, content in operation.responses[status].get("content", {}).items():
            if media.endswith("json"):
                for steps, schema in dict(_objects_in(content["schema"])).items():
                    yield status, steps, schema


def _objects_in(
    schema_or_ref: Mapping[str, Any], steps: _Steps = ()
) -> Iterator[tuple[_Steps, Mapping[str, Any]]]:
    schema = resolve(load_document(), schema_or_ref)
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
