"""Deprecated operations announce it on each response (RFC 9745, RFC 8594)."""

import asyncio
import copy

import pytest

import oneself.app
from oneself.deprecation import BadDeprecation, headers_of_deprecation
from oneself.document import load_document
from oneself.settings import Settings

DEPRECATION = {"since": "2026-04-05", "sunset": "2027-04-05"}
DEPRECATED = {"operationId": "ipto.logOut", "deprecated": True, "x-deprecation": DEPRECATION}


def test_dates_become_headers():
    assert headers_of_deprecation(DEPRECATED) == {
        "Deprecation": "@1775347200",
        "Sunset": "Mon, 05 Apr 2027 00:00:00 GMT",
    }


def test_link_points_to_the_replacement():
    deprecation = {**DEPRECATION, "link": "https://docs.example/instead"}
    headers = headers_of_deprecation({**DEPRECATED, "x-deprecation": deprecation})
    assert headers["Link"] == '<https://docs.example/instead>; rel="deprecation"'


def test_other_operations_have_no_headers():
    assert headers_of_deprecation({"operationId": "ipto.logOut"}) == {}


@pytest.mark.parametrize(
    "operation",
    [
        {**DEPRECATED, "deprecated": False},
        {"operationId": "ipto.logOut", "deprecated": True},
        {**DEPRECATED, "x-deprecation": {"since": "2026-04-05"}},
        {**DEPRECATED, "x-deprecation": {**DEPRECATION, "sunset": "soon"}},
        {**DEPRECATED, "x-deprecation": {**DEPRECATION, "sunset": 2027}},
        {**DEPRECATED, "x-deprecation": {**DEPRECATION, "sunset": "2026-10-01"}},
        {**DEPRECATED, "x-deprecation": ["2026-04-05", "2027-04-05"]},
    ],
)
def test_inconsistent_deprecation_is_rejected(operation):
    with pytest.raises(BadDeprecation, match=r"^ipto\.logOut: "):
        headers_of_deprecation(operation)


@pytest.fixture
def call(env, monkeypatch, tmp_path):
    """Calls an application with ipto.getCurrentUser and ipto.changePassword deprecated."""
    document = copy.deepcopy(dict(load_document()))
    for path, method in (("/v1/me", "get"), ("/v1/me/password", "post")):
        document["paths"][path][method] |= {"deprecated": True, "x-deprecation": DEPRECATION}
    monkeypatch.setattr(oneself.app, "load_document", lambda: document)
    settings = Settings(
        data_dir=tmp_path,
        public_url="http://localhost",
        secret_key="x" * 43,
        validate_responses=True,
    )
    app = oneself.app.create_app(settings, database=env.database)

    def call(method, path, *headers, body=b""):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), *headers],
        }
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], {
            name.decode(): value.decode() for name, value in sent[0]["headers"]
        }

    return call


def test_only_responses_of_deprecated_operations_have_the_headers(call, alice):
    bearer = (b"authorization", f"Bearer {alice.token}".encode())
    length = (b"content-length", b"70000")
    for expected, response in (
        (200, call("GET", "/v1/me", bearer)),
        (401, call("GET", "/v1/me")),
        (415, call("POST", "/v1/me/password", bearer, (b"content-length", b"1"), body=b"x")),
        (413, call("POST", "/v1/me/password", bearer, length, body=b"x" * 70_000)),
    ):
        status, headers = response
        assert status == expected
        assert headers["deprecation"] == "@1775347200"
        assert headers["sunset"] == "Mon, 05 Apr 2027 00:00:00 GMT"
    for status, headers in (
        call("GET", "/api/v1/me", bearer),
        call("PUT", "/v1/me", bearer),
        call("GET", "/healthz"),
    ):
        assert status in {200, 405}
        assert not {"deprecation", "sunset"} & headers.keys()
