"""What holds for every answer, whatever a row promises of it."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.document import OperationSpec, load_document, resolve

__all__ = ["find_common_violations", "find_schema_violations", "is_bytes", "repeated_values"]

#: Exactly these, once each; an empty `Server` tells nobody what to attack.
_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "server": "",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_REQUEST_ID = re.compile(r"req_[0-9a-f]{12}")
#: A value that is shorter can stand in any sentence by chance.
_SHORTEST_VALUE = 5


#: What a proxy in front answers with in its own name.
_OF_A_PROXY = frozenset({"server", "via"})


def find_common_violations(answer: Answer, *, behind_proxy: bool = False) -> Iterator[str]:
    """Each rule for all answers that this one breaks."""
    for name, value in _HEADERS.items():
        if behind_proxy and name in _OF_A_PROXY:
            continue
        if answer.values(name) != [value]:
            yield f"header {name}: {answer.values(name)!r} is not {value!r}"
    request_ids = answer.values("x-request-id")
    if len(request_ids) != 1 or not _REQUEST_ID.fullmatch(request_ids[0]):
        yield f"header x-request-id: {request_ids!r} is no request id"
    waits = [*answer.values("ratelimit"), *answer.values("retry-after")]
    if answer.values("ratelimit") and not waits[0].endswith(f"t={waits[-1]}"):
        yield f"headers ratelimit and retry-after: {waits!r} are not the same wait"
    for name, _ in answer.headers:
        if behind_proxy and name.lower() in _OF_A_PROXY:
            continue
        if name.lower().startswith(("access-control-", "x-powered-by", "via")):
            yield f"header {name}: has no business here"


def find_schema_violations(  # noqa: C901 # one rule after the other, none within another
    operation: OperationSpec, method: str, answer: Answer
) -> Iterator[str]:
    """Each way in which the answer is not one that the document describes."""
    response = operation.responses.get(answer.status)
    if response is None:
        yield f"status {answer.status} is not documented for {operation.operation_id}"
        return
    for name, spec in response.get("headers", {}).items():
        header = resolve(load_document(), spec)
        values = answer.values(name)
        if header.get("required") and not values:
            yield f"header {name}: is missing, and documented as required"
        for value in values:
            typed = int(value) if header["schema"]["type"] == "integer" else value
            if not _validator_of_header(name, answer.status, operation.operation_id).is_valid(
                typed
            ):
                yield f"header {name}: {value!r} is not what its schema says"
    contents = response.get("content", {})
    types = answer.values("content-type")
    if not contents and (types or answer.body):
        yield f"body: there is one ({types}), and the document has none"
    if contents and types[:1] not in [[name] for name in contents]:
        yield f"content type {types!r} is not among {sorted(contents)}"
    elif contents and method != "HEAD":
        if is_bytes(contents[types[0]]["schema"]):
            return  # of which a schema says no more than that they are
        validator = _validator(types[0], answer.status, operation.operation_id)
        try:
            content = answer.json()
        except ValueError:
            yield "body: is no JSON"
        else:
            for error in validator.iter_errors(content):
                yield f"schema, at {'/'.join(map(str, error.absolute_path))}: {error.message}"


def is_bytes(schema: Mapping[str, Any]) -> bool:
    """Whether a body is a file, and no JSON."""
    return resolve(load_document(), schema).get("format") == "binary"


def repeated_values(request: Request, sent: Any, answer: Answer) -> Iterator[str]:
    """Each value of the request that a refusal gives back (a refusal names fields and rules)."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return
    text = answer.body.decode(errors="replace")
    secret = {
        part
        for name, value in request.headers
        if name.lower() in {"authorization", "x-api-key", "cookie"}
        for part in re.split(r"[ =;,]", value)
    }
    secret |= {part for each in secret for part in _decoded(each)}
    # Not a word such as "session" or "Bearer", which a sentence may have for its own reasons.
    values = {part for part in secret if re.search(r"\d", part)} | set(_texts(sent))
    for value in values:
        if len(value) >= _SHORTEST_VALUE and value in text:
            yield f"body: repeats {value!r}, which was sent"


def _decoded(text: str) -> list[str]:
    """The two parts of what Basic sends in base64."""
    try:
        return base64.b64decode(text, validate=True).decode().split(":")
    except ValueError:
        return []


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)


@cache
def _validator(media: str, status: int, operation_id: str) -> Any:
    response = OPERATIONS[operation_id].responses[status]
    return _compiled(response["content"][media]["schema"])


@cache
def _validator_of_header(name: str, status: int, operation_id: str) -> Any:
    header = resolve(load_document(), OPERATIONS[operation_id].responses[status]["headers"][name])
    return _compiled(header["schema"])


def _compiled(schema: Mapping[str, Any]) -> Any:
    """A validator that is not the service's own: a judge does not borrow the eyes of the judged."""
    return OAS30ReadValidator(
        {"allOf": [schema], "components": load_document()["components"]},
        format_checker=oas30_format_checker,
    )
