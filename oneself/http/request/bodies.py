"""Reading a request's body: how much, for how long, and as what."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.types import Receive, Scope

from oneself.http.request.errors import (
    BodyTooLarge,
    MalformedBody,
    MalformedRequest,
    RequestTimeout,
    UnexpectedBody,
    UnsupportedMediaType,
)

__all__ = [
    "announces_at_most",
    "expects_body",
    "headers_of",
    "media_type",
    "parse_json",
    "read_body",
    "refuse_body",
]

_MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)
_LISTS = frozenset({b"if-match", b"if-none-match", b"content-encoding"})
#: As many digits as the server reads.
_LENGTH = re.compile(rb"[0-9]{1,20}")
_CHARSET = re.compile(r'\s*charset\s*=\s*"?utf-8"?\s*', re.IGNORECASE)


async def read_body(receive: Receive, *, most_bytes: int, seconds: float) -> bytes:
    """The whole body, counted while it arrives, whatever its head said of it (HT-07, HT-08).

    Raises:
        BodyTooLarge: More than `most_bytes` came.
        RequestTimeout: It was not complete after `seconds`.
        MalformedRequest: It broke off, or its chunks are none; Granian tells the two not apart.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    rule = "the body broke off"
                    raise MalformedRequest(rule)
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > most_bytes:
                    raise BodyTooLarge
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError as late:
        raise RequestTimeout from late


def expects_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the head of a request says that a body follows (RFC 9112 section 6.3)."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def announces_at_most(headers: Mapping[bytes, bytes], most_bytes: int) -> bool:
    """Whether the head of a request says that its body, if there is one, has no more than that."""
    if not expects_body(headers):
        return True
    # Of chunks nobody knows how many there will be.
    length = headers.get(b"content-length", b"")
    announced = b"transfer-encoding" not in headers and _LENGTH.fullmatch(length)
    return bool(announced) and int(length) <= most_bytes


def refuse_body(body: bytes) -> None:
    """Let an operation without a body go on only if there is none, of whatever content type.

    Raises:
        UnexpectedBody: There is at least one byte.
    """
    if body:
        raise UnexpectedBody


def media_type(headers: Mapping[bytes, bytes], offered: Mapping[str, object]) -> str:
    """Which of the offered media types the body is of, by its `Content-Type`.

    Raises:
        UnsupportedMediaType: None of them, no header, a charset that is not UTF-8, or a content
            coding: how large a body is should be known from how many bytes arrive (HT-07).
    """
    if headers.get(b"content-encoding", b"identity").lower() not in {b"identity", b""}:
        raise UnsupportedMediaType
    essence, *parameters = headers.get(b"content-type", b"").decode("latin-1").split(";")
    named = essence.strip().lower()
    for parameter in parameters:
        if parameter.strip().lower().startswith("charset") and not _CHARSET.fullmatch(parameter):
            raise UnsupportedMediaType
    if named not in offered:
        raise UnsupportedMediaType
    return named


def parse_json(body: bytes) -> Any:
    """The JSON text in a body, as strictly as I-JSON (RFC 7493) has it.

    The standard library's reader, because orjson takes the last of two equal names and turns a
    large integer into a float without a word; the bodies are small.

    Raises:
        MalformedBody: Not UTF-8, not JSON, a name twice in an object, a number beyond 64 bits, a
            lone surrogate, or more than 32 levels deep.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        rule = "not UTF-8"
        raise MalformedBody(rule) from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # Raised for bad syntax, and by Python itself for an integer of more than 4,300 digits.
        rule = "a syntax error, or a number out of range"
        raise MalformedBody(rule) from error
    _check(value, escapes="\\u" in text)
    return value


def _too_deep() -> MalformedBody:
    return MalformedBody(f"more than {_MAX_DEPTH} levels deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        rule = "a name occurs twice in one object"
        raise MalformedBody(rule)
    return found


def _bounded_int(digits: str) -> int:
    number = int(digits)
    if number not in _INT64:
        raise _out_of_range()
    return number


def _finite_float(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise _out_of_range()
    return number


def _out_of_range() -> MalformedBody:
    return MalformedBody("a number does not fit into 64 bits")


def _not_a_number(_name: str) -> NoReturn:
    rule = "NaN and Infinity are not JSON"
    raise MalformedBody(rule)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_bounded_int,
    parse_float=_finite_float,
    parse_constant=_not_a_number,
)


def _check(value: Any, *, escapes: bool) -> None:
    """Walk the value level by level, to bound its depth.

    Where the text had escapes, lone surrogates are looked for, which UTF-8 cannot carry and no
    database driver takes.
    """
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list) and depth == _MAX_DEPTH:
                raise _too_deep()
            if isinstance(item, dict):
                below.extend(item.values())
                if escapes:
                    below.extend(item)
            elif isinstance(item, list):
                below.extend(item)
            elif escapes and isinstance(item, str) and not _encodable(item):
                rule = "a lone surrogate"
                raise MalformedBody(rule)
        level = below
        depth += 1


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers by lower-case name, sorted out once; of one that stands twice, the last.

    Lists go on from one line to the next (RFC 9110 section 5.3). What must not stand twice is
    refused before anything reads it.
    """
    headers: dict[bytes, bytes] | None = scope.get("oneself.headers")
    if headers is None:
        headers = scope["oneself.headers"] = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            for name in _LISTS & headers.keys():
                headers[name] = b", ".join(
                    value for each, value in scope["headers"] if each == name
                )
    return headers
