"""Requests and responses of the rows as an HTTP Archive (HAR 1.2), without secrets."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oneself_conformance.http_client import Answer, Request
from oneself_conformance.masking import SecretMask
from oneself_conformance.reports.facts import kit_version
from oneself_conformance.traffic import Exchange

__all__ = ["write_har"]

#: The longest body, in characters.
_MAX_BODY = 20_000
#: HAR's word for sizes that are not known.
_UNKNOWN = -1


def write_har(exchanges: Iterable[Exchange], url: str, mask: SecretMask, path: Path) -> None:
    """Write the exchanges in the order in which they began; the comment names the row of each."""
    entries = [_entry(each, url, mask) for each in sorted(exchanges, key=lambda each: each.started)]
    creator = {"name": "oneself-conformance", "version": kit_version()}
    archive = {"log": {"version": "1.2", "creator": creator, "entries": entries}}
    path.write_text(json.dumps(archive, indent=1) + "\n")


def _entry(exchange: Exchange, url: str, mask: SecretMask) -> dict[str, Any]:
    milliseconds = max(0.0, exchange.seconds * 1000)
    return {
        "startedDateTime": exchange.started.isoformat(),
        "time": milliseconds,
        "request": _request(exchange.request, url, mask),
        "response": _response(exchange.answer, mask),
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "comment": f"step of {exchange.name}" if exchange.is_step else exchange.name,
    }


def _request(request: Request, url: str, mask: SecretMask) -> dict[str, Any]:
    target = mask.apply(f"{url}{request.target}")
    headers = _headers(request.headers, mask)
    described: dict[str, Any] = {
        "method": request.method,
        "url": target,
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(headers, "cookie"),
        "headers": headers,
        "queryString": _pairs(parse_qsl(urlsplit(target).query, keep_blank_values=True)),
        "headersSize": _UNKNOWN,
        "bodySize": len(request.body),
    }
    if request.body:
        media = _values(headers, "content-type")
        described["postData"] = {
            "mimeType": media[0] if media else "application/octet-stream",
            **_text(request.body, mask),
        }
    return described


def _response(answer: Answer, mask: SecretMask) -> dict[str, Any]:
    headers = _headers(answer.headers, mask)
    media = _values(headers, "content-type")
    known = {each.value: each.phrase for each in HTTPStatus}
    return {
        "status": answer.status,
        "statusText": known.get(answer.status, ""),
        "httpVersion": "HTTP/1.1",
        "cookies": _cookies(headers, "set-cookie"),
        "headers": headers,
        "content": {
            "size": len(answer.body),
            "mimeType": media[0] if media else "",
            **_text(answer.body, mask),
        },
        "redirectURL": "".join(_values(headers, "location")),
        "headersSize": _UNKNOWN,
        "bodySize": len(answer.body),
    }


def _text(body: bytes, mask: SecretMask) -> dict[str, str]:
    """Return a body as text, or say why it is left out: a mask cannot read other bytes."""
    try:
        text = mask.apply(body.decode())
    except UnicodeDecodeError:
        return {"text": "", "comment": f"{len(body)} bytes that are not text"}
    if len(text) <= _MAX_BODY:
        return {"text": text}
    return {"text": text[:_MAX_BODY], "comment": f"the first of {len(text)} characters"}


def _headers(headers: Iterable[tuple[str, str]], mask: SecretMask) -> list[dict[str, str]]:
    # Masked together, as lines: the name of a header says that its value is a secret.
    lines = "\n".join(f"{name}: {value}" for name, value in headers)
    return _pairs(_split(line, ":") for line in mask.apply(lines).split("\n") if line)


def _cookies(headers: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    parts = [each.split(";") for each in _values(headers, name)]
    pairs = [pair for each in parts for pair in (each[:1] if name == "set-cookie" else each)]
    return _pairs(_split(pair, "=") for pair in pairs)


def _split(text: str, sign: str) -> tuple[str, str]:
    name, _, value = text.partition(sign)
    return name.strip(), value.strip()


def _values(headers: Iterable[dict[str, str]], name: str) -> list[str]:
    return [each["value"] for each in headers if each["name"].lower() == name]


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]
