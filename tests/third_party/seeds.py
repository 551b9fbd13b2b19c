"""The rows of contracts/ as Specmatic's examples: a request that was prepared, and its status.

What a row needs before its request (a person, a session to end, a secret that was mailed, a used-up
budget) is done first, so each example finds what it speaks of, and none uses up another's.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from oneself.conformance.http_client import FORM, Request
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.request_building import takes_pictures
from oneself.conformance.rows.table import Row
from oneself.document import OperationSpec, load_document, resolve
from oneself.http.request.schemas import Schemas

__all__ = ["Inexpressible", "Seed", "seed_of"]

#: One pixel of WebP (RFC 9649, section 3) in which every byte is ASCII. An example is JSON, and
#: holds no other bytes; what Pillow writes has some.
_WEBP = "RIFF\x16\0\0\0WEBPVP8L\t\0\0\0/\0\0\0\0(eF\x06\0"
#: The beginning of another kind of picture, and no picture.
_NO_PICTURE = "GIF89a"
#: Whether a cookie counts is said by this header; contracts/specmatic-overlay.yaml joins the two.
_SAME_ORIGIN = ("Sec-Fetch-Site", "same-origin")
#: Refusals that come before anybody is asked who they are, or because nobody is.
_ANSWERED_TO_ANYBODY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.METHOD_NOT_ALLOWED}
#: For these, and no others, Specmatic sends a body that its schema refuses.
_ABOUT_THE_BODY = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
#: What each grant does not read.
_UNREAD = {
    "refresh_token": {"subject_token": "nothing", "subject_token_type": _TOKEN_TYPE},
    "urn:ietf:params:oauth:grant-type:token-exchange": {"refresh_token": "nothing"},
}
_SCHEMAS = Schemas(load_document())


class Inexpressible(Exception):
    """Specmatic has no words for this request; the reason is a key of contracts/specmatic.yaml."""


@dataclass(frozen=True)
class Seed:
    """One example, and what it is about."""

    name: str
    operation_id: str
    status: int
    example: Mapping[str, Any]

    def as_json(self) -> str:
        return json.dumps(self.example, indent=1)


def seed_of(name: str, row: Row, runner: CaseRunner) -> Seed:
    """The row as an example, its steps taken.

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
    request = _Asked(operation, row.status, runner.prepare(), runner)
    example = {
        "name": name,
        "http-request": request.written(),
        "http-response": _response(operation, row.status),
    }
    return Seed(name, operation.operation_id, row.status, example)


@dataclass(frozen=True)
class _Asked:
    operation: OperationSpec
    status: int
    request: Request
    runner: CaseRunner

    @property
    def is_good(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST

    def written(self) -> Mapping[str, Any]:
        """The request in the form of an example."""
        if self.request.method == "HEAD":
            raise Inexpressible("head")
        parts = urlsplit(self.request.target)
        query = _once(parse_qsl(parts.query, keep_blank_values=True))
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
        headers = _once(self.request.headers)
        schemes = _schemes(self.operation)
        credentials = headers.keys() & {"Authorization", "X-API-Key", "Cookie"}
        if len(credentials) > 1:
            raise Inexpressible("several credentials")
        if schemes and not credentials and self.status not in _ANSWERED_TO_ANYBODY:
            raise Inexpressible("no credential")
        documented = {each["name"] for each in self.operation.parameters if each["in"] == "header"}
        if self.operation.bodies:
            documented.add("Content-Type")
        if headers.keys() - documented - set(_headers_of(schemes)):
            raise Inexpressible("undocumented")
        if "Cookie" in headers and _SAME_ORIGIN[0] not in headers:
            if not self.is_good:
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
        """A picture, or what is none, in ASCII."""
        if self.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            return {"body": _NO_PICTURE}
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return {"body": "x" * len(self.request.body)}
        headers["Content-Type"] = "image/webp"
        return {"body": _NO_PICTURE if self.status in _ABOUT_THE_BODY else _WEBP}

    def _documented_body(self, headers: dict[str, str]) -> Mapping[str, Any]:
        """To Specmatic a 405 is an operation with another method, so the body comes along."""
        if not self.operation.bodies:
            return {}
        if takes_pictures(self.operation):
            return self._picture(headers)
        media, described = next(iter(_request_body(self.operation).items()))
        headers["Content-Type"] = media
        return {"form-fields" if media == FORM else "body": described["example"]}

    def _content(self, text: str, media: str) -> Any:
        content = text
        if media.endswith("json"):
            with suppress(json.JSONDecodeError):
                content = json.loads(text, object_pairs_hook=_once)
        if self.status in _ABOUT_THE_BODY or media not in self.operation.bodies:
            return content
        if not _SCHEMAS.validator(self.operation.bodies[media]).is_valid(content):
            raise Inexpressible("schema")
        if _has_mixed_list(content):
            raise Inexpressible("mixed list")
        return content

    def _fields(self, text: str) -> Mapping[str, str]:
        """A form; what it may have and has not is filled in, or Specmatic tries that by chance."""
        fields = _once(parse_qsl(text, keep_blank_values=True))
        described = resolve(load_document(), self.operation.bodies[FORM])["properties"]
        if set(fields) - set(described) or not all(fields.values()):
            raise Inexpressible("form")
        return fields | {
            name: self._neutral(name, fields) for name in described if name not in fields
        }

    def _neutral(self, name: str, fields: Mapping[str, str]) -> str:
        """What changes nothing: defaults, and what is not read."""
        unread = _UNREAD.get(fields.get("grant_type", ""), {})
        known = {
            "audience": self.runner.deployment.url,
            "requested_token_type": _TOKEN_TYPE,
            "scope": "me/profile:read",
            "token_type_hint": "access_token",
            **unread,
        }
        if name == "client_id":
            return self._client_id()
        if name not in known:
            raise Inexpressible("form")
        return known[name]

    def _client_id(self) -> str:
        """The id of the client that authenticates itself."""
        basic = dict(self.request.headers).get("Authorization", "").removeprefix("Basic ")
        try:
            # Each is form-encoded before they are joined (RFC 6749, section 2.3.1).
            return unquote_plus(base64.b64decode(basic, validate=True).decode().partition(":")[0])
        except ValueError:
            raise Inexpressible("form") from None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as a mapping, which each name may stand in once."""
    listed = list(pairs)
    if len(dict(listed)) < len(listed):
        raise Inexpressible("repeated")
    return dict(listed)


def _schemes(operation: OperationSpec) -> frozenset[str]:
    described = load_document()["paths"][operation.path][operation.method]["security"]
    return frozenset(name for alternative in described for name in alternative)


def _headers_of(schemes: frozenset[str]) -> Iterator[str]:
    for scheme in schemes:
        if scheme == "apiKey":
            yield "X-API-Key"
        elif scheme == "sessionCookie":
            yield from ("Cookie", _SAME_ORIGIN[0])
        else:
            yield "Authorization"


def _request_body(operation: OperationSpec) -> Mapping[str, Any]:
    described = load_document()["paths"][operation.path][operation.method]["requestBody"]
    content: Mapping[str, Any] = resolve(load_document(), described)["content"]
    return content


def _response(operation: OperationSpec, status: int) -> Mapping[str, Any]:
    """The document's own example of this answer: Specmatic wants one, and compares its schema."""
    described = operation.responses[status]
    headers = {
        name: str(header["example"])
        for name, header in described["headers"].items()
        if header.get("required")
    }
    for media, content in described.get("content", {}).items():
        examples = [each["value"] for each in content.get("examples", {}).values()]
        body = content["example"] if "example" in content else examples[0]
        return {"status": status, "headers": {"Content-Type": media, **headers}, "body": body}
    return {"status": status, "headers": headers}


def _has_mixed_list(content: Any) -> bool:
    """Whether a list holds values of several types, which Specmatic takes for a mistake."""
    if isinstance(content, Mapping):
        return any(map(_has_mixed_list, content.values()))
    if isinstance(content, list):
        return len({type(each) for each in content}) > 1 or any(map(_has_mixed_list, content))
    return False
