"""Reads request bodies, with limits on size, time, content type and JSON."""

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
    UnsupportedMediaType,
)

_MAX_DEPTH = 32
_TOO_DEEP = f"more than {_MAX_DEPTH} levels deep"
_OUT_OF_RANGE = "a number does not fit into 64 bits"
_INT64 = range(-(2**63), 2**63)
_LISTS = frozenset({b"if-match", b"if-none-match", b"content-encoding"})
#: The server reads no longer number.
_LENGTH = re.compile(rb"[0-9]{1,20}")
_EMPTY_OBJECT = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*\}[ \t\r\n]*")
_CHARSET = re.compile(r'\s*charset\s*=\s*"?utf-8"?\s*', re.IGNORECASE)


async def read_body(receive: Receive, *, most_bytes: int, seconds: float) -> bytes:
    """Read the whole body; its size is counted, not taken from its head (HT-07, HT-08).

    Raises:
        BodyTooLarge: It has more than `most_bytes`.
        RequestTimeout: It is not complete after `seconds`.
        MalformedRequest: It broke off or is not validly chunked, which Granian does not tell apart.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise MalformedRequest("the body broke off")
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > most_bytes:
                    raise BodyTooLarge
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError as error:
        raise RequestTimeout from error


def expects_body(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether the head announces a body (RFC 9112 section 6.3)."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def announces_at_most(headers: Mapping[bytes, bytes], most_bytes: int) -> bool:
    """Tell whether the head announces no body, or one of at most `most_bytes`."""
    if not expects_body(headers):
        return True
    # A chunked body does not announce its size.
    length = headers.get(b"content-length", b"")
    announced = b"transfer-encoding" not in headers and _LENGTH.fullmatch(length)
    return bool(announced) and int(length) <= most_bytes


def media_type(headers: Mapping[bytes, bytes], offered: Mapping[str, object]) -> str:
    """Return the media type of the body, which must be one of `offered`.

    Raises:
        UnsupportedMediaType: It is another or missing, its charset is not UTF-8, or the body is
            compressed, so that its size would not be known from its bytes (HT-07).
    """
    example = next(iter(offered))
    if headers.get(b"content-encoding", b"identity").lower() not in {b"identity", b""}:
        raise UnsupportedMediaType(example)
    essence, *parameters = headers.get(b"content-type", b"").decode("latin-1").split(";")
    name = essence.strip().lower()
    for parameter in parameters:
        if parameter.strip().lower().startswith("charset") and not _CHARSET.fullmatch(parameter):
            raise UnsupportedMediaType(example)
    if name not in offered:
        raise UnsupportedMediaType(example)
    return name


def is_empty_object(headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Tell whether a body is JSON, and an object without members."""
    essence = headers.get(b"content-type", b"").partition(b";")[0]
    return essence.strip().lower() == b"application/json" and bool(_EMPTY_OBJECT.fullmatch(body))


def parse_json(body: bytes) -> Any:
    """Parse a body as strict JSON (I-JSON, RFC 7493).

    With the standard library: orjson silently keeps the last of two equal names and turns large
    integers into floats. Bodies are small, so the difference in speed does not matter.

    Raises:
        MalformedBody: It is not UTF-8 or not JSON, repeats a name in an object, has a number beyond
            64 bits or a lone surrogate, or is more than 32 levels deep.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedBody("not UTF-8") from error
    except RecursionError as error:
        raise MalformedBody(_TOO_DEEP) from error
    except ValueError as error:
        # Bad syntax, or an integer of more than 4,300 digits, which Python itself rejects.
        raise MalformedBody("a syntax error, or a number out of range") from error
    _check(value, escapes="\\u" in text)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedBody("a name occurs twice in one object")
    return members


def _bounded_int(digits: str) -> int:
    number = int(digits)
    if number not in _INT64:
        raise MalformedBody(_OUT_OF_RANGE)
    return number


def _finite_float(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise MalformedBody(_OUT_OF_RANGE)
    return number


def _not_a_number(_name: str) -> NoReturn:
    raise MalformedBody("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_bounded_int,
    parse_float=_finite_float,
    parse_constant=_not_a_number,
)


def _check(value: Any, *, escapes: bool) -> None:
    """Check the depth of a value and, with `escapes`, its strings.

    An escape can be a lone surrogate, which UTF-8 and the database drivers cannot encode.
    """
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list) and depth == _MAX_DEPTH:
                raise MalformedBody(_TOO_DEEP)
            if isinstance(item, dict):
                below.extend(item.values())
                if escapes:
                    below.extend(item)
            elif isinstance(item, list):
                below.extend(item)
            elif escapes and isinstance(item, str) and not _encodable(item):
                raise MalformedBody("a lone surrogate")
        level = below
        depth += 1


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers by lower-case name, cached in the scope; the last of repeated ones.

    Repeated lists are joined (RFC 9110 section 5.3). The guard rejects requests that repeat
    another header that matters.
    """
    headers: dict[bytes, bytes] | None = scope.get("oneself.headers")
    if headers is None:
        headers = scope["oneself.headers"] = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            for name in _LISTS & headers.keys():
                headers[name] = b", ".join(
                    value for header, value in scope["headers"] if header == name
                )
    return headers
