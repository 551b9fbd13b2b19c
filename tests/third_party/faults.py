"""Faults in a response that a validator must detect."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from oneself_conformance.http_client import Answer

__all__ = ["FAULTS"]


def drop_field(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content).pop(_first_field(content))
    return replace(answer, body=json.dumps(content).encode())


def add_field(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content)["debug"] = "yes"
    return replace(answer, body=json.dumps(content).encode())


def change_type(answer: Answer) -> Answer:
    content = answer.json()
    (content[0] if isinstance(content, list) else content)[_first_field(content)] = 7.5
    return replace(answer, body=json.dumps(content).encode())


def change_status(answer: Answer) -> Answer:
    return replace(answer, status=int(HTTPStatus.NON_AUTHORITATIVE_INFORMATION))


def drop_request_id(answer: Answer) -> Answer:
    return replace(answer, headers=_without(answer, "x-request-id"))


def change_content_type(answer: Answer) -> Answer:
    headers = (*_without(answer, "content-type"), ("Content-Type", "text/plain"))
    return replace(answer, headers=headers)


def change_nothing(answer: Answer) -> Answer:
    return answer


def _first_field(content: Any) -> str:
    return str(next(iter(content[0] if isinstance(content, list) else content)))


def _without(answer: Answer, name: str) -> tuple[tuple[str, str], ...]:
    return tuple(each for each in answer.headers if each[0].lower() != name)


FAULTS: Mapping[str, Callable[[Answer], Answer]] = {
    "nothing": change_nothing,
    "missing required field": drop_field,
    "undocumented field": add_field,
    "wrong type": change_type,
    "undocumented status": change_status,
    "missing required header": drop_request_id,
    "wrong content type": change_content_type,
}
