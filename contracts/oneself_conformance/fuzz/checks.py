"""Checks on every response to the fuzzer, in addition to those of Schemathesis."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import yaml

from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.cases.published import fits_status, member_violations, pages
from oneself_conformance.common_assertions import (
    find_common_violations,
    find_schema_violations,
    repeated_values,
    texts_in,
)
from oneself_conformance.document import DATA, OperationSpec, load_document
from oneself_conformance.fuzz.identity import FuzzIdentity
from oneself_conformance.http_client import FORM, Answer, Request
from oneself_conformance.levels import Level
from oneself_conformance.operations import documented_codes

_REASONS = DATA / "reasons.yaml"
_WORD = re.compile(r"[A-Za-z_ ]*")
#: Statuses of malformed requests and of wrong values.
_INVALID = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


@dataclass(frozen=True)
class Exchange:
    """A request and its response; `valid` if the request has the documented shape.

    `identity` is the user that sent it.
    """

    operation: OperationSpec
    request: Request
    answer: Answer
    identity: FuzzIdentity
    valid: bool


#: Yields each violation in an exchange.
Rule = Callable[[Exchange], Iterator[str]]


def answer_is_documented(exchange: Exchange) -> Iterator[str]:
    """Status, headers and body match the document, without additional fields."""
    if exchange.request.method == exchange.operation.method.upper():
        yield from find_schema_violations(
            exchange.operation, exchange.request.method, exchange.answer
        )


def refusal_has_documented_code(exchange: Exchange) -> Iterator[str]:
    """A refusal has its code where the dialect puts it, and the document lists the code."""
    if exchange.answer.status < HTTPStatus.BAD_REQUEST or exchange.request.method == "HEAD":
        return
    try:
        codes = refusal_shapes().codes_in(exchange.operation.dialect, exchange.answer.json())
    except ValueError:
        yield "body: a refusal is not JSON"
        return
    if not codes:
        yield f"body: a refusal has no code where {exchange.operation.dialect} puts it"
    for code in codes:
        if code not in documented_codes(exchange.operation.operation_id, exchange.answer.status):
            yield f"body: {code!r} is not documented for {exchange.answer.status}"


def answer_has_published_members(exchange: Exchange) -> Iterator[str]:
    """A success has the status and the members that the page of the dialect shows."""
    page, status = pages().get(exchange.operation.operation_id), exchange.answer.status
    if page is None or status >= HTTPStatus.BAD_REQUEST or exchange.request.method == "HEAD":
        return
    if not any(fits_status(status, each) for each in page.statuses):
        yield f"status: {status} is not one of {', '.join(page.statuses)}"
    elif members := page.members(status):
        try:
            yield from member_violations(members, exchange.answer.json())
        except ValueError:
            yield "body: is not JSON"


def unauthorized_has_challenge(exchange: Exchange) -> Iterator[str]:
    """RFC 9110, section 15.5.2: a 401 has a challenge."""
    challenges = exchange.answer.values("www-authenticate")
    if exchange.answer.status == HTTPStatus.UNAUTHORIZED and not challenges:
        yield "header www-authenticate: is missing from a 401"
    is_ours = not exchange.identity.deployment.is_foreign
    if is_ours and any(not re.match(r"(Bearer|Basic)( |$)", each) for each in challenges):
        yield f"header www-authenticate: {challenges!r} has no scheme of the document"


def allow_lists_all_methods(exchange: Exchange) -> Iterator[str]:
    """RFC 9110, section 15.5.6: a 405 lists exactly the supported methods."""
    if exchange.answer.status != HTTPStatus.METHOD_NOT_ALLOWED:
        return
    if exchange.identity.deployment.is_foreign:
        if not exchange.answer.values("allow"):
            yield "header allow: is missing from a 405"
        return  # another service may have more methods
    item = load_document()["paths"][exchange.operation.path]
    methods = {method.upper() for method in item if method not in {"parameters", "summary"}}
    methods |= {"HEAD"} if "GET" in methods else set()
    allowed = {
        each.strip() for value in exchange.answer.values("allow") for each in value.split(",")
    }
    if allowed != methods:
        yield f"header allow: lists {sorted(allowed)}, not {sorted(methods)}"


def headers_are_safe(exchange: Exchange) -> Iterator[str]:
    """Every response forbids caching, framing and sniffing, and reveals no software."""
    yield from find_common_violations(
        exchange.answer, behind_proxy=exchange.identity.deployment.behind_proxy
    )


def refusal_repeats_no_value(exchange: Exchange) -> Iterator[str]:
    """A refusal names fields and rules, never a value of the request (HT-03)."""
    words = {*_documented_words(), *exchange.answer.values("x-request-id")}
    with suppress(ValueError, TypeError, KeyError):
        # The fuzzer sends values of earlier responses, including times.
        words.add(exchange.answer.json()["timestamp"])
    sent = [
        value
        for value in texts_in(_body_values(exchange.request))
        # A single word, such as "request", may occur in any message.
        if value not in words and not _WORD.fullmatch(value)
    ]
    yield from repeated_values(exchange.request, sent, exchange.answer)


def valid_credential_is_accepted(exchange: Exchange) -> Iterator[str]:
    """A valid credential is not rejected with 401 where its kind is accepted."""
    if (
        exchange.answer.status == HTTPStatus.UNAUTHORIZED
        and exchange.operation.accepted
        and exchange.identity.is_accepted_elsewhere(exchange.request)
    ):
        yield "status: 401, and the credential is valid"


def valid_request_is_refused_for_documented_reason(exchange: Exchange) -> Iterator[str]:
    """A well-formed request is rejected only for rules that no schema can express."""
    if not exchange.valid or exchange.answer.status not in _INVALID:
        return
    text = exchange.answer.body.decode(errors="replace")
    documented = reasons().get(exchange.operation.operation_id, ())
    if not any(reason in text for reason in documented):
        yield f"status: {exchange.answer.status}, and the request has the documented shape"


#: With what demands each.
RULES: Mapping[Rule, Level] = {
    answer_has_published_members: Level.PUBLISHED,
    unauthorized_has_challenge: Level.STANDARD,
    allow_lists_all_methods: Level.STANDARD,
    answer_is_documented: Level.HOUSE,
    refusal_has_documented_code: Level.HOUSE,
    headers_are_safe: Level.HOUSE,
    refusal_repeats_no_value: Level.HOUSE,
    valid_credential_is_accepted: Level.HOUSE,
    valid_request_is_refused_for_documented_reason: Level.HOUSE,
}


def check_names(hold: Level) -> list[str]:
    """Return the names of our checks up to a level, which are all that others are held to."""
    return [each.__name__ for each, level in RULES.items() if level <= hold]


@cache
def reasons() -> Mapping[str, Sequence[str]]:
    """Return the reasons why a well-formed request may be rejected, by operation."""
    reasons_by_operation: dict[str, list[str]] = {}
    for entry in yaml.safe_load(_REASONS.read_bytes()):
        for operation_id in entry["operations"]:
            reasons_by_operation.setdefault(operation_id, []).append(entry["says"])
    return reasons_by_operation


@cache
def _documented_words() -> frozenset[str]:
    """Return the enumerated words, which a refusal may list as alternatives."""
    return frozenset(_enumerated(load_document()["components"]["schemas"]))


def _enumerated(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from (str(each) for each in schema.get("enum", ()))
    if isinstance(schema, Mapping | list):
        for below in schema.values() if isinstance(schema, Mapping) else schema:
            yield from _enumerated(below)


def _body_values(request: Request) -> Any:
    """Return the values in the body of a request."""
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    if types[:1] == [FORM]:
        return [value for _, value in parse_qsl(request.body.decode(errors="replace"))]
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        return []
