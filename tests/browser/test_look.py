"""The look of the pages behind mailed links and of mail, with the brand of an operator."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from oneself_conformance.http_client import json_request
from tests.browser.conftest import DEVICES, PASSWORD, User
from tests.browser.test_docs import MILLISECONDS, assert_accessible
from tests.browser.test_journeys import OVERFLOW
from tests.support.service import Service, started

NEW_PASSWORD = "Copper lantern 92 estuary"
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 32"><rect width="48" height="32"'
    ' rx="16" fill="#7a1f5c"/><circle cx="32" cy="16" r="10" fill="#fff"/></svg>'
)
#: A mail program has the landmarks of its own page.
_RULES_OF_MAIL = {name: {"enabled": False} for name in ("region", "landmark-one-main")}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(scope="module")
def branded(mail_server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a brand, and without rules on character classes."""
    folder = tmp_path_factory.mktemp("branded")
    logo = folder / "logo.svg"
    logo.write_text(LOGO)
    with started(
        folder,
        smtp_url=f"smtp+plain://127.0.0.1:{mail_server.port}",
        product_name="Orchard & Söhne",
        logo=str(logo),
        colour="#7a1f5c",
        support="help@orchard.example",
        app_url="https://app.orchard.example/",
        password_classes="false",
        password_min_length="12",
    ) as running:
        yield running
    assert '"level":"error"' not in running.log


@pytest.fixture
def context(browser: Browser, device: str) -> Iterator[BrowserContext]:
    """An empty browser profile that runs JavaScript."""
    context = browser.new_context(**DEVICES[device], locale="en-GB", accept_downloads=False)
    context.set_default_timeout(MILLISECONDS)
    yield context
    context.close()


def _open_reset(user: User) -> None:
    """Open the page that sets a new password."""
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    user.open_mail()
    [secret] = parse_qs(urlsplit(user.page.get_by_role("link").first.get_attribute("href")).query)[
        "secret"
    ]
    confirmed = user.ask("POST", "/api/v1/me/verify-email/confirm", {"secret": secret})
    assert confirmed.status == 200
    body = {"email": user.email}
    assert user.ask("POST", "/v1/auth/password/forgot", body).status == 202
    user.open_mail()
    user.screenshot("look-mail-reset")
    user.follow_link("Set a new password")


def _kept(page: Page) -> list[str]:
    return page.locator(".rules .kept").all_text_contents()


def test_password_can_be_shown_and_its_rules_are_marked(sign_up, service):
    """Newcomer, section on pages: no eye, no live ticks. NFC, as on the server."""
    user = sign_up(service)
    _open_reset(user)
    page = user.page
    assert _kept(page) == []
    field = page.get_by_label("New password", exact=True)
    field.press_sequentially("Ünïcödé")
    assert _kept(page) == ["An upper-case letter: fulfilled", "A lower-case letter: fulfilled"]
    field.fill("e\u0301" * 7 + "1")
    assert _kept(page) == [
        *("At least 8 characters: fulfilled", "A lower-case letter: fulfilled"),
        "A digit: fulfilled",
    ]
    field.fill("Password1")
    assert len(_kept(page)) == 4
    page.get_by_role("button", name="Show password").click()
    assert field.get_attribute("type") == "text"
    expect(field).to_be_focused()
    user.screenshot("look-reset-shown")
    assert_accessible(page)
    page.get_by_role("button", name="Hide password").click()
    assert field.get_attribute("type") == "password"
    user.press("Set new password")
    assert "is not common or easy to guess" in page.get_by_role("alert").inner_text()
    user.screenshot("look-reset-weak")
    assert_accessible(page)
    page.get_by_role("button", name="Show password").click()
    field.fill(NEW_PASSWORD)
    user.press("Set new password")
    assert user.heading == "Your new password is set"
    user.screenshot("look-reset-done")
    assert user.log_in(user.email, NEW_PASSWORD) == 200


@pytest.mark.nightly
def test_brand_is_on_pages_and_in_mail(sign_up, branded):
    """Newcomer F21, F22, F23."""
    user = sign_up(branded)
    page = user.page
    _open_reset(user)
    assert page.locator(".brand").inner_text() == "Orchard & Söhne"
    assert page.locator(".brand img").evaluate("image => image.naturalWidth") > 0
    assert page.locator(".brand").get_attribute("href") == "https://app.orchard.example/"
    expect(page.get_by_role("link", name="help@orchard.example")).to_be_visible()
    assert page.locator("[data-rule]").all_inner_texts() == ["At least 12 characters"]
    user.screenshot("look-brand-reset")
    assert_accessible(page)
    page.get_by_label("New password", exact=True).fill("plain lantern estuary")
    user.press("Set new password")
    expect(page.get_by_role("link", name="Go to Orchard & Söhne")).to_be_visible()
    user.screenshot("look-brand-done")
    assert_accessible(page)
    for path in ("/", "/docs", "/verify-email?secret=ots_0123", "/reset-password", "/nothing"):
        page.goto(f"{branded.url}{path}")
        assert page.locator(".brand").inner_text() == "Orchard & Söhne"
        user.screenshot(f"look-brand-{path.partition('?')[0].strip('/') or 'home'}")
        assert_accessible(page)


@pytest.mark.nightly
def test_alert_tells_time_address_and_device(sign_up, branded):
    """Newcomer F21."""
    user = sign_up(branded)
    headers = (("User-Agent", FIREFOX), ("Authorization", f"Bearer {user.session}"))
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    answer = user.service.ask(json_request("POST", "/resources/me/password", body, headers))
    assert answer.status < 300, answer
    assert user.open_mail() == "Your password was changed"
    words = user.page.locator("body").inner_text()
    for part in ("Time: ", "IP address: 127.0.0.1", "Device: Firefox, Linux", "Reset my password"):
        assert part in words
    user.screenshot("look-mail-alert")
    assert user.page.evaluate(OVERFLOW) == 0
    # axe-core takes the canvas for white, which is dark in the dark scheme.
    user.page.emulate_media(color_scheme="light")
    results = Axe().run(user.page, options={"rules": _RULES_OF_MAIL})
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.nightly
def test_every_page_is_accessible_in_both_schemes(sign_up, service, artefacts: Path, device: str):
    """The states of a link, in light and dark and from 320 to 1,920 pixels."""
    user = sign_up(service)
    page = user.page
    changed = user.ask("POST", "/resources/me/email/change", {"email": f"new.{user.email}"}).json()
    change = f"/change-email?identity={changed['identityId']}&secret={changed['secret']}"
    assert user.ask("POST", "/api/v1/me/verify-email").status == 200
    # Mail that a user waits for can overtake a notice.
    links = {urlsplit(link).path: link for link in (_link(user), _link(user))}
    undo, verify = links["/undo-email-change"], links["/verify-email"]
    pages: dict[str, Callable[[], object]] = {
        "change": lambda: page.goto(f"{service.url}{change}"),
        "undo": lambda: page.goto(undo),
        "verify": lambda: page.goto(verify),
        "verified": lambda: user.press("Verify my email address"),
        "used": lambda: page.goto(verify),
        "invalid": lambda: page.goto(f"{service.url}/verify-email?secret=x"),
        "request": lambda: page.goto(f"{service.url}/reset-password"),
        "undone": lambda: (page.goto(undo), user.press("Undo the change")),
    }
    for name, show in pages.items():
        show()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (320, 768, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                assert_accessible(page)
            page.set_viewport_size({"width": 390, "height": 800})
            page.screenshot(path=artefacts / f"look-{name}-{scheme}-{device}.png")


def _link(user: User) -> str:
    user.open_mail()
    link = user.page.get_by_role("link").first.get_attribute("href")
    assert link is not None
    return link
