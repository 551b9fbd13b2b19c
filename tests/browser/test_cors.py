"""A page on another port calls the API, in Chromium."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.service import Service, started

pytestmark = pytest.mark.nightly

#: Returns the status, the body and the readable headers, or "blocked" if the browser refuses.
FETCH = """
async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return [answer.status, await answer.json(), answer.headers.get("x-request-id")];
  } catch (error) {
    return "blocked";
  }
}
"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>An app</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def origins() -> Iterator[tuple[str, str]]:
    """Two origins with a page each, the first of which the service allows."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Blank) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    allowed, other = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield allowed, other
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def api(origins: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("cors"), cors_origins=origins[0]) as running:
        yield running


@pytest.fixture
def fetch(browser: Browser, api: Service) -> Iterator[Callable[..., Any]]:
    """Fetches a path of the API from a page of an origin, with options of `fetch`."""
    context = browser.new_context()
    page: Page = context.new_page()

    def fetch(origin: str, path: str, **options: Any) -> Any:
        page.goto(f"{origin}/")
        return page.evaluate(FETCH, [api.url + path, options])

    yield fetch
    context.close()


SIGN_UP = {
    "method": "POST",
    "headers": {"Content-Type": "application/json"},
    "body": (
        '{"email": "page@example.com", "password": "Violet tangent 47 harbour",'
        ' "display_name": "A Page", "tenant_name": "Apps"}'
    ),
}


def test_page_of_an_allowed_origin_calls_the_api(
    fetch: Callable[..., Any], origins: tuple[str, str]
) -> None:
    """SE-09, clients C6: with a preflight and a token; another origin and cookies are blocked."""
    allowed, other = origins
    assert fetch(other, "/v1/auth/signup", **SIGN_UP) == "blocked"
    status, body, request_id = fetch(allowed, "/v1/auth/signup", **SIGN_UP)
    assert (status, request_id[:4]) == (201, "req_")
    token = {"Authorization": f"Bearer {body['data']['session_token']}"}
    changed = {
        "method": "PATCH",
        "headers": {**token, "Content-Type": "application/merge-patch+json"},
        "body": '{"locale": "de-DE"}',
    }
    assert fetch(allowed, "/api/v1/me", **changed)[1]["locale"] == "de-DE"
    assert fetch(other, "/api/v1/me", **changed) == "blocked"
    assert fetch(allowed, "/v1/me", headers=token, credentials="include") == "blocked"
    assert fetch(allowed, "/v1/me")[0] == 401
    for origin in origins:
        assert fetch(origin, "/openapi.json")[0] == 200
        assert fetch(origin, "/.well-known/jwks.json")[0] == 200
