"""The HTML report of the conformance tests, on a phone and on a desktop, light and dark."""

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from oneself_conformance.cases.runner import outcome_of
from oneself_conformance.levels import Level
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.html import write_html
from oneself_conformance.reports.run import RunReport
from oneself_conformance.suite import Step, Suite
from oneself_conformance.targets import Deployment
from tests.browser.test_docs import assert_accessible

_TALLEST = 5_000


def write_report(path: Path, *, failing: bool = False) -> None:
    """Write the report of a run of all rows at our own service."""
    run = Suite(Deployment("https://account.test.example.com", {}), Path(), suites=("rows",))
    report = RunReport(run)
    outcomes = [_outcome(number, row, failing) for number, row in enumerate(run.selected_rows())]
    report.add(Step("rows", "all", 1, 1, tuple(outcomes)))
    write_html(report, path)


def _outcome(number: int, row, failing: bool) -> Outcome:  # noqa: FBT001
    verdict, reasons = Verdict.PASSED, ()
    if "service" in row.raw:
        verdict, reasons = Verdict.SKIPPED, ("it needs a deployment with other settings",)
    elif failing and number % 9 == 0:
        verdict, reasons = Verdict.FAILED, (f"status: {500 + number} is not 200",)
    levels = {each.title: verdict for each in {row.level, Level.HOUSE}}
    return replace(outcome_of(row, verdict, *reasons), levels=levels, answer="500 " + "a" * 200)


@pytest.mark.parametrize("failing", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("width", [320, pytest.param(1200, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.nightly)])
def test_report_fits_each_screen(
    browser: Browser, tmp_path: Path, width: int, scheme: str, *, failing: bool
):
    """contract F6: a whole run without failures is read in a few screens."""
    path = tmp_path / "report.html"
    write_report(path, failing=failing)
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".verdict").bounding_box()["y"] < 200
    if not failing:
        assert page.evaluate("document.documentElement.scrollHeight") < _TALLEST
    page.evaluate(
        "document.querySelectorAll('summary + *, summary').forEach((each) => {"
        " const open = each.parentElement; if (open.matches(':first-of-type')) open.open = true })"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if failing or width < 400:
        assert_accessible(page)
    context.close()
