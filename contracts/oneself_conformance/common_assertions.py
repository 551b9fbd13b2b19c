"""Assertions on every response, in addition to those of its row."""

import base64
import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from openapi_schema_validator import OAS30ReadValidator, oas30_format_checker

from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS

#: Exactly these, once each; `Server` names the product and no version to attack.
_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "server": "oneself",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
#: Instead of those, on a public document, which is the same for all callers.
_PUBLIC_HEADERS: Mapping[str, str] = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
}
#: The schema of each header says which of them it is.
_CACHED = (["public, max-age=300"], ["public, max-age=30"])
#: Subdomains are included if the deployment says so.
_HSTS = (["max-age=31536000"], ["max-age=31536000; includeSubDomains"])
_ALLOW_ORIGIN = "Access-Control-Allow-Origin"
_REQUEST_ID = re.compile(r"req_[0-9a-f]{12}")
#: Problem details name the public URL of the deployment, which can be the origin of the request.
_PROBLEM_TYPE = re.compile(r'"type": ?"https?://[^"/]+/errors#')
#: Shorter values can occur in any message by chance.
_MIN_VALUE_LENGTH = 5

#: Headers that a reverse proxy sets in its own name.
_PROXY_HEADERS = frozenset({"server", "via"})


def find_common_violations(answer: Answer, *, behind_proxy: bool = False) -> Iterator[str]:
    """Yield each rule for all responses that this one breaks."""
    ignored = _PROXY_HEADERS if behind_proxy else frozenset()
    public = _PUBLIC_HEADERS if answer.values(_ALLOW_ORIGIN) else {}
    for name, value in {**_HEADERS, **public}.items():
        if name == "cache-control" and public and answer.values(name) in _CACHED:
            continue
        if name not in ignored and answer.values(name) != [value]:
            yield f"header {name}: {answer.values(name)!r} is not {value!r}"
    if answer.values("strict-transport-security") not in _HSTS:
        hsts = answer.values("strict-transport-security")
        yield f"header strict-transport-security: {hsts!r} is not {_HSTS[0][0]!r}"
    request_ids = answer.values("x-request-id")
    if len(request_ids) != 1 or not _REQUEST_ID.fullmatch(request_ids[0]):
        yield f"header x-request-id: {request_ids!r} is not a request id"
    waits = [*answer.values("ratelimit"), *answer.values("retry-after")]
    if answer.values("ratelimit") and not waits[0].endswith(f"t={waits[-1]}"):
        yield f"headers ratelimit and retry-after: {waits!r} do not agree"
    for name, _ in answer.headers:
        is_forbidden = name.lower().startswith(("access-control-", "x-powered-by", "via"))
        if is_forbidden and name.lower() not in {*ignored, *public}:
            yield f"header {name}: is not allowed"


def find_schema_violations(operation: OperationSpec, method: str, answer: Answer) -> Iterator[str]:
    """Yield each deviation of a response from the document."""
    response = operation.responses.get(answer.status)
    if response is None:
        yield f"status {answer.status} is not documented for {operation.operation_id}"
        return
    yield from _header_violations(operation, response, answer)
    contents = response.get("content", {})
    types = answer.values("content-type")
    if not contents and (types or answer.body):
        yield f"body: is present ({types}), and the document has none"
    if contents and types[:1] not in [[name] for name in contents]:
        yield f"content type {types!r} is not among {sorted(contents)}"
    elif contents and method != "HEAD":
        schema = resolve(load_document(), contents[types[0]]["schema"])
        if schema.get("format") == "binary":
            return  # a schema cannot describe bytes
        validator = _validator(operation.operation_id, answer.status, "content", types[0])
        try:
            content = answer.json()
        except ValueError:
            yield "body: cannot be parsed"
        else:
            for error in validator.iter_errors(content):
                yield f"schema, at {'/'.join(map(str, error.absolute_path))}: {error.message}"


def _header_violations(
    operation: OperationSpec, response: Mapping[str, Any], answer: Answer
) -> Iterator[str]:
    headers = response.get("headers", {})
    for name, spec in headers.items():
        header = resolve(load_document(), spec)
        values = answer.values(name)
        if header.get("required") and not values:
            yield f"header {name}: is required by the document, and missing"
        for value in values:
            typed = int(value) if header["schema"]["type"] == "integer" else value
            validator = _validator(operation.operation_id, answer.status, "headers", name)
            if not validator.is_valid(typed):
                yield f"header {name}: {value!r} does not match its schema"
    if answer.values(_ALLOW_ORIGIN) and _ALLOW_ORIGIN not in headers:
        yield f"header {_ALLOW_ORIGIN}: is not documented"


def repeated_values(request: Request, sent: Any, answer: Answer) -> Iterator[str]:
    """Yield each value of the request that a refusal repeats; it may only name fields and rules."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return
    text = _PROBLEM_TYPE.sub("", answer.body.decode(errors="replace"))
    secret = {
        part
        for name, value in request.headers
        if name.lower() in {"authorization", "x-api-key", "cookie"}
        for part in re.split(r"[ =;,]", value)
    }
    secret |= {part for each in secret for part in _decoded(each)}
    # Words such as "session" or "Bearer" may occur in any message.
    values = {part for part in secret if re.search(r"\d", part)} | set(texts_in(sent))
    for value in values:
        if len(value) >= _MIN_VALUE_LENGTH and value in text:
            yield f"body: repeats {value!r} from the request"


def _decoded(text: str) -> list[str]:
    """Return the two parts of a Basic credential."""
    try:
        return base64.b64decode(text, validate=True).decode().split(":")
    except ValueError:
        return []


def texts_in(value: Any) -> Iterator[str]:
    """Yield the strings in a JSON value, without the names of fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for below in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(below)


@cache
def _validator(operation_id: str, status: int, part: str, name: str) -> Any:
    """Compile the schema of a header or a body with a validator that the service does not use."""
    spec = resolve(load_document(), OPERATIONS[operation_id].responses[status][part][name])
    return OAS30ReadValidator(
        {"allOf": [spec["schema"]], "components": load_document()["components"]},
        format_checker=oas30_format_checker,
    )
