"""Tests of misleading names, and of texts that violate their format."""

import pytest

from tests.http.running import PASSWORD, Account, Running
from tests.http.wire import Answer

MISLEADING = {
    "NUL": "Ali\0ce",
    "a line feed": "Ali\nce",
    "a carriage return": "Ali\rce",
    "an escape": "Ali\x1b[31mce",
    "delete": "Ali\x7fce",
    "a C1 control": "Ali\x85ce",
    "a line separator": "Ali\u2028ce",
    "a paragraph separator": "Ali\u2029ce",
    "a right-to-left override": "Ali\u202ece",
    "a right-to-left embedding": "Ali\u202bce",
    "an isolate": "Ali\u2066ce",
    "a right-to-left mark": "Ali\u200fce",
    "an Arabic letter mark": "Ali\u061cce",
    "nothing to see": "\u200b",
    "a zero width space": "Alice\u200b",
    "a soft hyphen": "Ali\u00adce",
    "tag characters": "Alice\U000e0041",
    "an interlinear annotation": "Al\ufff9i\ufffac\ufffbe",
    "a blank letter": "\u3164",
    "150 combining marks": "A" + "\u0300\u0316" * 75,
    "white space at its end": "Alice ",
}


def _sign_up(**names: str) -> dict[str, str]:
    return {
        "email": "misled@example.com",
        "password": PASSWORD,
        "display_name": "x y",
        "tenant_name": "x y",
        **names,
    }


@pytest.mark.parametrize("name", MISLEADING.values(), ids=MISLEADING.keys())
def test_misleading_name_is_rejected_in_each_dialect(service: Running, alice: Account, name: str):
    """HT-06, attack finding 20."""

    def ipto(path: str, body: object, field: str) -> None:
        answer = service.ask("POST", path, headers=alice.bearer, body=body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        [violation] = answer.json["error"]["details"]["violations"]
        assert (violation["in"], violation["field"]) == ("body", f"/{field}")

    ipto("/v1/auth/signup", _sign_up(display_name=name), "display_name")
    ipto("/v1/auth/signup", _sign_up(tenant_name=name), "tenant_name")
    ipto("/v1/api-keys", {"name": name, "scopes": ["me/profile:read"]}, "name")

    for field in ("first_name", "last_name", "display_name"):
        scaikey = service.ask("PATCH", "/api/v1/me", headers=alice.bearer, body={field: name})
        assert scaikey.status == 422
        [location] = scaikey.json["detail"]
        assert (location["loc"], location["type"]) == (["body", field], "invalid_request")

    hantera = service.ask(
        "PATCH", "/resources/me/profile", headers=alice.bearer, body={"name": name}
    )
    assert (hantera.status, hantera.code) == (400, "invalid_request")
    assert hantera.header("content-type") == "application/problem+json"
    assert hantera.json["detail"].startswith("body name: ")


def test_real_names_are_kept_unchanged(service: Running, alice: Account):
    """HT-06: joiners are needed for Persian and emoji."""
    for name in (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "👩\u200d💻",
        "Łukasz Ó Súilleabháin",
        "山田太郎",
    ):
        answer = service.ask("PATCH", "/api/v1/me", headers=alice.bearer, body={"first_name": name})
        assert (answer.status, answer.json["first_name"]) == (200, name)


def test_names_are_stored_in_nfc(service: Running, alice: Account):
    """HT-06, UN-01."""
    body = {"first_name": "Jose\u0301"}
    answer = service.ask("PATCH", "/api/v1/me", headers=alice.bearer, body=body)
    assert answer.json["first_name"] == "Jos\u00e9"


def _rules(answer: Answer, field: str) -> list[str]:
    """Return the rules that a problem reports for a field of the body."""
    assert (answer.status, answer.code) == (400, "invalid_request")
    parts = answer.json["detail"].split("; ")
    return [part.removeprefix(f"body {field}: ") for part in parts if f"body {field}:" in part]


@pytest.mark.parametrize(
    "identity",
    [
        "x",
        "01933e8f7c4571239abc123456789abc",
        "{01933e8f-7c45-7123-9abc-123456789abc}",
        "urn:uuid:01933e8f-7c45-7123-9abc-123456789abc",
        "01933e8f-7c45-7123-9abc-123456789abc\n",
        "01933e8f-7c45-7123-9abc-123456789ab\u0661",
        "g1933e8f-7c45-7123-9abc-123456789abc",
    ],
)
def test_malformed_uuid_is_rejected(service: Running, identity: str):
    """HT-04: many validators only note the format."""
    body = {"identityId": identity, "secret": "x"}
    answer = service.ask("POST", "/resources/me/email/validate", body=body)
    assert "must be a UUID" in _rules(answer, "identityId")


@pytest.mark.parametrize(
    "email",
    [
        "x",
        "@example.com",
        "a@",
        "a@b@example.com",
        "a b@example.com",
        "a@example.com\n",
        "a@example.com\0",
        "A <a@example.com>",
        "a@[127.0.0.1]",
        "a@localhost",
    ],
)
def test_malformed_email_address_is_rejected(service: Running, alice: Account, email: str):
    """HT-04, UN-01."""
    answer = service.ask(
        "POST", "/resources/me/email/change", headers=alice.bearer, body={"email": email}
    )
    assert _rules(answer, "email")


@pytest.mark.parametrize(
    "picture",
    [
        "x",
        "//example.com/x.png",
        "http://example.com/x.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https://",
        "https://a b.example/",
        "https://example.com/x.png\n",
        "https://user:pass@example.com/",
        "https://example.com:port/",
    ],
)
def test_malformed_uri_is_rejected(service: Running, alice: Account, picture: str):
    """HT-04, HT-22."""
    answer = service.ask(
        "PATCH", "/resources/me/profile", headers=alice.bearer, body={"picture": picture}
    )
    assert _rules(answer, "picture")


@pytest.mark.parametrize(
    "timestamp",
    [
        "x",
        "2026-07-05",
        "2026-07-05 10:00:00",
        "2026-07-05T10:00:00",
        "2026-13-05T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-07-05T25:00:00Z",
        "2026-07-05T10:00:00Z\n",
        "2026-W27-7T10:00:00Z",
        "20260705T100000Z",
        "1783245600",
    ],
)
def test_malformed_timestamp_is_rejected(service: Running, alice: Account, timestamp: str):
    """HT-04, TK-13."""
    body = {"name": "x", "scopes": ["me/profile:read"], "expires_at": timestamp}
    answer = service.ask("POST", "/v1/api-keys", headers=alice.bearer, body=body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    [violation, *_] = answer.json["error"]["details"]["violations"]
    assert violation["field"] == "/expires_at"


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-06-30T23:59:60Z"]
)
def test_timestamp_that_python_lacks_is_rejected(service: Running, alice: Account, timestamp: str):
    """HT-04: RFC 3339 allows some that Python does not."""
    body = {"name": "x", "scopes": ["me/profile:read"], "expires_at": timestamp}
    answer = service.ask("POST", "/v1/api-keys", headers=alice.bearer, body=body)
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "client_id", ["cli_a1b2c3d4e5f6\n", "cli_A1B2C3D4E5F6", "\ncli_a1b2c3d4e5f6"]
)
def test_pattern_does_not_match_before_a_line_feed(
    service: Running, alice: Account, client_id: str
):
    """HT-04: Python's `$` does."""
    body = {
        "name": "x",
        "scopes": ["me/profile:read"],
        "expiresAt": "2027-01-01T00:00:00Z",
        "clientId": client_id,
        "clientSecret": "x",
    }
    answer = service.ask("POST", "/resources/me/pat", headers=alice.bearer, body=body)
    assert any(rule.startswith("must match ") for rule in _rules(answer, "clientId"))


@pytest.mark.parametrize(
    "tenant",
    [
        "x",
        "{01933e8f-7c45-7123-9abc-123456789abc}",
        "01933e8f7c4571239abc123456789abc",
        "urn:uuid:01933e8f-7c45-7123-9abc-123456789abc",
        "01933e8f-7c45-7123-9abc-123456789abc, 01933e8f-7c45-7123-9abc-123456789abc",
        "",
        None,
    ],
)
def test_other_spellings_of_a_tenant_uuid_are_rejected(
    service: Running, alice: Account, tenant: str | None
):
    """HT-04, AZ-13."""
    body = {"current_password": "x", "new_password": "x"}
    headers = {**alice.bearer, "X-Tenant-ID": tenant}
    answer = service.ask("POST", "/v1/users/me/password", headers=headers, body=body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    [violation, *_] = answer.json["details"]["violations"]
    assert (violation["in"], violation["field"]) == ("header", "X-Tenant-ID")


def test_two_idempotency_keys_are_rejected(service: Running, alice: Account):
    """HT-18: stored under one, the request would run again under the other."""
    headers = {**alice.bearer, "Idempotency-Key": "one", "idempotency-key": "two"}
    body = {"key_name": "A key", "scopes": ["me/profile:read"]}
    answer = service.ask("POST", "/v1/api-keys", headers=headers, body=body)
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_two_tenant_headers_are_rejected(service: Running, alice: Account):
    """HT-09, AZ-13."""
    uuid = "01933e8f-7c45-7123-9abc-123456789abc"
    headers = {**alice.bearer, "X-Tenant-ID": uuid, "x-tenant-id": uuid}
    answer = service.ask(
        "POST",
        "/v1/users/me/password",
        headers=headers,
        body={"current_password": "x", "new_password": "x"},
    )
    assert (answer.status, answer.code) == (400, "malformed_request")
