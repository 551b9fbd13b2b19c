"""The pages that a mailed link opens, asked in process."""

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from accounts import tokens
from accounts.addresses import parse_address
from accounts.email_verification import request_email_verification
from accounts.login_sessions import log_in
from accounts.one_time_secrets import SecretPurpose, issue_secret, read_secret, supersede_secrets
from accounts.outbox import open_parameters
from accounts.rules import Budget
from models import OutboxMessage
from oneself.dialects import Dialects
from oneself.guard import Guard
from oneself.logs import JsonFormatter
from oneself.page_forms import PAGES
from oneself.pages import Pages
from oneself.templates import LANGUAGES, Templates
from oneself.workloads import Pool
from tests.support.asking import FORM

HOST = "accounts.example.com"
NEW = "Copper lantern 92 estuary"
PURPOSES = {
    "/verify-email": SecretPurpose.EMAIL_VERIFICATION,
    "/change-email": SecretPurpose.EMAIL_CHANGE,
    "/undo-email-change": SecretPurpose.EMAIL_UNDO,
    "/reset-password": SecretPurpose.PASSWORD_RESET,
}
FOLDER = Path(__file__).parents[3] / "templates" / "pages"
_VOID = {"input", "meta", "wbr"}

every_page = pytest.mark.parametrize("path", PURPOSES)
every_language = pytest.mark.parametrize("language", LANGUAGES)


class Reader(HTMLParser):
    """Reads a page as strictly as XML would be, and notes what a reader program needs of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute stands twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.texts[tag] = self.texts.get(tag, "") + data

    def every(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def hidden(self) -> dict[str | None, str | None]:
        """What its form sends without anybody entering it."""
        found = self.every("input")
        return {each["name"]: each["value"] for each in found if each["type"] == "hidden"}


@dataclass(frozen=True)
class Seen:
    """An answer, read."""

    status: int
    headers: dict[str, str]
    html: str

    @property
    def page(self) -> Reader:
        return Reader(self.html)

    @property
    def words(self) -> str:
        """What there is to read, in one line."""
        return " ".join(self.page.texts["main"].split())

    @property
    def heading(self) -> str:
        return self.page.texts["h1"]


@dataclass
class Visitor:
    """A browser, of which only the headers are one's."""

    app: Any
    reached: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        host: str = "localhost",
        receive: Any = None,
        **headers: str,
    ) -> Seen:
        sent: list[dict[str, Any]] = []

        async def whole() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", host.encode())]
            + [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("192.0.2.7", 50_000),
        }
        asyncio.run(self.app(scope, receive or whole, send))
        start, end = sent
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        return Seen(start["status"], answered, end["body"].decode())

    def get(self, path: str, headers: dict[str, str] | None = None, **query: str) -> Seen:
        return self.ask("GET", path, query=urlencode(query), **(headers or {}))

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Seen:
        sent = {"content-type": FORM, **(headers or {})}
        return self.ask("POST", path, body=urlencode(form).encode(), **sent)


@pytest.fixture
def visit_of() -> Iterator[Callable[..., Visitor]]:
    """Builds the pages over the database of a house, inside of the guard."""
    opened: list[Pool] = []

    def visit_of(house: Any, *, queue: int = 8) -> Visitor:
        pools = {name: Pool(name, threads=1, queue=queue) for name in ("database", "password")}
        opened.extend(pools.values())

        async def beyond(scope: Any, _receive: Any, send: Any) -> None:
            visitor.reached.append(scope.get("path", scope["type"]))
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})

        pages = Pages(
            beyond,
            database=house.database,
            pools=pools,
            templates=Templates(),
            public_origin=f"https://{HOST}",
            min_length=house.rules.password_min_length,
            proxies=(),
            body_seconds=0.05,
        )
        visitor = Visitor(
            Guard(
                pages,
                dialects=Dialects({"paths": {}}),
                hosts=frozenset({HOST, "localhost"}),
                clock=house.clock,
            )
        )
        return visitor

    yield visit_of
    for pool in opened:
        pool.close()


@pytest.fixture
def visit(house: Any, visit_of: Callable[..., Visitor]) -> Visitor:
    return visit_of(house)


@pytest.fixture
def link(house: Any, alice: Any) -> Callable[[str], dict[str, str]]:
    """Makes what a link to a page has after its question mark, for Alice, who is verified."""
    house.execute('UPDATE "user" SET verified_email = email, verified_email_canonical = email')

    def link(path: str) -> dict[str, str]:
        address = "new@example.net" if path == "/change-email" else "alice@example.com"
        secret = house.act(issue_secret, PURPOSES[path], alice.user_id, parse_address(address))
        named = {"identity": alice.person.identity_id} if path == "/change-email" else {}
        return {"secret": secret, **named}

    return link


def _form(path: str, link: dict[str, str]) -> dict[str, str]:
    return link | ({"new_password": NEW} if path == "/reset-password" else {})


def _assert_readable(seen: Seen, language: str) -> None:
    """What a program that reads aloud needs, and nothing that loads or runs anything."""
    page = seen.page
    [html] = page.every("html")
    assert html["lang"] == seen.headers["content-language"] == language
    assert seen.html.startswith("<!doctype html>")
    assert page.texts["title"].endswith(f"{seen.heading} – {HOST}")
    assert len(page.every("h1")) == len(page.every("main")) == len(page.every("title")) == 1
    identifiers = [each["id"] for _, each in page.elements if "id" in each]
    assert len(set(identifiers)) == len(identifiers)
    labelled = [each["for"] for each in page.every("label")]
    entered = [
        each for each in page.every("input") if each["type"] != "hidden" and "hidden" not in each
    ]
    assert labelled == [each["id"] for each in entered]
    for each in entered:
        assert set((each.get("aria-describedby") or "").split()) <= set(identifiers)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe", "object"}
    assert not any(
        name.startswith("on") or name == "style" for _, each in page.elements for name in each
    )
    for each in page.every("form"):
        assert (each["method"], each["action"] in PURPOSES) == ("post", True)
    assert all(each["href"] == "/reset-password" for each in page.every("a"))


def _all_states(
    visit: Visitor, house: Any, alice: Any, link: Any
) -> Iterator[tuple[str, int, Seen]]:
    """Each page in each state that a person can bring it to."""
    for path, purpose in PURPOSES.items():
        good = link(path)
        yield f"{path} shown", 200, visit.get(path, **good)
        yield f"{path} done", 200, visit.post(path, **_form(path, good))
        yield f"{path} used", 400, visit.get(path, **good)
        yield f"{path} used again", 400, visit.post(path, **_form(path, good))
        yield (
            f"{path} wrong",
            400,
            visit.get(path, **link(path), **{})
            if False
            else visit.get(path, **{**good, "secret": tokens.mint("ots_")}),
        )
        old = link(path)
        house.act(supersede_secrets, purpose, alice.user_id)
        yield f"{path} superseded", 400, visit.get(path, **old)
        late = link(path)
        house.clock.move(days=8)
        yield f"{path} expired", 400, visit.get(path, **late)
        yield f"{path} expired, sent", 400, visit.post(path, **_form(path, late))
