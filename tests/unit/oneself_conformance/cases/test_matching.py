"""Assertions of rows detect every kind of violation."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto.jwts import thumbprint
from oneself_conformance.cases.assertions import find_violations
from oneself_conformance.cases.matching import (
    Either,
    Pattern,
    PublicKey,
    PublicUrl,
    SameRequestId,
    Timestamp,
    UnixTime,
    differences,
)
from oneself_conformance.cases.request_building import credential_header
from oneself_conformance.cases.table import Row
from oneself_conformance.common_assertions import (
    find_common_violations,
    find_schema_violations,
    repeated_values,
)
from oneself_conformance.http_client import Answer, Request, form_request
from oneself_conformance.operations import OPERATIONS

_PUBLIC = rsa.generate_private_key(65537, 2048).public_key()
KEY = {
    "kty": "RSA",
    "use": "sig",
    "alg": "RS256",
    "kid": thumbprint(_PUBLIC),
    "n": urlsafe_b64encode(_PUBLIC.public_numbers().n.to_bytes(256)).decode().rstrip("="),
    "e": "AQAB",
}
NOW = datetime(2026, 4, 5, 10, 0, tzinfo=UTC)
HEADERS = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("server", "oneself"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-request-id", "req_0a1b2c3d4e5f"),
    ("content-type", "application/json"),
)
GOOD = Answer(200, HEADERS, b'{"status":"ok"}')
HEALTH = OPERATIONS["status.getHealth"]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": None}, {"a": ""}),
        ([1, 2], [1]),
        ([1, 2], [2, 1]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1, "d": 2}]}}),
        (Pattern("a+"), "aab"),
        (Pattern("a+"), "aa\n"),
        (Timestamp("+30d"), "2026-05-05T10:03:00Z"),
        (Timestamp("now"), "2026-04-05T10:00:00.000Z"),
        (UnixTime("+10m"), 1775383800 + 300),
        (UnixTime("+10m"), "1775383800"),
        (UnixTime("now"), 1775383200.0),
        (UnixTime("now"), True),
        (Either((1, [Pattern("a+")])), 2),
        (Either((1, [Pattern("a+")])), ["b"]),
        (Either((1, 2)), True),
        (PublicUrl("/errors#a"), "https://example.com/errors#b"),
        (PublicUrl("/errors#a"), "/errors#a"),
        (PublicUrl("/errors#a"), "urn:errors#a"),
        (PublicUrl("/errors#a"), "https://example.com/at/errors#a"),
        (PublicUrl("/errors#a"), "https:///errors#a"),
        (PublicUrl("/errors.a"), "https://example.com/errors-a"),
        (SameRequestId(""), "req_000000000000"),
        (PublicKey("RS256"), KEY | {"kid": "N" + KEY["kid"]}),
        (PublicKey("RS256"), KEY | {"n": KEY["n"][:-1] + "A"}),
        (PublicKey("RS256"), KEY | {"d": "AQAB"}),
        (PublicKey("RS512"), KEY),
    ],
)
def test_difference_is_reported(expected: Any, found: Any):
    assert list(differences(expected, found, GOOD, NOW))


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": [1, None, {"b": "c"}]}, {"a": [1, None, {"b": "c"}]}),
        (Pattern("a+"), "aa"),
        (Timestamp("+30d"), "2026-05-05T10:00:30Z"),
        (UnixTime("+10m"), 1775383800 - 30),
        (Either((1, [Pattern("a+")])), ["aa"]),
        (SameRequestId("urn:"), "urn:req_0a1b2c3d4e5f"),
        (PublicUrl("/errors#a"), "https://accounts.example.com:8080/errors#a"),
        (PublicKey("RS256"), KEY),
    ],
)
def test_expected_value_has_no_difference(expected: Any, found: Any):
    assert not list(differences(expected, found, GOOD, NOW))


def test_valid_response_has_no_violations():
    """The control of the tests below."""
    assert not list(find_common_violations(GOOD))
    assert not list(find_schema_violations(HEALTH, "GET", GOOD))


@pytest.mark.parametrize("missing", range(len(HEADERS) - 1), ids=[name for name, _ in HEADERS[:-1]])
def test_missing_header_is_reported(missing: int):
    headers = HEADERS[:missing] + HEADERS[missing + 1 :]
    assert list(find_common_violations(Answer(200, headers, GOOD.body)))


def test_server_banner_is_reported():
    headers = tuple((name, "granian" if name == "server" else value) for name, value in HEADERS)
    assert list(find_common_violations(Answer(200, headers, GOOD.body)))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(201, HEADERS, GOOD.body),
        Answer(200, HEADERS, b'{"status":"ok","more":1}'),
        Answer(200, HEADERS, b'{"status":"fine"}'),
        Answer(200, HEADERS, b"{}"),
        Answer(200, (*HEADERS[:-1], ("content-type", "text/plain")), GOOD.body),
    ],
    ids=["status", "extra field", "wrong value", "missing field", "content type"],
)
def test_undocumented_response_is_reported(answer: Answer):
    assert list(find_schema_violations(HEALTH, "GET", answer))


def test_refusal_that_repeats_a_value_is_reported():
    request = Request("POST", "/v1/auth/login", (), b"")
    answer = Answer(400, HEADERS, b'{"message":"hunter2-very-secret is too long"}')
    assert list(repeated_values(request, {"json": {"password": "hunter2-very-secret"}}, answer))


def test_public_url_in_the_type_of_a_problem_is_no_repetition():
    """The origin of a request can be the public URL of the deployment."""
    origin = "https://accounts.example.com"
    request = Request("GET", "/resources/me/pat", (("Origin", origin),))
    for body, repeats in (
        (f'{{"type":"{origin}/errors#not_found"}}', False),
        (f'{{"type":"{origin}/errors#not_found","detail":"{origin}"}}', True),
    ):
        found = [*repeated_values(request, {"Origin": origin}, Answer(404, (), body.encode()))]
        assert bool(found) == repeats


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (form_request("/oauth/token", {"refresh_token": "ref_0123456789"}), "ref_0123456789"),
        (
            Request("POST", "/oauth/token", (credential_header("client", "cli_01:cls_0123456"),)),
            "cls_0123456",
        ),
    ],
    ids=["form", "basic"],
)
def test_refusal_that_repeats_a_decoded_value_is_reported(request_: Request, text: str):
    """Forms and Basic credentials are encoded in the request."""
    row = Row(
        "oauth",
        {"promise": "The request is rejected", "expect": {"status": 400, "body": {"error": text}}},
    )
    answer = Answer(400, HEADERS, f'{{"error":"{text}"}}'.encode())
    violations = find_violations(row, request_, answer, now=NOW, look_up=_look_up)
    assert violations == [f"body: repeats {text!r} from the request"]


def test_different_rate_limit_and_retry_after_are_reported():
    for wait, expected in (("60", []), ("61", ["headers ratelimit and retry-after"])):
        headers = (*HEADERS, ("RateLimit", '"source";r=0;t=60'), ("Retry-After", wait))
        violations = find_common_violations(Answer(429, headers, b""))
        assert [each.partition(":")[0] for each in violations] == expected


RESOURCE = "http://localhost:8080/.well-known/oauth-protected-resource"
REFUSED = Answer(
    401,
    (*HEADERS, ("www-authenticate", f'Bearer realm="oneself", resource_metadata="{RESOURCE}"')),
    b'{"error":{"code":"not_authenticated","message":"Authentication is required."},'
    b'"request_id":"req_0a1b2c3d4e5f","timestamp":"2026-04-05T10:00:00Z"}',
)


def _look_up(name: str) -> str:
    return {"service.url": "http://localhost:8080"}[name]


def _violations(answer: Answer, **expect: Any) -> list[str]:
    """Check a response with a row that by default expects `not_authenticated`."""
    row = Row(
        "ipto",
        {
            "promise": "An unauthenticated request is rejected",
            "operation": "ipto.getCurrentUser",
            "expect": expect or {"refusal": "not_authenticated"},
        },
    )
    return find_violations(row, Request("GET", "/v1/me"), answer, now=NOW, look_up=_look_up)


def test_matching_response_passes_row():
    """The control of the tests below."""
    assert _violations(REFUSED) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, REFUSED.headers, REFUSED.body),
        Answer(418, REFUSED.headers, REFUSED.body),
        Answer(401, HEADERS, REFUSED.body),
        Answer(401, (*HEADERS, ("www-authenticate", "Basic")), REFUSED.body),
        Answer(401, (*REFUSED.headers, ("set-cookie", "a=b")), REFUSED.body),
        Answer(401, (*REFUSED.headers, REFUSED.headers[-1]), REFUSED.body),
        Answer(401, REFUSED.headers, REFUSED.body.replace(b"not_auth", b"auth")),
        Answer(401, REFUSED.headers, REFUSED.body.replace(b"0a1b", b"1a1b")),
        Answer(401, REFUSED.headers, REFUSED.body[:-1] + b',"debug":"trace"}'),
        Answer(401, REFUSED.headers, REFUSED.body.replace(b',"message":"Auth', b',"text":"Auth')),
        Answer(401, REFUSED.headers, b""),
        Answer(401, REFUSED.headers, b"<html>"),
    ],
    ids=[
        "status", "undocumented status", "missing header", "wrong header", "additional header",
        "repeated header", "code", "request id", "extra field", "renamed field", "no body",
        "not JSON",
    ],
)  # fmt: skip
def test_wrong_response_fails_row(answer: Answer):
    assert _violations(answer)


def test_unexpected_body_fails_row():
    """A row without a body expects an empty one."""
    assert _violations(GOOD, status=200)


PUBLIC = (
    *(each for each in HEADERS if each[0] not in {"cache-control", "cross-origin-resource-policy"}),
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "public, max-age=300"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


def test_documents_for_every_origin_have_headers_of_their_own():
    """Clients C10: any other origin, or one without them, is reported."""
    assert [*find_common_violations(Answer(200, PUBLIC, b""))] == []
    origin = ("Access-Control-Allow-Origin", "https://example.com")
    for headers in (
        (*HEADERS, PUBLIC[-3]),
        (*PUBLIC, origin),
        (*PUBLIC[:-3], origin, *PUBLIC[-2:]),
    ):
        assert [*find_common_violations(Answer(200, headers, b""))] != []


def test_undocumented_allowed_origin_is_reported():
    """Clients C6: personal answers are for no other origin."""
    answer = Answer(200, PUBLIC, b'{"status":"ok"}')
    found = find_schema_violations(OPERATIONS["status.getHealth"], "GET", answer)
    assert "header Access-Control-Allow-Origin: is not documented" in [*found]
