"""Tests of paths, which have one spelling, and of queries."""

import pytest

from tests.http.running import Account, Running
from tests.http.wire import Wire, head_of

OTHER_SPELLINGS = [
    "//v1/me",
    "/v1//me",
    "/v1/me/",
    "/v1/me//",
    "/v1/me/.",
    "/v1/./me",
    "/./v1/me",
    "/v1/x/../me",
    "/v1/me/..",
    "/v1/me;",
    "/v1/me;x",
    "/v1;x/me",
    "/V1/ME",
    "/v1/Me",
    "/v1/m%65",
    "/v1/m%2565",
    "/v1/%2e/me",
    "/v1/x/%2e%2e/me",
    "/v1%2Fme",
    "/v1%2fme",
    "/v1%252Fme",
    "/v1%5Cme",
    "/v1\\me",
    "/v1/me%00",
    "/v1/me%0a",
    "/v1/me%20",
    "/v1/me%",
    "/v1/me%zz",
    "/v1/me%3Fx",
    "/v1/me%23",
    "/v1/me%3B",
    "/v1/m%c0%a5",
    "/v1/me.json",
    "/v1/me\\",
    "/api/users/me",
    "/api/users/me//",
    "/api/v1/me/",
    "/resources/me/profile/",
    "/resources/me/pat/",
    "/resources/me/pat/%30%31",
    "/healthz/",
    "//healthz",
    "/openapi.yaml/",
    "/docs/docs.js",
    "/docs/0000000000000000/docs.js",
    "/docs/../docs",
]


@pytest.mark.parametrize("target", OTHER_SPELLINGS)
def test_other_spelling_of_a_path_is_not_found(service: Running, alice: Account, target: str):
    """HT-10, HT-12: with and without a credential."""
    for headers in (None, alice.bearer):
        answer = service.ask("GET", target, headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.header("location") is None


#: Malformed request targets; Granian rejects most of them itself.
NOT_A_TARGET = [
    b"/v1/me\0",
    b"/v1/\0me",
    b"/v1/m\xe9",
    b"/v1/\xff",
    b"/v1/me\x7f",
    b"v1/me",
    b"/v1/me HTTP/1.1 x",
    b"/v1/<me>",
    b"*",
    b"?x",
    b"",
]


@pytest.mark.parametrize("target", NOT_A_TARGET)
def test_malformed_target_is_rejected(service: Running, alice: Account, target: bytes):
    """HT-12."""
    with Wire(service.port) as wire:
        head = head_of("GET", "@", alice.bearer, host="localhost").replace(b"@", target, 1)
        wire.send(head)
        answer = wire.answer()
        assert answer is None or answer.status in {400, 404}
    service.assert_alive()


@pytest.mark.parametrize("target", ["/v1/me#x", "/v1/me?"])
def test_fragment_or_empty_query_does_not_bypass_authentication(
    service: Running, alice: Account, target: str
):
    """HT-12: hyper removes a fragment and leaves the plain path."""
    assert service.ask("GET", target).status == 401
    assert service.ask("GET", target, headers=alice.bearer).status == 200


def test_long_path_is_not_found(service: Running):
    """HT-12."""
    answer = service.ask("GET", "/" + "a" * 60_000)
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/v1/me", "/api/users/me/", "/api/v1/me", "/resources/me/settings", "/healthz", "/readyz"],
)
@pytest.mark.parametrize(
    "query",
    [
        "x=1",
        "x=1&x=2",
        "x",
        "=",
        "&",
        "??",
        "%",
        "%zz=1",
        "x=%ff",
        "x=%00",
        "limit=1&" * 200 + "limit=1",
        "a;b",
    ],
)
def test_undocumented_query_is_rejected(service: Running, alice: Account, path: str, query: str):
    """HT-05."""
    answer = service.ask("GET", f"{path}?{query}", headers=alice.bearer)
    assert answer.status == (422 if path.startswith("/api/") else 400)
    assert answer.code == "invalid_request"


@pytest.mark.parametrize("name", ["access_token", "api_key", "token", "X-API-Key"])
def test_credential_in_the_query_is_never_read(service: Running, alice: Account, name: str):
    """TK-19, LO-06."""
    for path in ("/v1/me", "/resources/me/settings"):
        answer = service.ask("GET", f"{path}?{name}={alice.session}")
        assert (answer.status, answer.code) == (401, "not_authenticated")
        assert answer.header("www-authenticate") == f'Bearer realm="oneself", {service.metadata}'
        service.line_of(answer)
    assert alice.session not in service.log


def test_malformed_id_in_a_path_is_rejected(service: Running, alice: Account):
    """HT-12: no id has another form, so the database is not searched."""
    for path in (
        "/v1/me/sessions/..",
        "/v1/me/sessions/SES_0f1e2d3c4b5a",
        "/v1/me/sessions/ses_0f1e2d3c4b5",
        "/v1/me/sessions/ses_0f1e2d3c4b5a;x",
        "/v1/api-keys/ses_0f1e2d3c4b5a",
        "/resources/me/pat/{01933e8f-7c45-7123-9abc-123456789abc}",
        "/resources/me/pat/01933e8f7c4571239abc123456789abc",
        "/resources/me/pat/" + "1" * 1_000,
    ):
        answer = service.ask("DELETE", path, headers=alice.bearer)
        assert (answer.status, answer.code) == (400, "invalid_request")
