"""Cross-origin requests, with and without allowed origins."""

import pytest

from oneself_conformance.http_client import Request
from tests.support.in_process import InProcess

PAGE, OTHER = "https://app.example.com", "https://attacker.example"
pytestmark = pytest.mark.only_on("sqlite")


def _open(storage, folder, **settings):
    location = storage.make(folder)
    service = InProcess(folder, location, threads=1, **settings)
    service.faults.armed = True  # mail is not part of a request
    return service, location


@pytest.fixture(scope="module")
def service(storage, tmp_path_factory):
    """Serves an API that pages of one origin may call."""
    service, location = _open(storage, tmp_path_factory.mktemp("cors"), cors_origins=PAGE)
    yield service
    service.close()
    storage.drop(location)


@pytest.fixture(scope="module")
def ask(service):
    """Sends a request of a page, and returns the answer."""

    def ask(method, path, origin=PAGE, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return service.ask(Request(method, path, tuple({"Origin": origin, **named}.items())))

    return ask


def _cors(answer):
    """Return the headers of an answer that a browser reads for CORS."""
    names = {name.lower() for name, _ in answer.headers}
    return {
        name: ", ".join(answer.values(name))
        for name in names
        if name.startswith("access-control-") or name == "vary"
    }


def _preflight(ask, path, method, origin=PAGE):
    return ask("OPTIONS", path, origin, Access_Control_Request_Method=method)


@pytest.mark.parametrize(
    ("path", "method", "methods"),
    [
        ("/v1/me", "GET", "DELETE, GET, HEAD"),
        ("/api/v1/me", "PATCH", "GET, HEAD, PATCH"),
        ("/v1/api-keys/key_0123456789ab", "DELETE", "DELETE"),
        ("/oauth/token", "POST", "POST"),
    ],
)
def test_preflight_is_answered_without_a_credential(ask, path, method, methods):
    """SE-09, clients C6: with the methods of the path and every header of the document."""
    answer = _preflight(ask, path, method)
    assert (answer.status, answer.body) == (204, b"")
    headers = _cors(answer)
    exposed = headers.pop("access-control-expose-headers").split(", ")
    assert {"ETag", "Retry-After", "X-Request-Id", "Location", "WWW-Authenticate"} <= {*exposed}
    assert headers == {
        "vary": "Origin",
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": methods,
        "access-control-allow-headers": (
            "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-API-Key,"
            " X-Session-Token, X-Tenant-ID"
        ),
        "access-control-max-age": "600",
    }


def test_page_of_an_allowed_origin_reads_answers_and_refusals(ask, service):
    """SE-09, clients C6: by token or key, and never with the cookie."""
    base = service.actors["base"]
    token = {"Authorization": f"Bearer {base['session_token']}"}
    for headers, status in (
        (token, 200),
        ({"X_API_Key": base["api_key"]}, 200),
        ({}, 401),
        ({"Authorization": "Bearer x"}, 401),
    ):
        answer = ask("GET", "/v1/me", **headers)
        assert answer.status == status
        seen = _cors(answer)
        assert seen.pop("access-control-expose-headers")
        assert seen == {"vary": "Origin", "access-control-allow-origin": PAGE}
    cookie = {"Cookie": f"__Host-oneself_session={base['session_token']}"}
    answer = ask("POST", "/v1/auth/logout", Sec_Fetch_Site="same-site", **cookie)
    assert answer.status == 403
    assert "access-control-allow-credentials" not in _cors(answer)


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "*", "", PAGE.upper(), f"{PAGE}:443", f"{PAGE}/", f"{PAGE}.attacker.example"],
)
def test_page_of_another_origin_reads_nothing(ask, origin):
    """SE-09, clients C6: its preflight is rejected as before."""
    assert _cors(ask("GET", "/v1/me", origin)) == {"vary": "Origin"}
    answer = _preflight(ask, "/v1/me", "GET", origin)
    assert (answer.status, _cors(answer)) == (405, {"vary": "Origin"})


def test_options_that_is_no_preflight_is_rejected(ask):
    assert ask("OPTIONS", "/v1/me").status == 405
    assert _preflight(ask, "/nowhere", "GET").status == 404


def test_pages_are_for_no_other_origin(ask):
    """SE-09: only the API is."""
    for path in ("/", "/docs"):
        assert _cors(ask("GET", path)) == {}


@pytest.mark.parametrize(
    "path", ["/openapi.yaml", "/openapi.json", "/.well-known/jwks.json"], ids=range(3)
)
@pytest.mark.parametrize("origin", [PAGE, OTHER])
def test_every_origin_reads_public_documents(ask, path, origin):
    """Clients C6: they are the same for all callers."""
    answer = ask("GET", path, origin)
    assert answer.values("access-control-allow-origin") == ["*"]
    assert answer.values("cross-origin-resource-policy") == ["cross-origin"]


def test_no_origin_is_allowed_by_default(storage, tmp_path):
    """SE-09."""
    service, location = _open(storage, tmp_path)
    origin = ("Origin", PAGE)
    answers = [
        service.ask(Request("GET", "/v1/me", (origin,))),
        service.ask(
            Request("OPTIONS", "/v1/me", (origin, ("Access-Control-Request-Method", "GET")))
        ),
    ]
    assert [(answer.status, _cors(answer)) for answer in answers] == [(401, {}), (405, {})]
    service.close()
    storage.drop(location)
