"""Rows as examples for Specmatic: a prepared request and its expected status.

The steps of a row run first (a user, a session to end, an emailed secret, an exhausted rate limit),
so that each example finds the objects it names, and examples do not affect each other.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from oneself.document import OperationSpec, load_document, resolve
from oneself.http.request.schemas import Schemas
from oneself_conformance.cases.request_building import takes_pictures
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row
from oneself_conformance.http_client import FORM, Request

__all__ = ["Inexpressible", "Seed", "seed_of"]

#: One pixel of WebP (RFC 9649, section 3) in ASCII bytes only, because examples are JSON. Pillow
#: writes other bytes.
_WEBP = "RIFF\x16\0\0\0WEBPVP8L\t\0\0\0/\0\0\0\0(eF\x06\0"
#: The signature of an unsupported format.
_NO_PICTURE = "GIF89a"
#: A cookie requires this header; contracts/specmatic-overlay.yaml combines the two.
_SAME_ORIGIN = ("Sec-Fetch-Site", "same-origin")
#: Refusals that need no credential.
_WITHOUT_CREDENTIAL = {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}
#: Only for these statuses does Specmatic send a body that breaks its schema.
_BODY_STATUSES = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
#: Fields that each grant ignores.
_UNREAD = {
    "refresh_token": {"subject_token": "nothing", "subject_token_type": _TOKEN_TYPE},
    "urn:ietf:params:oauth:grant-type:token-exchange": {"refresh_token": "nothing"},
}
_SCHEMAS = Schemas(load_document())


class Inexpressible(Exception):
    """Specmatic cannot express a request; the message is a key of contracts/specmatic.yaml."""


@dataclass(frozen=True)
class Seed:
    """An example with its operation and expected status."""

    name: str
    operation_id: str
    status: int
    example: Mapping[str, Any]

    def as_json(self) -> str:
        return json.dumps(self.example, indent=1)


def seed_of(name: str, row: Row, runner: CaseRunner) -> Seed:
    """Run the steps of a row, and return its request as an example.

    Raises:
        Inexpressible: Specmatic cannot send this request.
    """
    operation = row.operation
    if operation is None:
        raise Inexpressible("path")
    if row.dribbles:
        raise Inexpressible("slow")
    if any(step.get("act") == "name tenant" for step in row.raw.get("before", ())):
        raise Inexpressible("one at a time")
    request = _PreparedRequest(operation, row.status, runner.prepare(), runner)
    example = {
        "name": name,
        "http-request": request.as_example(),
        "http-response": _response(operation, row.status),
    }
    return Seed(name, operation.operation_id, row.status, example)


@dataclass(frozen=True)
class _PreparedRequest:
    operation: OperationSpec
    status: int
    request: Request
    runner: CaseRunner

    @property
    def is_success(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST

    def as_example(self) -> Mapping[str, Any]:
        """Return the request in the form of an example."""
        if self.request.method == "HEAD":
            raise Inexpressible("head")
        parts = urlsplit(self.request.target)
        query = _unique(parse_qsl(parts.query, keep_blank_values=True))
        documented = {each["name"] for each in self.operation.parameters if each["in"] == "query"}
        if set(query) - documented:
            raise Inexpressible("undocumented")
        headers = self._headers()
        body = self._body(headers)
        return {
            "method": self.request.method,
            "path": parts.path,
            "headers": headers,
            **({"query": query} if query else {}),
            **body,
        }

    def _headers(self) -> dict[str, str]:
        headers = _unique(self.request.headers)
        schemes = _schemes(self.operation)
        credentials = headers.keys() & {"Authorization", "X-API-Key", "Cookie"}
        if len(credentials) > 1:
            raise Inexpressible("several credentials")
        if schemes and not credentials and self.status not in _WITHOUT_CREDENTIAL:
            raise Inexpressible("no credential")
        documented = {each["name"] for each in self.operation.parameters if each["in"] == "header"}
        if self.operation.bodies:
            documented.add("Content-Type")
        if headers.keys() - documented - set(_headers_of(schemes)):
            raise Inexpressible("undocumented")
        if "Cookie" in headers and _SAME_ORIGIN[0] not in headers:
            if not self.is_success:
                raise Inexpressible("undocumented")
            headers |= [_SAME_ORIGIN]
        return headers

    def _body(self, headers: dict[str, str]) -> Mapping[str, Any]:
        media = headers.get("Content-Type", "")
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            return self._documented_body(headers)
        if not self.operation.bodies:
            if self.request.body:
                raise Inexpressible("undocumented")
            return {}
        if self.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            if media.partition(";")[0] in self.operation.bodies:
                raise Inexpressible("media type")
        elif media not in self.operation.bodies:
            raise Inexpressible("media type")
        if takes_pictures(self.operation):
            return self._picture(headers)
        text = self.request.body.decode()
        if media == FORM:
            return {"form-fields": self._fields(text)}
        return {"body": self._content(text, media)} if text else {}

    def _picture(self, headers: dict[str, str]) -> Mapping[str, Any]:
        """Return a valid or invalid picture in ASCII."""
        if self.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            return {"body": _NO_PICTURE}
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return {"body": "x" * len(self.request.body)}
        headers["Content-Type"] = "image/webp"
        return {"body": _NO_PICTURE if self.status in _BODY_STATUSES else _WEBP}

    def _documented_body(self, headers: dict[str, str]) -> Mapping[str, Any]:
        """Return the documented body, which Specmatic requires for a 405 as well."""
        if not self.operation.bodies:
            return {}
        if takes_pictures(self.operation):
            return self._picture(headers)
        media, spec = next(iter(_request_body(self.operation).items()))
        headers["Content-Type"] = media
        return {"form-fields" if media == FORM else "body": spec["example"]}

    def _content(self, text: str, media: str) -> Any:
        content = text
        if media.endswith("json"):
            with suppress(json.JSONDecodeError):
                content = json.loads(text, object_pairs_hook=_unique)
        if self.status in _BODY_STATUSES or media not in self.operation.bodies:
            return content
        if not _SCHEMAS.validator(self.operation.bodies[media]).is_valid(content):
            raise Inexpressible("schema")
        if _has_mixed_list(content):
            raise Inexpressible("mixed list")
        return content

    def _fields(self, text: str) -> Mapping[str, str]:
        """Return a form with all optional fields, because Specmatic would generate missing ones."""
        fields = _unique(parse_qsl(text, keep_blank_values=True))
        spec = resolve(load_document(), self.operation.bodies[FORM])["properties"]
        if set(fields) - set(spec) or not all(fields.values()):
            raise Inexpressible("form")
        return fields | {
            name: self._neutral_value(name, fields) for name in spec if name not in fields
        }

    def _neutral_value(self, name: str, fields: Mapping[str, str]) -> str:
        """Return a value without effect: a default, or one that is ignored."""
        unread = _UNREAD.get(fields.get("grant_type", ""), {})
        neutral_values = {
            "audience": self.runner.deployment.url,
            "requested_token_type": _TOKEN_TYPE,
            "scope": "me/profile:read",
            "token_type_hint": "access_token",
            **unread,
        }
        if name == "client_id":
            return self._client_id()
        if name not in neutral_values:
            raise Inexpressible("form")
        return neutral_values[name]

    def _client_id(self) -> str:
        """Return the id of the authenticating client."""
        basic = dict(self.request.headers).get("Authorization", "").removeprefix("Basic ")
        try:
            # Id and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
            return unquote_plus(base64.b64decode(basic, validate=True).decode().partition(":")[0])
        except ValueError:
            raise Inexpressible("form") from None


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a mapping; repeated names are inexpressible."""
    pairs_list = list(pairs)
    if len(dict(pairs_list)) < len(pairs_list):
        raise Inexpressible("repeated")
    return dict(pairs_list)


def _schemes(operation: OperationSpec) -> frozenset[str]:
    spec = load_document()["paths"][operation.path][operation.method]["security"]
    return frozenset(name for alternative in spec for name in alternative)


def _headers_of(schemes: frozenset[str]) -> Iterator[str]:
    for scheme in schemes:
        if scheme == "apiKey":
            yield "X-API-Key"
        elif scheme == "sessionCookie":
            yield from ("Cookie", _SAME_ORIGIN[0])
        else:
            yield "Authorization"


def _request_body(operation: OperationSpec) -> Mapping[str, Any]:
    spec = load_document()["paths"][operation.path][operation.method]["requestBody"]
    content: Mapping[str, Any] = resolve(load_document(), spec)["content"]
    return content


def _response(operation: OperationSpec, status: int) -> Mapping[str, Any]:
    """Return the document's example of a response; Specmatic requires one and validates it."""
    spec = operation.responses[status]
    headers = {
        name: str(header["example"])
        for name, header in spec["headers"].items()
        if header.get("required")
    }
    for media, content in spec.get("content", {}).items():
        examples = [each["value"] for each in content.get("examples", {}).values()]
        body = content["example"] if "example" in content else examples[0]
        return {"status": status, "headers": {"Content-Type": media, **headers}, "body": body}
    return {"status": status, "headers": headers}


def _has_mixed_list(content: Any) -> bool:
    """Return whether a list has items of several types, which Specmatic rejects."""
    if isinstance(content, Mapping):
        return any(map(_has_mixed_list, content.values()))
    if isinstance(content, list):
        return len({type(each) for each in content}) > 1 or any(map(_has_mixed_list, content))
    return False
