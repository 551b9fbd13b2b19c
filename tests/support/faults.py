"""What can be wrong with an answer, one thing at a time."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from oneself.conformance.http_client import Answer, Request
from tests.support.service import Service
from tests.support.spoiling import spoiled

__all__ = ["Fault", "add_field", "answer_with", "drop_field", "drop_header", "faulty", "set_field"]

#: What becomes of an answer.
Fault = Callable[[Answer], Answer]


@contextmanager
def faulty(service: Service, faults: Mapping[tuple[str, str], Fault]) -> Iterator[str]:
    """The address of a proxy that passes all on, but breaks what (method, path) answers."""

    def spoil(request: Request, ask: Callable[[Request], Answer]) -> Answer:
        fault = faults.get((request.method, request.target.partition("?")[0]))
        return ask(request) if fault is None else fault(ask(request))

    with spoiled(service.port, spoil) as port:
        yield f"http://127.0.0.1:{port}"


def set_field(name: str, value: Any) -> Fault:
    """A field of the object that is answered has another value, or is one too many."""
    return lambda answer: _with_body(answer, {**answer.json(), name: value})


add_field = set_field


def drop_field(name: str) -> Fault:
    """A field of the object that is answered is missing."""
    return lambda answer: _with_body(
        answer, {key: value for key, value in answer.json().items() if key != name}
    )


def drop_header(name: str) -> Fault:
    """A header is missing."""
    return lambda answer: replace(
        answer, headers=tuple(each for each in answer.headers if each[0].lower() != name)
    )


def answer_with(status: int, body: Any = None, **headers: str) -> Fault:
    """Another status; with a body, that instead of what was answered, and with more headers."""

    def answer_so(answer: Answer) -> Answer:
        answered = answer if body is None else _with_body(answer, body)
        others = [each for each in answered.headers if each[0].lower() not in headers]
        return replace(answered, status=status, headers=(*others, *headers.items()))

    return answer_so


def _with_body(answer: Answer, content: Any) -> Answer:
    return replace(answer, body=json.dumps(content).encode())
