"""The start page, and the API documentation with "Try it out"."""

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
#: The page hears of a new color scheme before the next frame; then transitions run.
SETTLED = """
async () => {
  await new Promise(requestAnimationFrame);
  await Promise.allSettled(document.getAnimations().map((each) => each.finished));
}
"""


@pytest.fixture
def page(browser: Browser, device: str, service) -> Iterator[Page]:
    """A page with JavaScript. At the end, assert that it made requests to the service only."""
    context = browser.new_context(**DEVICES[device], locale="en-GB", accept_downloads=False)
    page = context.new_page()
    urls: list[str] = []
    console: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    yield page
    context.close()
    hosts = {urlsplit(url).netloc for url in urls if url.startswith("http")}
    assert hosts == {urlsplit(service.url).netloc}
    assert [text for text in console if "Content Security Policy" in text or "Error" in text] == []


@pytest.fixture
def screenshot(page: Page, device: str, artefacts: Path) -> Callable[[str], None]:
    return lambda name: page.screenshot(path=artefacts / f"{name}-{device}.png")


def open_docs(page: Page, service, anchor: str = "") -> None:
    page.goto(f"{service.url}/docs{anchor}")
    page.locator(".opblock").first.wait_for()


def find_operation(page: Page, method: str, path: str) -> Locator:
    """Return the expanded block of an operation."""
    block = page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    return block


def wait_for_brightness(page: Page, selector: str, *, dark: bool) -> None:
    """Wait until a background is dark or light: a page follows the color scheme with a delay."""
    page.wait_for_function(
        """([selector, dark]) => {
            const color = getComputedStyle(document.querySelector(selector)).backgroundColor;
            const [red, green, blue] = color.match(/[0-9]+/g).map(Number);
            return (red + green + blue < 0.3 * 765) === dark;
        }""",
        arg=[selector, dark],
    )


def test_every_operation_is_shown_below_its_dialect(page, service, screenshot):
    open_docs(page, service)
    screenshot("docs")
    assert page.locator(".opblock-tag").evaluate_all("all => all.map(e => e.dataset.tag)") == TAGS
    for tag in TAGS:
        section = page.locator(".opblock-tag-section").filter(
            has=page.locator(f'.opblock-tag[data-tag="{tag}"]')
        )
        paths = section.locator("[data-path]").evaluate_all("all => all.map(e => e.dataset.path)")
        assert paths == [each.path for each in OPERATIONS if each.dialect == tag]


def test_docs_follow_the_color_scheme_and_fit_the_screen(page, service, screenshot):
    open_docs(page, service, "#/hantera/hantera.createPat")
    block = find_operation(page, "post", "/resources/me/pat")
    expect(block.locator(".responses-table").first).to_be_visible()
    block.scroll_into_view_if_needed()
    screenshot("docs-operation")
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for selector in ("body", ".opblock textarea"):
            wait_for_brightness(page, selector, dark=scheme == "dark")
    assert page.evaluate(OVERFLOW) == 0
    reset = block.locator(".try-out").bounding_box()
    assert reset is not None
    assert reset["x"] + reset["width"] <= page.viewport_size["width"]


def test_docs_are_readable_in_both_color_schemes(page, service):
    """With an expanded operation of each method, one response, and the dialog for credentials."""
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
        # Some colors change in a transition of a third of a second.
        page.evaluate(SETTLED)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 100
        assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}


def test_dialog_for_credentials_opens_at_its_first_field(page, service):
    """Swagger UI itself focuses the last one."""
    open_docs(page, service)
    page.locator(".btn.authorize").click()
    first = page.locator(".modal-ux .auth-container").first
    expect(first).to_be_in_viewport(ratio=1)
    expect(first.locator("input")).to_be_focused()


def test_operations_can_be_tried_out_after_logging_in(page, service, screenshot):
    alice = service.actors["base"]
    open_docs(page, service)
    login = find_operation(page, "post", "/v1/auth/login")
    login.locator("textarea").fill(
        '{"email": "unknown@example.com", "password": "s3cur3P@ssw0rd!"}'
    )
    with page.expect_response("**/v1/auth/login") as response:
        login.locator(".execute").click()
    assert response.value.status == 401
    expect(login.locator(".live-responses-table")).to_contain_text("invalid_credentials")
    screenshot("docs-refused")

    page.locator(".btn.authorize").click()
    dialog = page.locator(".modal-ux")
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    session = dialog.locator(".auth-container").filter(has_text="session (http, Bearer)")
    session.locator("input").fill(alice["session_token"])
    session.get_by_role("button", name="Apply credentials").click()
    screenshot("docs-credentials")
    dialog.locator(".close-modal").click()

    me = find_operation(page, "get", "/v1/me")
    with page.expect_response("**/v1/me") as response:
        me.locator(".execute").click()
    assert response.value.status == 200
    assert response.value.request.headers["authorization"] == f"Bearer {alice['session_token']}"
    expect(me.locator(".live-responses-table")).to_contain_text(alice["email"])
    screenshot("docs-tried")


def test_start_page_is_readable_and_its_links_work(page, service, device, screenshot):
    page.goto(f"{service.url}/")
    screenshot("home")
    wait_for_brightness(page, "main", dark=DEVICES[device]["color_scheme"] == "dark")
    assert page.evaluate(OVERFLOW) == 0
    assert [text for text, ratio in page.evaluate(CONTRASTS).items() if ratio < 4.5] == []
    urls = page.get_by_role("link").evaluate_all("all => all.map(each => each.href)")
    assert len(urls) == 10
    for url in urls:
        assert page.request.get(url).status == 200
    page.get_by_role("link", name="Explore the API").click()
    page.locator(".opblock").first.wait_for()
    page.go_back()
    page.get_by_role("link", name="scaikey").click()
    expect(page.locator('.opblock-tag[data-tag="scaikey"]')).to_be_in_viewport()
