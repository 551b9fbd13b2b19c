"""The service, its mail server, and a browser in the hands of whoever opens the mail."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from oneself.conformance.http_client import Answer, json_request
from tests.browser.post_office import PostOffice, open_post_office
from tests.support.service import Service, started

PASSWORD = "Violet tangent 47 harbour"
#: Where mail is read: a site of others', which links to ours.
WEBMAIL = "https://webmail.example"
_NUMBERS = count(1)

#: A phone in the dark and a desktop by day, so that each page is looked at in both ways.
DEVICES: dict[str, dict[str, Any]] = {
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
        "color_scheme": "dark",
    },
    "desktop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
}


@dataclass
class Traveller:
    """A person with an account, a mailbox and a browser without scripts."""

    service: Service
    post: PostOffice
    page: Page
    email: str
    session: str
    shoot: Callable[[str], None]

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Ask the API, logged in."""
        bearer = (("Authorization", f"Bearer {self.session}"),)
        return self.service.ask(json_request(method, path, body, bearer))

    def profile(self) -> dict[str, Any]:
        """What the API has of them."""
        answer = self.ask("GET", "/api/v1/me")
        assert answer.status == 200, answer
        profile: dict[str, Any] = answer.json()
        return profile

    def log_in(self, email: str, password: str) -> int:
        """Log in anew; the status of the answer."""
        body = {"email": email, "password": password}
        answer = self.service.ask(json_request("POST", "/v1/auth/login", body))
        if answer.status == 200:
            self.session = answer.json()["data"]["session_token"]
        return answer.status

    def open_mail(self, reader: str | None = None) -> str:
        """Show the next mail in the browser, as a web mailer would; its subject."""
        mail = self.post.next_for(reader or self.email)
        html = mail.get_body(("html",))
        assert html is not None
        self.visit_elsewhere(html.get_content())
        return str(mail["Subject"])

    def visit_elsewhere(self, html: str) -> None:
        """Show a page of another site's."""
        self.page.unroute(f"{WEBMAIL}/")
        self.page.route(
            f"{WEBMAIL}/",
            lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"),
        )
        self.page.goto(f"{WEBMAIL}/")

    def follow_link(self) -> None:
        """Click on the one link of the mail."""
        self.page.get_by_role("link").click()
        self.page.wait_for_url(f"{self.service.url}/**")

    def press(self, name: str) -> None:
        """Press a button, and wait for the page that comes."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()

    @property
    def heading(self) -> str:
        """What the page says first."""
        return self.page.get_by_role("heading", level=1).inner_text()


@pytest.fixture(scope="session")
def post() -> Iterator[PostOffice]:
    with open_post_office() as office:
        yield office


@pytest.fixture(scope="session")
def service(post: PostOffice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it is by default: clients mail the secret of a change themselves."""
    folder = tmp_path_factory.mktemp("client")
    with started(folder, smtp_url=f"smtp+plain://127.0.0.1:{post.port}") as running:
        yield running
    assert '"status":5' not in running.log
    assert '"level":"error"' not in running.log


@pytest.fixture(scope="session")
def mailing_service(
    post: PostOffice, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service of an operator who lets it mail the secret of a change."""
    folder, url = tmp_path_factory.mktemp("service"), f"smtp+plain://127.0.0.1:{post.port}"
    with started(folder, smtp_url=url, email_change="service") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium.

    For one module and not for all: as long as it is there Playwright's event loop runs in this
    thread, where the tests that come after may want one of their own.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail(
            "These tests need Chromium: apt-get install chromium, or its like, on the PATH."
        )
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container does not give; it only opens pages of ours.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are put."""
    named = os.environ.get("ONESELF_ARTEFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def context(browser: Browser, device: str) -> Iterator[BrowserContext]:
    """A browser with nothing in it, that speaks English and runs no script."""
    context = browser.new_context(
        **DEVICES[device], locale="en-GB", java_script_enabled=False, accept_downloads=False
    )
    yield context
    context.close()


@pytest.fixture
def traveller_to(
    context: BrowserContext, post: PostOffice, artefacts: Path, device: str
) -> Iterator[Callable[..., Traveller]]:
    """Opens an account at a service; at the end the browser has asked nobody else for anything."""
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    ours = {urlsplit(WEBMAIL).netloc}

    def shoot(name: str) -> None:
        page.screenshot(path=artefacts / f"{name}-{device}.png", full_page=True)

    def traveller_to(service: Service) -> Traveller:
        ours.add(urlsplit(service.url).netloc)
        email = f"traveller{next(_NUMBERS)}@example.com"
        body = {
            "email": email,
            "password": PASSWORD,
            "display_name": "A Traveller",
            "tenant_name": "Journeys",
        }
        answer = service.ask(json_request("POST", "/v1/auth/signup", body))
        assert answer.status == 201, answer
        session = answer.json()["data"]["session_token"]
        return Traveller(service, post, page, email, session, shoot)

    yield traveller_to
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} <= ours
    # A broken policy would be said here: of a style, a form, or something that was loaded. That
    # nothing shows our pages within its own is the policy at work.
    broken = [each for each in said if "Content Security Policy" in each]
    assert [each for each in broken if not each.startswith("Framing")] == []
