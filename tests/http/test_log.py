"""Tests of the access log on standard error."""

import re

from tests.http.running import Account, Running
from tests.http.wire import Wire


def test_each_request_has_one_json_line(service: Running, alice: Account):
    """LO-02, LO-05, LO-06."""
    keys = {"time", "level", "logger", "message", "request_id", "method", "operation", "status"}
    keys |= {"code", "credential", "milliseconds", "trace_id"}
    for method, path, headers, operation, status, code, credential in (
        ("GET", "/healthz", None, "status.getHealth", 200, None, None),
        ("GET", "/v1/me", alice.bearer, "ipto.getCurrentUser", 200, None, "session"),
        ("GET", "/v1/me", None, "ipto.getCurrentUser", 401, "not_authenticated", None),
        ("POST", "/v1/me", None, None, 405, "method_not_allowed", None),
        ("GET", "/nowhere", None, None, 404, "not_found", None),
        ("GET", "/openapi.yaml", None, "status.getYamlDocument", 200, None, None),
        ("GET", "/docs", None, None, 200, None, None),
    ):
        line = service.line_of(service.ask(method, path, headers=headers))
        assert set(line) == keys
        assert (line["method"], line["operation"]) == (method, operation)
        assert (line["status"], line["code"], line["credential"]) == (status, code, credential)


def test_log_has_nothing_that_a_caller_chose(service: Running, alice: Account):
    """LO-05, LO-06."""
    headers = {
        **alice.bearer,
        "User-Agent": 'canary1"}\t\xff',
        "Referer": "https://canary2.example/",
        "Cookie": "canary3=canary3",
        "X-Request-Id": "canary4",
        "X-Forwarded-For": "canary5",
    }
    answers = [
        service.ask("GET", "/v1/me", headers=headers),
        service.ask("GET", "/canary6/canary6?canary7=canary7", headers=headers),
        service.ask("GET", "/v1/me", headers=headers, host="tok_canary8"),
        service.ask("GET", "/v1/me", headers={"Authorization": "Bearer canary9"}),
        service.ask("GET", "/v1/me", headers={"X-API-Key": "canary10"}),
        service.ask("CANARY" * 1000, "/v1/me"),
    ]
    for answer in answers:
        service.line_of(answer)
    assert "canary" not in service.log.lower()
    for secret in (alice.session, alice.api_key, alice.access_token, alice.password):
        assert secret not in service.log


def test_line_has_the_trace_id_of_a_request(service: Running):
    """LO-05, LO-06: only valid ids, and nothing else of the header."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for header, expected in ((f"00-{trace}-00f067aa0ba902b7-01", trace), ("canary", None)):
        headers = {"traceparent": header, "tracestate": "canary=canary"}
        line = service.line_of(service.ask("GET", "/healthz", headers=headers))
        assert line["trace_id"] == expected
    assert "00f067aa0ba902b7" not in service.log


def test_method_cannot_inject_a_line(service: Running):
    """LO-05."""
    with Wire(service.port) as wire:
        wire.send(b"X'`|~ /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        [answer] = wire.answers()
    assert service.line_of(answer)["status"] == answer.status


def test_every_line_is_json(service: Running):
    """LO-05: also those of libraries at their start."""
    others = [line for line in service.log.splitlines() if not re.fullmatch(r"\{.*\}", line)]
    assert others == []
