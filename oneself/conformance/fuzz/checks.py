"""What holds for every answer to a fuzzer, beyond what Schemathesis checks by itself."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import yaml

from oneself.conformance.common_assertions import (
    find_common_violations,
    find_schema_violations,
    repeated_values,
)
from oneself.conformance.deployment import Deployment
from oneself.conformance.fuzz.refusal_codes import codes_in, documented_codes
from oneself.conformance.http_client import FORM, Answer, Request
from oneself.document import OperationSpec, load_document

__all__ = ["RULES", "Asker", "Exchange", "Rule", "reasons"]

_REASONS = Path(__file__).parents[3] / "contracts" / "reasons.yaml"
_WORD = re.compile(r"[A-Za-z_ ]*")
#: Statuses that say that a request has not the shape, or that what it claims is not so.
_INVALID = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


class Asker(Protocol):
    """Whoever asks, as far as a rule has to know."""

    deployment: Deployment

    def is_refused_though_good(self, request: Request) -> bool:
        """Whether the credential of a request, which was not taken, is taken elsewhere."""


@dataclass(frozen=True)
class Exchange:
    """A request and its answer; a valid request is one that has the documented shape."""

    operation: OperationSpec
    request: Request
    answer: Answer
    valid: bool


#: Gives each way in which an answer breaks it.
Rule = Callable[[Exchange, Asker], Iterator[str]]


def answer_is_documented(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """The status, the headers and the body are the document's, and no field stands beside them."""
    if exchange.request.method == exchange.operation.method.upper():
        yield from find_schema_violations(
            exchange.operation, exchange.request.method, exchange.answer
        )


def refusal_has_documented_code(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """A refusal says its code where its dialect has it, and the document knows the code."""
    if exchange.answer.status < HTTPStatus.BAD_REQUEST or exchange.request.method == "HEAD":
        return
    try:
        codes = codes_in(exchange.operation.dialect, exchange.answer.json())
    except ValueError:
        yield "body: a refusal is no JSON"
        return
    if not codes:
        yield f"body: a refusal has no code where {exchange.operation.dialect} has it"
    for code in codes:
        if code not in documented_codes(exchange.operation.operation_id, exchange.answer.status):
            yield f"body: {code!r} is not documented for {exchange.answer.status}"


def challenge_comes_with_401(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """RFC 9110, section 15.5.2: who has to prove themselves is told how."""
    challenges = exchange.answer.values("www-authenticate")
    if exchange.answer.status == HTTPStatus.UNAUTHORIZED and not challenges:
        yield "header www-authenticate: is missing from a 401"
    if any(not re.match(r"(Bearer|Basic)( |$)", each) for each in challenges):
        yield f"header www-authenticate: {challenges!r} challenges for no scheme of the document"


def allow_is_true(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """RFC 9110, section 15.5.6: a 405 names the methods that there are, and no others."""
    if exchange.answer.status != HTTPStatus.METHOD_NOT_ALLOWED:
        return
    item = load_document()["paths"][exchange.operation.path]
    there = {method.upper() for method in item if method not in {"parameters", "summary"}}
    there |= {"HEAD"} if "GET" in there else set()
    said = {each.strip() for value in exchange.answer.values("allow") for each in value.split(",")}
    if said != there:
        yield f"header allow: names {sorted(said)}, and there are {sorted(there)}"


def headers_are_safe(exchange: Exchange, asker: Asker) -> Iterator[str]:
    """Nothing is stored, framed, sniffed or told to strangers, whatever is answered."""
    yield from find_common_violations(exchange.answer, behind_proxy=asker.deployment.behind_proxy)


def no_value_comes_back(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """A refusal names fields and rules, and never a value that was sent (HT-03)."""
    words = {*_documented_words()}
    # A fuzzer sends what it has been answered, the time of day among it.
    words |= {*exchange.answer.values("x-request-id"), *_times(exchange.answer)}
    sent = [
        value
        for value in _texts(_sent(exchange.request))
        # A word alone, such as "request", a sentence may have for its own reasons.
        if value not in words and not _WORD.fullmatch(value)
    ]
    yield from repeated_values(exchange.request, sent, exchange.answer)


def good_credential_is_taken(exchange: Exchange, asker: Asker) -> Iterator[str]:
    """A credential that is good elsewhere is never a 401 where its kind is accepted."""
    if (
        exchange.answer.status == HTTPStatus.UNAUTHORIZED
        and exchange.operation.accepted
        and asker.is_refused_though_good(exchange.request)
    ):
        yield "status: 401, and the credential is good"


def valid_request_is_refused_for_a_reason(exchange: Exchange, _asker: Asker) -> Iterator[str]:
    """What has the documented shape is refused as invalid only for what no schema can say."""
    if not exchange.valid or exchange.answer.status not in _INVALID:
        return
    text = exchange.answer.body.decode(errors="replace")
    known = reasons().get(exchange.operation.operation_id, ())
    if not any(reason in text for reason in known):
        yield f"status: {exchange.answer.status}, and the request has the documented shape"


RULES: tuple[Rule, ...] = (
    answer_is_documented,
    refusal_has_documented_code,
    challenge_comes_with_401,
    allow_is_true,
    headers_are_safe,
    no_value_comes_back,
    good_credential_is_taken,
    valid_request_is_refused_for_a_reason,
)


def _times(answer: Answer) -> Iterator[str]:
    """When the answer says that it was made."""
    with suppress(ValueError, TypeError, KeyError):
        yield answer.json()["timestamp"]


@cache
def reasons() -> Mapping[str, tuple[str, ...]]:
    """For what a request of the documented shape may still be refused, by operation."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in yaml.safe_load(_REASONS.read_bytes()):
        for operation_id in entry["operations"]:
            found[operation_id] = (*found.get(operation_id, ()), entry["says"])
    return found


@cache
def _documented_words() -> frozenset[str]:
    """The words that a refusal may list as those to choose from."""
    return frozenset(_enumerated(load_document()["components"]["schemas"]))


def _enumerated(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from (str(each) for each in schema.get("enum", ()))
        for below in schema.values():
            yield from _enumerated(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from _enumerated(below)


def _sent(request: Request) -> Any:
    """The values in the body as it went out."""
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    if types[:1] == [FORM]:
        return [value for _, value in parse_qsl(request.body.decode(errors="replace"))]
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for below in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(below)
