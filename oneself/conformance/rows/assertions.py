"""Judging whether an answer keeps the promise of its row."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from oneself.conformance.common_assertions import (
    find_common_violations,
    find_schema_violations,
    repeated_values,
)
from oneself.conformance.http_client import FORM, Answer, Request
from oneself.conformance.rows.matching import Matcher, Picture, differences, fill
from oneself.conformance.rows.table import Row, refusal_shapes

__all__ = ["find_violations"]

#: Headers that a client acts upon: an answer has those that its row promises, and no other.
_MEANINGFUL = (
    "allow", "connection", "location", "ratelimit", "ratelimit-policy", "retry-after",
    "set-cookie", "www-authenticate",
)  # fmt: skip
#: What these say are names that OAuth has registered, and a rule may name them too.
_NAMES = frozenset({"grant_type", "requested_token_type", "subject_token_type"})


def find_violations(
    row: Row,
    request: Request,
    answer: Answer,
    *,
    now: datetime,
    look_up: Callable[[str], Any],
    behind_proxy: bool = False,
) -> list[str]:
    """Each way in which the answer breaks the row's promise, or what is promised everywhere."""
    found = [
        *_broken_status_and_headers(row, answer, now, look_up, behind_proxy=behind_proxy),
        *_broken_body(row, request, answer, now, look_up),
        *find_common_violations(answer, behind_proxy=behind_proxy),
        *repeated_values(request, [_described(row, look_up), _sent(request)], answer),
    ]
    # A row with a path of its own asks for no operation of the document.
    if row.operation is not None and "path" not in row.raw:
        found += find_schema_violations(row.operation, request.method, answer)
    return found


def _described(row: Row, look_up: Callable[[str], Any]) -> Any:
    """The values in the request as the row has it; of a form, what is sent says more."""
    spec = row.raw.get("request", {})
    return fill({name: each for name, each in spec.items() if name != "form"}, look_up)


def _sent(request: Request) -> Any:
    """The values in the body as it went out, the document's own example among them."""
    if ("Content-Type", FORM) in request.headers:
        fields = parse_qsl(request.body.decode(errors="replace"))
        return [value for name, value in fields if name not in _NAMES]
    try:
        return json.loads(request.body)
    except ValueError:
        # What is no JSON has no names that a refusal could rightly repeat: each text is a value.
        return re.findall('"([^"]+)"', request.body.decode(errors="replace"))


def _broken_status_and_headers(
    row: Row,
    answer: Answer,
    now: datetime,
    look_up: Callable[[str], Any],
    *,
    behind_proxy: bool,
) -> Iterator[str]:
    if answer.status != row.status:
        yield f"status: {answer.status} is not {row.status}"
    promised = dict(row.expect.get("headers", {}))
    if row.refusal is not None:
        refused = refusal_shapes().in_dialect(row.dialect, row.refusal)
        promised = {"Content-Type": refused.content_type, **refused.headers, **promised}
    wanted = {name.lower(): fill(value, look_up) for name, value in promised.items()}
    for name in {*_MEANINGFUL, *wanted} - ({"connection"} if behind_proxy else set()):
        values = answer.values(name)
        expected = [] if wanted.get(name) is None else [wanted[name]]
        yield from differences(expected, values, answer, now, f"header {name}")


def _broken_body(
    row: Row,
    request: Request,
    answer: Answer,
    now: datetime,
    look_up: Callable[[str], Any],
) -> Iterator[str]:
    expected: Any = None
    if row.refusal is not None:
        expected = (
            refusal_shapes()
            .in_dialect(
                row.dialect,
                row.refusal,
                says=row.expect.get("says"),
                violations=row.expect.get("violations"),
                notices=row.expect.get("notices"),
            )
            .body
        )
    elif "body" in row.expect:
        expected = fill(row.expect["body"], look_up)
    if expected is None or request.method == "HEAD":
        if answer.body:
            yield f"body: there is one, of {len(answer.body)} bytes"
        return
    if not isinstance(expected, Matcher | Mapping | list):
        yield f"body: {expected!r} is nothing that an answer can be"
        return
    if isinstance(expected, Picture):
        yield from differences(expected, answer.body, answer, now)
        return
    try:
        found = answer.json()
    except ValueError:
        yield f"body: is no JSON, but {answer.body[:200]!r}"
        return
    yield from differences(expected, found, answer, now)
