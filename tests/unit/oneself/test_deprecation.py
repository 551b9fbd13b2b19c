"""An operation that is to go says so on each of its answers (RFC 9745, RFC 8594)."""

import asyncio
import copy
from pathlib import Path

import pytest

import oneself.app
from oneself.deprecation import BadDeprecation, headers_of_deprecation
from oneself.document import load_document
from oneself.settings import Settings

SAID = {"since": "2026-04-05", "sunset": "2027-04-05"}
GOING = {"operationId": "ipto.logOut", "deprecated": True, "x-deprecation": SAID}


def test_the_days_become_the_headers():
    assert headers_of_deprecation(GOING) == {
        "Deprecation": "@1775347200",
        "Sunset": "Mon, 05 Apr 2027 00:00:00 GMT",
    }


def test_a_link_leads_to_what_to_use_instead():
    said = {**SAID, "link": "https://docs.example/instead"}
    headers = headers_of_deprecation({**GOING, "x-deprecation": said})
    assert headers["Link"] == '<https://docs.example/instead>; rel="deprecation"'


def test_an_operation_that_stays_says_nothing():
    assert headers_of_deprecation({"operationId": "ipto.logOut"}) == {}


@pytest.mark.parametrize(
    "operation",
    [
        {**GOING, "deprecated": False},
        {"operationId": "ipto.logOut", "deprecated": True},
        {**GOING, "x-deprecation": {"since": "2026-04-05"}},
        {**GOING, "x-deprecation": {**SAID, "sunset": "soon"}},
        {**GOING, "x-deprecation": {**SAID, "sunset": 2027}},
        {**GOING, "x-deprecation": {**SAID, "sunset": "2026-10-01"}},
        {**GOING, "x-deprecation": ["2026-04-05", "2027-04-05"]},
    ],
)
def test_what_does_not_go_together_is_a_mistake(operation):
    with pytest.raises(BadDeprecation, match=r"^ipto\.logOut: "):
        headers_of_deprecation(operation)


@pytest.fixture
def ask(env, monkeypatch):
    """Asks an application whose ipto.getCurrentUser and ipto.changePassword are to go."""
    document = copy.deepcopy(dict(load_document()))
    for path, method in (("/v1/me", "get"), ("/v1/me/password", "post")):
        document["paths"][path][method] |= {"deprecated": True, "x-deprecation": SAID}
    monkeypatch.setattr(oneself.app, "load_document", lambda: document)
    settings = Settings(
        data_dir=Path("unused"), public_url="http://localhost", validate_responses=True
    )
    app = oneself.app.create_app(settings, database=env.database)

    def ask(method, path, *headers, body=b""):
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

    return ask


def test_each_answer_has_them_and_those_of_other_operations_have_not(ask, alice):
    bearer = (b"authorization", f"Bearer {alice.token}".encode())
    length = (b"content-length", b"70000")
    for expected, answer in (
        (200, ask("GET", "/v1/me", bearer)),
        (401, ask("GET", "/v1/me")),
        (415, ask("POST", "/v1/me/password", bearer, (b"content-length", b"1"), body=b"x")),
        (413, ask("POST", "/v1/me/password", bearer, length, body=b"x" * 70_000)),
    ):
        status, headers = answer
        assert status == expected
        assert headers["deprecation"] == "@1775347200"
        assert headers["sunset"] == "Mon, 05 Apr 2027 00:00:00 GMT"
    for status, headers in (
        ask("GET", "/api/v1/me", bearer),
        ask("PUT", "/v1/me", bearer),
        ask("GET", "/healthz"),
    ):
        assert status in {200, 405}
        assert not {"deprecation", "sunset"} & headers.keys()
