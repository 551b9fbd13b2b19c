"""The start page, the API reference with "Try it", and the pages for errors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from oneself.document import load_document, operation_specs
from tests.browser.conftest import DEVICES, PASSWORD
from tests.browser.test_journeys import OVERFLOW
from tests.support.deadlines import patient

TAGS = [tag["name"] for tag in load_document()["tags"]]
OPERATIONS = list(operation_specs(load_document()))
#: A hash takes seconds on a busy machine.
MILLISECONDS = patient(30) * 1000


@pytest.fixture
def page(browser: Browser, device: str, service) -> Iterator[Page]:
    """A page with JavaScript. At the end, assert that it made requests to the service only."""
    context = browser.new_context(**DEVICES[device], locale="en-GB", accept_downloads=False)
    context.set_default_timeout(MILLISECONDS)
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


def assert_accessible(page: Page) -> None:
    """Assert that axe-core finds nothing, and that nothing is wider than the screen."""
    results = Axe().run(page, options={"resultTypes": ["violations"]})
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate(OVERFLOW) == 0


def operation(page: Page, operation_id: str) -> Locator:
    """Open an operation by its address, and return its form."""
    page.evaluate("id => { location.hash = id; }", operation_id)
    form = page.locator(f'.try[data-operation="{operation_id}"]')
    expect(form).to_be_visible()
    return form


def send(form: Locator, status: int) -> None:
    form.get_by_role("button", name="Send request").click()
    expect(form.locator(".status")).to_contain_text(f"{status}", timeout=MILLISECONDS)


def test_operations_are_listed_by_dialect_and_found_by_path_and_summary(page, service, screenshot):
    page.goto(f"{service.url}/docs")
    screenshot("docs")
    assert_accessible(page)
    assert page.locator(".dialect > h2").evaluate_all("all => all.map(e => e.id)") == TAGS
    search, found = page.get_by_label("Search operations"), page.locator(".operation:visible h3")
    for query, number in (("sessions", 3), ("POST pat", 3), ("sign up", 1), ("nothing", 0)):
        search.fill(query)
        expected = [
            each
            for each in OPERATIONS
            if all(
                word in f"{each.operation_id} {each.method} {each.path} {summary(each)}".lower()
                for word in query.lower().split()
            )
        ]
        assert len(expected) >= min(number, 1)
        expect(page.locator("#matches")).to_contain_text(f"{len(expected)} operation")
        expect(found).to_have_count(len(expected))
    search.fill("sessions")
    screenshot("docs-search")
    assert_accessible(page)


def summary(each) -> str:
    described = load_document()["paths"][each.path][each.method]
    return str(described["summary"])


def test_session_of_a_signup_is_used_until_signing_out(page, service, screenshot, device):
    """Newcomer, section on /docs: the session had to be copied by hand."""
    page.goto(f"{service.url}/docs#ipto.signUp")
    form = page.locator('.try[data-operation="ipto.signUp"]')
    screenshot("docs-operation")
    assert_accessible(page)
    body = form.get_by_label("Body")
    email = f"reference-{device}@example.com"
    body.fill(
        f'{{"email": "{email}", "password": "{PASSWORD}", "display_name": "A", "tenant_name": "B"}}'
    )
    send(form, 201)
    expect(page.locator(".user .name")).to_have_text(email)
    page.reload()
    send(operation(page, "ipto.getCurrentUser"), 200)
    screenshot("docs-tried")
    assert_accessible(page)
    assert page.evaluate("localStorage.length") == 0
    with page.expect_response("**/v1/auth/logout") as response:
        page.get_by_role("button", name="Sign out").click()
    assert response.value.status == 200
    assert page.evaluate("sessionStorage.length") == 0
    send(operation(page, "ipto.getCurrentUser"), 401)


def test_credentials_can_be_entered(page, service, screenshot):
    alice = service.actors["base"]
    page.goto(f"{service.url}/docs")
    page.get_by_role("button", name="Add a credential").click()
    page.get_by_label("Token", exact=True).fill(alice["session_token"])
    screenshot("docs-credentials")
    assert_accessible(page)
    page.get_by_role("button", name="Use these").click()
    send(operation(page, "scaikey.updateProfile"), 200)


@pytest.mark.nightly
def test_every_part_is_accessible_in_both_color_schemes(page, service):
    page.goto(f"{service.url}/docs")
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)


def test_docs_fit_a_screen_of_320_pixels(page, service):
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{service.url}/docs")
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    assert page.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("language", ["en-GB", "de-DE"])
def test_error_catalogue_is_accessible_and_shows_the_code_of_its_address(
    browser, device, service, artefacts, language
):
    """Contract section 6.6: in both colour schemes, without a script."""
    context = browser.new_context(**DEVICES[device], locale=language, java_script_enabled=True)
    context.set_default_timeout(MILLISECONDS)
    page = context.new_page()
    page.goto(f"{service.url}/errors#invalid_token")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)
    expect(page.locator("#invalid_token")).to_be_in_viewport()
    page.screenshot(path=artefacts / f"errors-{language[:2]}-{device}.png")
    context.close()


def test_start_page_is_accessible_and_its_links_work(page, service, screenshot):
    page.goto(f"{service.url}/")
    screenshot("home")
    assert_accessible(page)
    urls = page.get_by_role("link").evaluate_all("all => all.map(each => each.href)")
    assert len(urls) == 10
    for url in urls:
        assert page.request.get(url).status == 200
    page.get_by_role("link", name="scaikey").click()
    expect(page.locator("#scaikey")).to_be_in_viewport(timeout=MILLISECONDS)


@pytest.mark.parametrize(("path", "status"), [("/login", 404), ("/v1/auth/login", 405)])
def test_error_is_an_accessible_page(page, service, screenshot, path, status):
    """Newcomer F20."""
    response = page.goto(f"{service.url}{path}")
    assert response is not None
    assert response.status == status
    expect(page.get_by_role("link", name="Go to the start page")).to_be_visible()
    screenshot(f"error-{status}")
    assert_accessible(page)
