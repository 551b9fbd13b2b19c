"""Single faults in responses."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from oneself_conformance.http_client import Answer, Request
from tests.support.service import Service
from tests.support.tampering import tampering_proxy

__all__ = [
    "Fault",
    "add_field",
    "answer_with",
    "drop_field",
    "drop_header",
    "faulty_proxy",
    "set_field",
]

#: Returns a changed response.
Fault = Callable[[Answer], Answer]


@contextmanager
def faulty_proxy(service: Service, faults: Mapping[tuple[str, str], Fault]) -> Iterator[str]:
    """Run a proxy that applies faults to responses by (method, path); yield its URL."""

    def tamper(request: Request, ask: Callable[[Request], Answer]) -> Answer:
        fault = faults.get((request.method, request.target.partition("?")[0]))
        return ask(request) if fault is None else fault(ask(request))

    with tampering_proxy(service.port, tamper) as port:
        yield f"http://127.0.0.1:{port}"


def set_field(name: str, value: Any) -> Fault:
    """Set a field of the response object, or add it."""
    return lambda answer: _with_body(answer, {**answer.json(), name: value})


add_field = set_field


def drop_field(name: str) -> Fault:
    """Remove a field of the response object."""
    return lambda answer: _with_body(
        answer, {key: value for key, value in answer.json().items() if key != name}
    )


def drop_header(name: str) -> Fault:
    """Remove a header."""
    return lambda answer: replace(
        answer, headers=tuple(header for header in answer.headers if header[0].lower() != name)
    )


def answer_with(status: int, body: Any = None, **headers: str) -> Fault:
    """Change the status, and optionally the body and some headers."""

    def change(answer: Answer) -> Answer:
        changed = answer if body is None else _with_body(answer, body)
        kept = [header for header in changed.headers if header[0].lower() not in headers]
        return replace(changed, status=status, headers=(*kept, *headers.items()))

    return change


def _with_body(answer: Answer, content: Any) -> Answer:
    return replace(answer, body=json.dumps(content).encode())
