"""Sends answers, with the headers that every answer has."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from starlette.types import Send

from accounts.errors import AccountError
from handlers.dialect import Dialect, Place, ResponseMeta
from oneself.http.response.error_handler import headers_of_refusal, status_of

_Headers = tuple[tuple[bytes, bytes], ...]

#: On every answer, errors included (HT-15). API answers are not pages, so the policy forbids
#: everything; they belong to one caller, so no cache may store them.
COMMON_HEADERS: _Headers = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    # Granian names itself, with this header missing.
    (b"server", b"oneself"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

_HSTS = b"strict-transport-security"


def common_headers(*, hsts_subdomains: bool) -> _Headers:
    """Return the headers of every answer; `hsts_subdomains` covers all subdomains (RFC 6797)."""
    suffix = b"; includeSubDomains" if hsts_subdomains else b""
    return tuple((name, text + suffix * (name == _HSTS)) for name, text in COMMON_HEADERS)


class Answer(NamedTuple):
    """A complete answer; `content` is what `body` was serialised from, for validation."""

    status: int
    body: bytes
    content_type: str | None
    headers: Mapping[str, str]
    content: Any = None
    code: str | None = None


def answer_of_refusal(
    refusal: AccountError,
    dialect: Dialect,
    meta: ResponseMeta,
    *,
    bearer_was_sent: bool,
    places: Mapping[str, Place] = MappingProxyType({}),
) -> Answer:
    """Render a refusal in a dialect; `places` are those of the operation's parameters."""
    status = status_of(refusal, dialect)
    content = dialect.refuse(refusal, status, meta, places)
    return Answer(
        status,
        orjson.dumps(content),
        dialect.refusal_type,
        headers_of_refusal(refusal, dialect, bearer_was_sent=bearer_was_sent, issuer=meta.issuer),
        content,
        refusal.code,
    )


async def send_answer(
    send: Send, answer: Answer, request_id: str, common: _Headers = COMMON_HEADERS
) -> None:
    """Send a complete answer with the headers of every answer."""
    headers = [*common]
    if answer.headers:
        own = {name.lower().encode(): value.encode() for name, value in answer.headers.items()}
        # Pages override them, to load their own files.
        headers = [header for header in common if header[0] not in own]
        if b"set-cookie" in own:  # a line for each cookie, which cannot share a header
            cookies = own.pop(b"set-cookie").split(b"\n")
            headers += [(b"set-cookie", cookie) for cookie in cookies]
        headers += own.items()
    headers.append((b"x-request-id", request_id.encode()))
    if answer.content_type is not None:
        headers.append((b"content-type", answer.content_type.encode()))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
