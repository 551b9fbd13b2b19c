"""The page at `/`, and the document at `/docs`, as people see them and try them out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from oneself.document import load_document, operation_specs
from tests.browser.conftest import DEVICES
from tests.browser.test_journeys import CONTRASTS, OVERFLOW

TAGS = [tag["name"] for tag in load_document()["tags"]]
OPERATIONS = list(operation_specs(load_document()))
#: A change of the system's colours is told before the next frame.
SETTLED = """
async () => {
  await new Promise(requestAnimationFrame);
  await Promise.allSettled(document.getAnimations().map((each) => each.finished));
}
"""


@pytest.fixture
def page(browser: Browser, device: str, service) -> Iterator[Page]:
    """A browser with scripts; at the end it has asked nobody but the service."""
    context = browser.new_context(**DEVICES[device], locale="en-GB", accept_downloads=False)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    hosts = {urlsplit(url).netloc for url in asked if url.startswith("http")}
    assert hosts == {urlsplit(service.url).netloc}
    assert [each for each in said if "Content Security Policy" in each or "Error" in each] == []


@pytest.fixture
def shoot(page: Page, device: str, artefacts: Path) -> Callable[[str], None]:
    return lambda name: page.screenshot(path=artefacts / f"{name}-{device}.png")


def open_docs(page: Page, service, anchor: str = "") -> None:
    page.goto(f"{service.url}/docs{anchor}")
    page.locator(".opblock").first.wait_for()


def find_operation(page: Page, method: str, path: str) -> Locator:
    """The block of an operation, unfolded."""
    block = page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    return block


def wait_for_brightness(page: Page, selector: str, *, dark: bool) -> None:
    """Until a background is dark, or is not: a page follows the scheme in a moment of its own."""
    page.wait_for_function(
        """([selector, dark]) => {
            const color = getComputedStyle(document.querySelector(selector)).backgroundColor;
            const [red, green, blue] = color.match(/[0-9]+/g).map(Number);
            return (red + green + blue < 0.3 * 765) === dark;
        }""",
        arg=[selector, dark],
    )


def test_every_operation_is_drawn_below_its_dialect(page, service, shoot):
    open_docs(page, service)
    shoot("docs")
    assert page.locator(".opblock-tag").evaluate_all("all => all.map(e => e.dataset.tag)") == TAGS
    for tag in TAGS:
        section = page.locator(".opblock-tag-section").filter(
            has=page.locator(f'.opblock-tag[data-tag="{tag}"]')
        )
        drawn = section.locator("[data-path]").evaluate_all("all => all.map(e => e.dataset.path)")
        assert drawn == [each.path for each in OPERATIONS if each.dialect == tag]


def test_it_follows_day_and_night_and_is_never_wider_than_the_screen(page, service, shoot):
    open_docs(page, service, "#/hantera/hantera.createPat")
    block = find_operation(page, "post", "/resources/me/pat")
    expect(block.locator(".responses-table").first).to_be_visible()
    block.scroll_into_view_if_needed()
    shoot("docs-operation")
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for selector in ("body", ".opblock textarea"):
            wait_for_brightness(page, selector, dark=scheme == "dark")
    assert page.evaluate(OVERFLOW) == 0
    reset = block.locator(".try-out").bounding_box()
    assert reset is not None
    assert reset["x"] + reset["width"] <= page.viewport_size["width"]


def test_all_of_it_can_be_read_by_day_and_by_night(page, service):
    """With an operation of each method unfolded, one of them answered, and the dialog for all."""
    open_docs(page, service)
    for method, path in [
        ("get", "/v1/me"),
        ("put", "/resources/me/settings"),
        ("patch", "/api/v1/me"),
        ("delete", "/v1/me/sessions"),
        ("post", "/v1/auth/login"),
    ]:
        block = find_operation(page, method, path)
        expect(block.locator(".responses-table").first).to_be_visible()
    block.locator(".execute").click()
    expect(block.locator(".live-responses-table")).to_be_visible()
    page.locator(".btn.authorize").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        # Some of it goes from one colour to the other in a third of a second.
        page.evaluate(SETTLED)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 100
        assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}


def test_the_dialog_for_credentials_begins_with_the_first(page, service):
    """And not at the end, where its own cursor is."""
    open_docs(page, service)
    page.locator(".btn.authorize").click()
    first = page.locator(".modal-ux .auth-container").first
    expect(first).to_be_in_viewport(ratio=1)
    expect(first.locator("input")).to_be_focused()


def test_whoever_logs_in_there_can_try_out_the_rest(page, service, shoot):
    alice = service.people["base"]
    open_docs(page, service)
    login = find_operation(page, "post", "/v1/auth/login")
    login.locator("textarea").fill('{"email": "nobody@example.com", "password": "s3cur3P@ssw0rd!"}')
    with page.expect_response("**/v1/auth/login") as answered:
        login.locator(".execute").click()
    assert answered.value.status == 401
    expect(login.locator(".live-responses-table")).to_contain_text("invalid_credentials")
    shoot("docs-refused")

    page.locator(".btn.authorize").click()
    dialog = page.locator(".modal-ux")
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    session = dialog.locator(".auth-container").filter(has_text="session (http, Bearer)")
    session.locator("input").fill(alice["session_token"])
    session.get_by_role("button", name="Apply credentials").click()
    shoot("docs-credentials")
    dialog.locator(".close-modal").click()

    me = find_operation(page, "get", "/v1/me")
    with page.expect_response("**/v1/me") as answered:
        me.locator(".execute").click()
    assert answered.value.status == 200
    assert answered.value.request.headers["authorization"] == f"Bearer {alice['session_token']}"
    expect(me.locator(".live-responses-table")).to_contain_text(alice["email"])
    shoot("docs-tried")


def test_the_first_page_can_be_read_and_leads_on(page, service, device, shoot):
    page.goto(f"{service.url}/")
    shoot("home")
    wait_for_brightness(page, "main", dark=DEVICES[device]["color_scheme"] == "dark")
    assert page.evaluate(OVERFLOW) == 0
    assert [text for text, ratio in page.evaluate(CONTRASTS).items() if ratio < 4.5] == []
    addresses = page.get_by_role("link").evaluate_all("all => all.map(each => each.href)")
    assert len(addresses) == 10
    for address in addresses:
        assert page.request.get(address).status == 200
    page.get_by_role("link", name="Read it and try it out").click()
    page.locator(".opblock").first.wait_for()
    page.go_back()
    page.get_by_role("link", name="scaikey").click()
    expect(page.locator('.opblock-tag[data-tag="scaikey"]')).to_be_in_viewport()
