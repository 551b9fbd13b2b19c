"""Every page that the service serves, judged by axe-core.

No list of pages is written here: the addresses are those of the document and of the web routes, and
each template is shown in every state that its own conditions distinguish.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, UndefinedError, meta
from playwright.sync_api import Browser, Page

from oneself.document import load_document
from oneself.templating import Templates
from oneself.web.page_forms import PAGES, BrokenRule
from tests.browser.conftest import DEVICES
from tests.browser.test_docs import assert_accessible
from tests.support.deadlines import patient

pytestmark = pytest.mark.nightly

FOLDER = Path(__file__).parents[2] / "templates" / "pages"
SOURCES = {
    path.name: path.read_text()
    for path in sorted(FOLDER.glob("*.html.j2"))
    if path.read_text().startswith("{% extends")
}
LAYOUT = (FOLDER / "layout.html.j2").read_text()
#: Values of another type than text.
VALUES: Mapping[str, tuple[Any, ...]] = {
    "broken": ((), (BrokenRule("must have at least # characters", "8"),)),
    "dialects": ([{"name": "ipto", "title": "ipto", "method": "GET", "path": "/v1/me"}],),
    "language": ("en",),
    "min_length": (8,),
    "minutes": (1, 2),
    "notices": ((), ("Passwords cannot be changed today.",)),
    "opened_at": (datetime(2026, 4, 5, tzinfo=UTC),),
}


@pytest.fixture
def page(browser: Browser, device: str) -> Iterator[Page]:
    context = browser.new_context(**DEVICES[device], locale="en-GB")
    context.set_default_timeout(patient(30) * 1000)
    yield context.new_page()
    context.close()


def addresses() -> Iterator[str]:
    """Yield the addresses of pages, and those at which a browser gets an error page."""
    yield from ("/", "/docs", *PAGES, "/no-such-page")
    for path, item in load_document()["paths"].items():
        if "get" not in item and "{" not in path:
            yield path


def states(source: str) -> Iterator[dict[str, Any]]:
    """Yield values for a template: with all texts empty, with all set, and each compared one."""
    jinja = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    both = [meta.find_undeclared_variables(jinja.parse(text)) for text in (LAYOUT, source)]
    names = set[str]().union(*both) - {"self", "_", "gettext", "ngettext"}
    # Of `reason == "x"`, and of the keys of `{"x": …}[reason]`.
    words = (*re.findall(r'"([a-z_]+)"', source), "other")
    codes = (*(int(each) for each in re.findall(r"\b[45]\d\d\b", source)), 400)
    compared = {"reason": words, "page": words, "status": codes}
    for text in ("", "An example"):
        choices = {name: compared.get(name) or VALUES.get(name) or (text,) for name in names}
        for values in product(*choices.values()):
            yield dict(zip(choices, values, strict=True))


def test_page_at_each_address_is_accessible(page, service):
    for path in addresses():
        response = page.goto(f"{service.url}{path}")
        assert response is not None
        assert response.headers["content-type"] == "text/html; charset=utf-8", path
        assert_accessible(page)


@pytest.mark.parametrize("name", SOURCES)
def test_template_is_accessible_in_each_state(page, name):
    templates, seen = Templates(), set()
    for values in states(SOURCES[name]):
        try:
            html = templates.render(f"pages/{name}", values.pop("language", "en"), **values)
        except UndefinedError:  # not a reason of this page
            continue
        if html not in seen:
            seen.add(html)
            page.set_content(html)
            assert_accessible(page)
    assert seen
