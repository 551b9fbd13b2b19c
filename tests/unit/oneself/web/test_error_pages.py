"""HTML for browsers in place of a refusal."""

import pytest

from oneself.document import load_document
from oneself.http.response.dialects import Dialects
from oneself.http.response.responses import Answer
from oneself.templating import Templates
from oneself.web.error_pages import ErrorPages, prefers_html
from oneself.web.frame import PageFrame

CHROMIUM = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JSON = Answer(404, b"{}", "application/problem+json", {"Allow": "POST"}, code="not_found")


@pytest.fixture(scope="module")
def show():
    pages = ErrorPages(
        Dialects(load_document()),
        PageFrame(Templates(), public_origin="https://accounts.example.com"),
        reference=True,
    )

    def show(path, *, status=404, method="GET", accept=CHROMIUM, language="en"):
        headers = [(b"accept", accept), (b"accept-language", language.encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        return pages(scope, JSON._replace(status=status))

    return show


@pytest.mark.parametrize(
    ("language", "heading"), [("en", "Page not found"), ("de", "Seite nicht gefunden")]
)
def test_browser_gets_a_page_for_an_unknown_address(show, language, heading):
    """Newcomer F20."""
    answer = show("/login", language=language)
    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.content_type == "text/html; charset=utf-8"
    html = answer.body.decode()
    assert f"{heading}</h1>" in html.replace("\n", "")
    assert 'href="/docs"' in html
    assert "/login" not in html
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_page_keeps_the_headers_of_the_refusal(show):
    answer = show("/v1/auth/login", status=405)
    assert b"This address is for programs" in answer.body
    assert answer.headers["Allow"] == "POST"


def test_other_refusal_of_a_page_is_shown_too(show):
    assert b"That did not work" in show("/docs", status=400).body


@pytest.mark.parametrize(
    "request_",
    [
        {"path": "/login", "method": "POST"},
        {"path": "/login", "accept": b"*/*"},
        {"path": "/login", "accept": b""},
        {"path": "/login", "accept": b"application/json, text/html"},
        {"path": "/v1/me", "status": 401},
        {"path": "/v1/api-keys/key_x", "status": 404},
    ],
)
def test_program_and_documented_operation_get_the_documented_answer(show, request_):
    assert show(**request_) == JSON._replace(status=request_.get("status", 404))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (CHROMIUM, True),
        (b"text/html", True),
        (b"application/json;q=0.5, text/html; q=0.9", True),
        (b"text/html;q=0.5, application/json", False),
        (b"text/html;q=x", False),
        (b"text/html;q=0", False),
        (b"text/*", False),
        (b"\xff", False),
    ],
)
def test_preference_follows_the_weights(accept, expected):
    assert prefers_html(accept) is expected
