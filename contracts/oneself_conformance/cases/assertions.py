"""Assertions of a row on its response."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from oneself_conformance.cases.matching import Matcher, Picture, differences
from oneself_conformance.cases.published import fits_status, member_violations
from oneself_conformance.cases.standards import find_standard_violations
from oneself_conformance.cases.table import Row
from oneself_conformance.common_assertions import (
    find_common_violations,
    find_schema_violations,
    repeated_values,
)
from oneself_conformance.http_client import FORM, Answer, Request
from oneself_conformance.levels import Level, Violation
from oneself_conformance.placeholders import fill

#: Headers that clients act on: a response must have those of its row, and no others.
COMPARED_HEADERS = (
    "access-control-allow-origin", "allow", "connection", "location", "ratelimit",
    "ratelimit-policy", "retry-after", "set-cookie", "www-authenticate",
)  # fmt: skip
#: Of a challenge: it names the public URL of the deployment (RFC 9728), which need not be the one
#: that it is tested by.
_RESOURCE_METADATA = re.compile(
    r', resource_metadata="https?://[^"/]+/\.well-known/oauth-protected-resource"'
)
#: The values of these fields are registered names, which a rule may mention.
_REGISTERED_NAMES = frozenset({"grant_type", "requested_token_type", "subject_token_type"})


def find_violations(
    row: Row,
    request: Request,
    answer: Answer,
    *,
    now: datetime,
    look_up: Callable[[str], Any],
    behind_proxy: bool = False,
    hold: Level = Level.HOUSE,
) -> list[Violation]:
    """Return each violation of the row, and of the assertions on every response, up to a level."""
    found = [
        *_status_violations(row, answer),
        *_published_violations(row, request, answer, now, look_up),
        *_standard_violations(row, answer, now, look_up),
    ]
    if hold is Level.HOUSE:
        strict = [
            *_header_violations(row, answer, now, look_up, behind_proxy=behind_proxy),
            *_body_violations(row, request, answer, now, look_up),
            *find_common_violations(answer, behind_proxy=behind_proxy),
            *repeated_values(request, [_row_values(row, look_up), _body_values(request)], answer),
        ]
        # A row with its own path does not call an operation of the document.
        if row.operation is not None and "path" not in row.raw:
            strict += find_schema_violations(row.operation, request.method, answer)
        # A sentence that a page or a standard demands as well is not repeated.
        found += [Violation(text) for text in strict if text not in found]
    return [each for each in found if each.level <= hold]


def _status_violations(row: Row, answer: Answer) -> Iterator[Violation]:
    if not fits_status(answer.status, row.printed_status):
        text = f"status: {answer.status} is not {row.printed_status}"
        yield Violation(text, row.level, row.source)
    elif answer.status != row.status:
        yield Violation(f"status: {answer.status} is not {row.status}")


def _published_violations(
    row: Row, request: Request, answer: Answer, now: datetime, look_up: Callable[[str], Any]
) -> Iterator[Violation]:
    """Yield what the page demands of the body: the members that it shows, and their values."""
    page = row.page
    expected = fill(row.published.get("body"), look_up)
    members = (
        page.members(row.status)
        if page and fits_status(answer.status, row.printed_status)
        else None
    )
    is_silent = members is None and not expected
    if row.level is not Level.PUBLISHED or request.method == "HEAD" or is_silent:
        return
    content = _parse_json(answer)
    for text in member_violations(members, content) if members is not None else ():
        yield Violation(text, Level.PUBLISHED, page.section if page else row.source)
    for text in differences(expected, content, answer, now, is_open=True) if expected else ():
        yield Violation(text, Level.PUBLISHED, row.source)


def _standard_violations(
    row: Row, answer: Answer, now: datetime, look_up: Callable[[str], Any]
) -> Iterator[Violation]:
    """Yield what RFCs demand: of every answer, and of the body of a row about a standard."""
    yield from find_standard_violations(answer)
    if row.dialect == "oauth" and answer.status == HTTPStatus.OK:
        yield from _cached_token(answer)
    refusal = row.expected_refusal
    # Only OAuth's error objects are standardised.
    if row.level is not Level.STANDARD or (refusal is not None and row.dialect != "oauth"):
        return
    expected = refusal.body if refusal is not None else fill(row.expect.get("body"), look_up)
    if isinstance(expected, Mapping):
        named = {name: each for name, each in expected.items() if name != "error_description"}
        for text in differences(named, _parse_json(answer), answer, now, is_open=True):
            yield Violation(text, Level.STANDARD, row.source)


def _cached_token(answer: Answer) -> Iterator[Violation]:
    """Yield a violation if a response with a token may be cached."""
    content = _parse_json(answer)
    directives = ",".join(answer.values("cache-control")).lower()
    if isinstance(content, Mapping) and "access_token" in content and "no-store" not in directives:
        text = "header cache-control: allows a token to be stored"
        yield Violation(text, Level.STANDARD, "RFC 6749, section 5.1")


def _parse_json(answer: Answer) -> Any:
    """Return the body, or None if it is not JSON, whatever the parameters of its media type."""
    try:
        return answer.json()
    except ValueError:
        return None


def _row_values(row: Row, look_up: Callable[[str], Any]) -> Any:
    """Return the values of the request in the row, except forms, which `_body_values` reads."""
    spec = row.raw.get("request", {})
    return fill({name: each for name, each in spec.items() if name != "form"}, look_up)


def _body_values(request: Request) -> Any:
    """Return the values in the body as sent, including those of the document's example."""
    if ("Content-Type", FORM) in request.headers:
        fields = parse_qsl(request.body.decode(errors="replace"))
        return [value for name, value in fields if name not in _REGISTERED_NAMES]
    try:
        return json.loads(request.body)
    except ValueError:
        # Malformed JSON has no names that a refusal could repeat: each string is a value.
        return re.findall('"([^"]+)"', request.body.decode(errors="replace"))


def _header_violations(
    row: Row, answer: Answer, now: datetime, look_up: Callable[[str], Any], *, behind_proxy: bool
) -> Iterator[str]:
    headers = row.expect.get("headers", {})
    if (refusal := row.expected_refusal) is not None:
        headers = {"Content-Type": refusal.content_type, **refusal.headers, **headers}
    expected_values = {name.lower(): fill(value, look_up) for name, value in headers.items()}
    names = {*COMPARED_HEADERS, *expected_values}
    if behind_proxy:
        names.discard("connection")
    for name in names:
        value = expected_values.get(name) or []
        expected = value if isinstance(value, list) else [value]
        found = [_RESOURCE_METADATA.sub("", each) for each in answer.values(name)]
        yield from differences(expected, found, answer, now, f"header {name}")


def _body_violations(
    row: Row, request: Request, answer: Answer, now: datetime, look_up: Callable[[str], Any]
) -> Iterator[str]:
    if row.expected_refusal is not None:
        expected = row.expected_refusal.body
    elif "body" not in row.expect and "body" in row.published:
        return  # the page's own words are all that this row is about
    else:
        expected = fill(row.expect.get("body"), look_up)
    if expected is None or request.method == "HEAD":
        if answer.body:
            yield f"body: is not empty, but has {len(answer.body)} bytes"
        return
    if not isinstance(expected, Matcher | Mapping | list):
        yield f"body: the row expects {expected!r}, which no response can be"
        return
    if isinstance(expected, Picture):
        yield from differences(expected, answer.body, answer, now)
        return
    try:
        found = answer.json()
    except ValueError:
        yield f"body: is not JSON, but {answer.body[:200]!r}"
        return
    yield from differences(expected, found, answer, now)
