"""Fixtures: the service, its mail server, and a user with a browser."""

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

from oneself_conformance.http_client import Answer, json_request
from tests.browser.mail_server import MailServer, open_mail_server
from tests.support.service import Service, started

PASSWORD = "Violet tangent 47 harbour"
#: The site where the user reads mail. It links to the pages of the service.
WEBMAIL = "https://webmail.example"
_NUMBERS = count(1)

#: A phone with a dark scheme and a desktop with a light one, so that both schemes are tested.
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
class User:
    """A user with an account, a mailbox and a browser without JavaScript."""

    service: Service
    mail_server: MailServer
    page: Page
    email: str
    session: str
    screenshot: Callable[[str], None]

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Call the API with the session of the user."""
        bearer = (("Authorization", f"Bearer {self.session}"),)
        return self.service.ask(json_request(method, path, body, bearer))

    def profile(self) -> dict[str, Any]:
        """Return the profile of the user."""
        answer = self.ask("GET", "/api/v1/me")
        assert answer.status == 200, answer
        profile: dict[str, Any] = answer.json()
        return profile

    def log_in(self, email: str, password: str) -> int:
        """Log in again, and return the status of the response."""
        body = {"email": email, "password": password}
        answer = self.service.ask(json_request("POST", "/v1/auth/login", body))
        if answer.status == 200:
            self.session = answer.json()["data"]["session_token"]
        return answer.status

    def open_mail(self, recipient: str | None = None) -> str:
        """Show the next mail in the browser, as webmail would.

        Return its subject without the name of the product.
        """
        mail = self.mail_server.next_for(recipient or self.email)
        html = mail.get_body(("html",))
        assert html is not None
        self.open_other_site(html.get_content())
        return str(mail["Subject"]).rpartition(" \N{EN DASH} ")[0]

    def open_other_site(self, html: str) -> None:
        """Show a page of another site."""
        self.page.unroute(f"{WEBMAIL}/")
        self.page.route(
            f"{WEBMAIL}/",
            lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"),
        )
        self.page.goto(f"{WEBMAIL}/")

    def follow_link(self, name: str | None = None) -> None:
        """Click the link of this name in the mail, else the first one."""
        links = self.page.get_by_role("link", name=name) if name else self.page.get_by_role("link")
        links.first.click()
        self.page.wait_for_url(f"{self.service.url}/**")

    def press(self, name: str) -> None:
        """Press a button, and wait for the next page."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()

    @property
    def heading(self) -> str:
        """The heading of the page."""
        return self.page.get_by_role("heading", level=1).inner_text()


@pytest.fixture(scope="session")
def mail_server() -> Iterator[MailServer]:
    with open_mail_server() as running:
        yield running


@pytest.fixture(scope="session")
def service(mail_server: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with default settings: clients mail the secret of an email change."""
    folder = tmp_path_factory.mktemp("client")
    with started(folder, smtp_url=f"smtp+plain://127.0.0.1:{mail_server.port}") as running:
        yield running
    assert '"status":5' not in running.log
    assert '"level":"error"' not in running.log


@pytest.fixture(scope="session")
def mailing_service(
    mail_server: MailServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service with the setting that it mails the secret of an email change itself."""
    folder, url = tmp_path_factory.mktemp("service"), f"smtp+plain://127.0.0.1:{mail_server.port}"
    with started(folder, smtp_url=url, email_change="service") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium that is installed on the machine.

    For one module and not for the session: while it is open, Playwright's event loop runs in this
    thread, where later tests may need their own.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("These tests need Chromium on the PATH: apt-get install chromium, or the like.")
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers lack, and only our own pages are opened.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots."""
    path = os.environ.get("ONESELF_ARTEFACTS")
    folder = Path(path) if path else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def context(browser: Browser, device: str) -> Iterator[BrowserContext]:
    """An empty browser profile that prefers English and runs no JavaScript."""
    context = browser.new_context(
        **DEVICES[device], locale="en-GB", java_script_enabled=False, accept_downloads=False
    )
    yield context
    context.close()


@pytest.fixture
def sign_up(
    context: BrowserContext, mail_server: MailServer, artefacts: Path, device: str
) -> Iterator[Callable[..., User]]:
    """Sign up at a service. At the end, assert that the browser made no requests to other hosts."""
    page = context.new_page()
    urls: list[str] = []
    console: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: console.append(message.text))
    hosts = {urlsplit(WEBMAIL).netloc}

    def screenshot(name: str) -> None:
        page.screenshot(path=artefacts / f"{name}-{device}.png", full_page=True)

    def sign_up(service: Service) -> User:
        hosts.add(urlsplit(service.url).netloc)
        email = f"user{next(_NUMBERS)}@example.com"
        body = {
            "email": email,
            "password": PASSWORD,
            "display_name": "A User",
            "tenant_name": "Journeys",
        }
        answer = service.ask(json_request("POST", "/v1/auth/signup", body))
        assert answer.status == 201, answer
        session = answer.json()["data"]["session_token"]
        return User(service, mail_server, page, email, session, screenshot)

    yield sign_up
    assert {urlsplit(url).netloc for url in urls if url.startswith("http")} <= hosts
    # A style, form or file that the Content-Security-Policy blocks is reported on the console. A
    # blocked frame is expected: one test tries it.
    violations = [text for text in console if "Content Security Policy" in text]
    assert [text for text in violations if not text.startswith("Framing")] == []
