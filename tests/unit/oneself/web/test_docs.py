"""The pages at `/` and `/docs` and their files, called in process."""

import asyncio
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from accounts.errors import InvalidRequest, NotFound
from handlers.dialect import ResponseMeta
from handlers.problem_details import PROBLEM_DETAILS
from oneself.branding.brand import Brand
from oneself.branding.logo import Logo
from oneself.document import load_document, operation_specs
from oneself.error_catalogue import read_catalogue
from oneself.http.guard import RequestContext
from oneself.http.request.errors import MethodNotAllowed
from oneself.templating import Templates
from oneself.web.docs import LOG_OUT, Docs
from oneself.web.frame import PageFrame
from tests.support.languages import LANGUAGES

HOST = "accounts.example.com"
FRAME = PageFrame(Templates(brand=Brand(HOST)), public_origin=f"https://{HOST}")
DIALECTS = ["ipto", "hyperclast", "scaikey", "hantera", "jitsudo"]


@dataclass(frozen=True)
class Seen:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def html(self) -> str:
        return self.body.decode()

    @property
    def policy(self) -> set[str]:
        return set(self.headers["content-security-policy"].split("; "))


async def _next_app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def docs() -> Docs:
    return _open(load_document())


def _open(document: Mapping[str, Any], **options: Any) -> Docs:
    settings = {"frame": FRAME, "clock": partial(datetime.now, UTC), **options}
    return Docs(_next_app, document, **settings)


@pytest.fixture
def look(docs):
    return _look_at(docs)


def _look_at(docs):
    def look(path: str, *, method: str = "GET", query: bytes = b"", language: str = "") -> Seen:
        sent: list[Mapping[str, object]] = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(b"accept-language", language.encode())],
            "oneself.request_context": RequestContext("req_0a1b2c3d4e5f", 0.0),
        }
        asyncio.run(docs(scope, None, send))
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Seen(sent[0]["status"], headers, sent[1]["body"])

    return look


@pytest.mark.parametrize("language", LANGUAGES)
def test_start_page_has_the_version_and_links_in_each_language(look, language):
    seen = look("/", language=language)
    assert (seen.status, seen.headers["content-language"]) == (200, language)
    assert f'<html lang="{language}">' in seen.html
    assert load_document()["info"]["version"] in seen.html
    links = re.findall(r'href="([^"]+)"', seen.html)
    assert links == [
        "/favicon.svg",
        *(f"/docs#{dialect}" for dialect in DIALECTS),
        *("/docs", "/openapi.yaml", "/openapi.json", "/healthz", "/readyz"),
    ]


def test_start_page_loads_and_runs_nothing(look):
    """HT-15: its Content-Security-Policy allows its one style by its hash."""
    seen = look("/")
    assert "<script" not in seen.html
    assert re.findall("<link[^>]+>", seen.html) == [
        '<link rel="icon" href="/favicon.svg" type="image/svg+xml">'
    ]
    assert {name.split()[0]: name for name in seen.policy}.keys() == {
        *("default-src", "frame-ancestors", "base-uri", "form-action", "img-src", "style-src")
    }
    assert "unsafe" not in seen.headers["content-security-policy"]


def test_both_pages_spell_names_as_their_owners_do(look):
    """Newcomer, section 2: `scaikey` for ScaiKey."""
    for path, element in (("/", "li><a"), ("/docs", "h2 id")):
        names = re.findall(rf"<{element}[^>]*>([^<]+)<", look(path).html)
        assert names[:5] == ["ipto", "Hyperclast", "ScaiKey", "Hantera", "jitsudo"]


def test_start_page_shows_each_dialect_with_an_operation(look):
    operations = re.findall(r"<code>([^<]+)</code>", look("/").html)
    assert operations == [
        "GET /v1/me",
        "GET /api/users/me/",
        "GET /api/v1/me",
        "GET /resources/me/profile",
        "GET /v1/users/me/profile",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_error_catalogue_has_an_anchor_per_code_in_each_language(look, language):
    """Contract section 6.6: the `type` of a problem resolves there."""
    seen = look("/errors", language=language)
    assert (seen.status, seen.headers["content-language"]) == (200, language)
    entries = read_catalogue(load_document())
    assert re.findall('<section class="card" id="([a-z_]+)"', seen.html) == [
        each.code for each in entries
    ]
    assert (entries[0].meaning in seen.html) == (language == "en")
    meta = ResponseMeta("req_0a1b2c3d4e5f", datetime.now(UTC), f"https://{HOST}")
    problem = PROBLEM_DETAILS.refuse(NotFound(), 404, meta)["type"]
    path, _, anchor = problem.removeprefix(f"https://{HOST}").partition("#")
    assert (path, f' id="{anchor}"' in seen.html) == ("/errors", True)


def test_error_catalogue_is_cached_and_runs_nothing(look):
    """HT-15: caches keep it by language; its policy allows one style by its hash."""
    seen = look("/errors", language="de")
    assert seen.headers["cache-control"] == "public, max-age=3600"
    assert seen.headers["vary"] == "Accept-Language"
    assert "<script" not in seen.html
    assert {name.split()[0]: name for name in seen.policy}.keys() == {
        *("default-src", "frame-ancestors", "base-uri", "form-action", "img-src", "style-src")
    }
    assert "unsafe" not in seen.headers["content-security-policy"]
    assert look("/errors", language="de").body is seen.body


def test_docs_load_from_this_host_and_have_no_inline_script(look):
    """HT-15, HT-23."""
    seen = look("/docs")
    assert seen.policy == {
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    }
    assert re.findall(r'<script(?! type="module" src=)', seen.html) == []
    assert re.findall(r"<[^>]+ on[a-z]+=", seen.html) == []
    assert "<style" not in seen.html
    assert "style=" not in seen.html


def test_files_of_the_docs_are_cached_by_their_content(look):
    paths = re.findall(r'(?:src|href)="(/docs/[^"]+)"', look("/docs").html)
    assert [path.rpartition("/")[2] for path in paths] == ["docs.css", "docs.js"]
    for path in paths:
        seen = look(path)
        assert seen.status == 200
        assert path.split("/")[2] == sha256(seen.body).hexdigest()[:16]
        assert seen.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert seen.headers["content-type"] in {
            "text/css; charset=utf-8",
            "text/javascript; charset=utf-8",
        }
        # A script that is opened on its own can do nothing.
        assert seen.policy == {"default-src 'none'", "frame-ancestors 'none'"}


def test_pages_are_not_cached(look):
    for path in ("/", "/docs"):
        assert look(path).headers["cache-control"] == "no-store"
        assert look(path).headers["cross-origin-opener-policy"] == "same-origin"


def test_reference_can_be_switched_off(look):
    """HT-23, attack finding 22: no page links to the reference."""
    without = _look_at(_open(load_document(), reference=False))
    files = re.findall(r'(?:src|href)="(/docs/[^"]+)"', look("/docs").html)
    assert len(files) == 2
    for path in ("/docs", "/docs/", *files):
        assert without(path).status == 204
    assert "/docs" not in without("/").html
    assert re.findall(r'href="([^"]+)"', without("/").html) == [
        "/favicon.svg",
        *("/openapi.yaml", "/openapi.json", "/healthz", "/readyz"),
    ]
    # Problem details point to it.
    assert 'id="not_found"' in without("/errors").html
    assert "/docs" not in without("/errors").html


@pytest.mark.parametrize("path", ["/docs/docs.js", "/Docs", "/doc", "/index.html", "//"])
def test_other_paths_are_passed_on(look, path):
    """HT-12."""
    assert look(path).status == 204


@pytest.mark.parametrize("path", ["/", "/docs", "/errors"])
def test_pages_reject_other_methods_and_queries(look, path):
    """HT-13, HT-23."""
    with pytest.raises(MethodNotAllowed):
        look(path, method="POST")
    with pytest.raises(InvalidRequest):
        look(path, query=b"url=https://evil.example/openapi.json")


OPERATIONS = list(operation_specs(load_document()))


def test_every_operation_is_on_the_page_with_three_samples(look):
    """Newcomer, section on /docs: code samples for each operation."""
    html = look("/docs").html
    ids = re.findall(r'<details class="operation" id="([a-z]+\.[A-Za-z]+)"', html)
    assert ids == [operation.operation_id for operation in OPERATIONS]
    for language in ("curl", "python", "typescript"):
        assert html.count(f'<pre class="{language}">') == len(OPERATIONS)


def test_refusals_are_listed_once_for_each_dialect(look):
    """Newcomer, section on /docs: 5,050 pixels of responses that every operation shares."""
    html = look("/docs").html
    anchors = re.findall(r'<h4 id="([a-z]+-[45][0-9]{2})"', html)
    assert len(anchors) == len(set(anchors)) > 80
    linked = re.findall(r'<a href="#([a-z]+-[45][0-9]{2})"', html)
    assert set(linked) == set(anchors)


def test_links_within_the_page_have_targets_and_ids_are_unique(look):
    html = look("/docs").html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_operation_that_ends_a_session_exists():
    """The page signs out with it."""
    assert LOG_OUT in {operation.operation_id for operation in OPERATIONS}


def test_trailing_slash_leads_to_the_docs(look):
    """Newcomer F20, HT-10: the target is not built from Host."""
    seen = look("/docs/")
    assert (seen.status, seen.headers["location"], seen.body) == (308, "/docs", b"")


def test_logo_of_the_operator_is_the_icon_and_can_run_nothing():
    """Newcomer F21, EM-20: an SVG that is opened on its own, too."""
    logo = Logo("/favicon.svg", "image/svg+xml", b"<svg/>")
    frame = PageFrame(Templates(brand=Brand("Acme", logo=logo)), public_origin=f"https://{HOST}")
    look = _look_at(_open(load_document(), frame=frame))
    seen = look("/favicon.svg")
    assert (seen.body, seen.headers["content-type"]) == (b"<svg/>", "image/svg+xml")
    assert seen.policy == {
        *("default-src 'none'", "style-src 'unsafe-inline'", "sandbox", "frame-ancestors 'none'")
    }
    assert seen.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/docs"):
        assert '<img src="/favicon.svg" alt=""><span>Acme</span>' in look(path).html
        assert HOST not in look(path).html.partition("<main")[0]


def test_script_of_the_pages_is_cached_by_its_content(look):
    """HT-15."""
    [path] = [path for path in FRAME.files if path.endswith(".js")]
    seen = look(path)
    assert path == f"/pages/{sha256(seen.body).hexdigest()[:16]}/password.js"
    assert seen.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert seen.policy == {"default-src 'none'", "frame-ancestors 'none'"}
    assert not re.search(rb"innerHTML|insertAdjacent|document\.write|eval|fetch", seen.body)


@pytest.mark.parametrize("path", ["/favicon.svg", "/favicon.ico"])
def test_icon_is_served(look, path):
    """Newcomer F20."""
    seen = look(path)
    assert seen.status == 200
    assert seen.headers["content-type"].startswith("image/")
    assert "public" in seen.headers["cache-control"]


def test_markup_in_a_description_is_escaped():
    document = copy.deepcopy(load_document())
    document["tags"][0]["description"] = "<script>alert(1)</script> [x](javascript:alert(1))"
    html = _look_at(_open(document))("/docs").html
    assert "<script>alert" not in html
    assert 'href="javascript:' not in html


def test_examples_of_the_reference_happen_today():
    """Contract F9: a copied sample has not expired, however long the process runs."""
    now = datetime(2026, 4, 5, 12, tzinfo=UTC)
    look = _look_at(_open(load_document(), clock=lambda: now))
    for _ in range(2):
        assert f"{now:%Y-%m-%d}T10:00:00Z" in look("/docs").html
        now += timedelta(days=730)
    assert "2026-0" not in look("/docs").html
