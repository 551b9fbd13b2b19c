"""Tests of the methods of each path."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.http.running import Account, Running
from tests.http.wire import Wire, head_of

_VERBS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY", "get", "X")


@cache
def _paths() -> Mapping[str, Mapping[str, Any]]:
    document = Path(__file__).parents[2] / "openapi" / "openapi.yaml"
    paths: Mapping[str, Mapping[str, Any]] = yaml.safe_load(document.read_text())["paths"]
    return paths


def _methods(path: str) -> set[str]:
    """Return the documented methods of a path: HEAD goes with every GET."""
    named = {name.upper() for name in _paths()[path] if name != "parameters"}
    return named | ({"HEAD"} if "GET" in named else set())


def _filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "00000000-0000-0000-0000-000000000000", path)


@pytest.mark.parametrize("path", _paths())
def test_other_method_is_rejected_with_the_methods_of_the_path(service: Running, path: str):
    """HT-13: before any credential is read, and the same with one."""
    for method in _VERBS:
        if method in _methods(path):
            continue
        answer = service.ask(method, _filled(path))
        assert answer.status == 405
        assert set((answer.header("allow") or "").split(", ")) == _methods(path)
        if method != "HEAD":
            assert answer.code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/docs", "/errors", "/openapi.yaml", "/openapi.json"])
def test_document_is_read_only(service: Running, path: str):
    """HT-13, HT-23."""
    assert service.ask("GET", path).status == 200
    answer = service.ask("POST", path)
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [path for path in _paths() if "GET" in _methods(path)])
def test_head_is_get_without_its_body(service: Running, alice: Account, path: str):
    """HT-13: with the same credential and the same length."""
    unlike = {"date", "x-request-id"}
    for headers in (None, alice.bearer, {"Authorization": "Bearer x"}):
        got = service.ask("GET", _filled(path), headers=headers)
        head = service.ask("HEAD", _filled(path), headers=headers)
        assert head.status == got.status
        assert head.body == b""
        assert [pair for pair in head.headers if pair[0] not in unlike] == [
            pair for pair in got.headers if pair[0] not in unlike
        ]


@pytest.mark.parametrize("target", ["localhost:80", "evil.example:443", "/v1/me", "*"])
def test_connect_is_rejected(service: Running, target: str):
    """HT-13."""
    with Wire(service.port) as wire:
        wire.send(head_of("CONNECT", target, {"Connection": "close"}, host="localhost"))
        answers = wire.answers()
    assert len(answers) <= 1
    assert all(answer.status in {400, 404, 405} for answer in answers)


def test_options_and_trace_reveal_nothing(service: Running, alice: Account):
    """HT-13, HT-14: no CORS, no echo."""
    cors = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("OPTIONS", "TRACE"):
        answer = service.ask(method, "/v1/me", headers={**alice.bearer, **cors})
        assert answer.status == 405
        assert alice.session.encode() not in answer.body
        assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
    assert service.ask("OPTIONS", "*").status in {400, 404, 405}


def test_no_cors_headers(service: Running, alice: Account):
    """HT-14."""
    for origin in ("https://evil.example", "null", f"http://localhost:{service.port}"):
        answer = service.ask("GET", "/v1/me", headers={**alice.bearer, "Origin": origin})
        assert answer.status == 200
        assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
