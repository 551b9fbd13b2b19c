"""Reports show failures with a command that repeats them, and skipped tests with reasons."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.html import write_html
from oneself_conformance.reports.junit import write_junit
from oneself_conformance.reports.text import counts, write_report

FAILED = Outcome(
    "rows",
    "ipto",
    "ipto: The current user is returned",
    "ipto, Users — Get Current User",
    Verdict.FAILED,
    ("status: 500 is not 200", "body: <b>[red]is not JSON"),
    request="GET /v1/me",
    repeat="curl --request GET http://localhost:8080/v1/me",
    answer="500 \x00<script>",
)
PASSED = Outcome("rows", "ipto", "ipto: It passes", "RFC 9110", Verdict.PASSED)
SKIPPED = Outcome("fuzz", "oauth", "oauth.issueToken", "the document", Verdict.SKIPPED, ("why",))
ALL = [FAILED, PASSED, SKIPPED, *[SKIPPED] * 2]


def test_counts_are_by_suite_and_verdict():
    assert counts(ALL) == {
        "rows": {"passed": 1, "failed": 1, "skipped": 0},
        "fuzz": {"passed": 0, "failed": 0, "skipped": 3},
    }


def test_text_report_shows_each_failure_with_its_repeat_command():
    text = io.StringIO()
    write_report(ALL, text)
    for part in (FAILED.promise, FAILED.source, FAILED.repeat, *FAILED.reasons):
        assert part in text.getvalue()
    assert "3  why" in text.getvalue()


def test_text_report_counts_reasons_beyond_the_first_twelve():
    many = [
        Outcome("rows", "ipto", f"{number}", "", Verdict.SKIPPED, (f"reason {number}",))
        for number in range(20)
    ]
    text = io.StringIO()
    write_report(many, text)
    assert "8  other reasons" in text.getvalue()


def test_junit_report_has_counts_and_failures(tmp_path: Path):
    path = tmp_path / "report.xml"
    write_junit(ALL, path)
    rows, fuzz = ET.parse(path).getroot()  # noqa: S314 # our own file
    assert (rows.get("tests"), rows.get("failures"), rows.get("skipped")) == ("2", "1", "0")
    assert (fuzz.get("tests"), fuzz.get("failures"), fuzz.get("skipped")) == ("3", "0", "3")
    [failure] = rows.iter("failure")
    assert FAILED.repeat in str(failure.text)
    # NUL is not allowed in XML, even escaped.
    assert "500 \N{REPLACEMENT CHARACTER}<script>" in str(failure.text)


def test_html_report_is_self_contained_and_escaped(tmp_path: Path):
    path = tmp_path / "report.html"
    write_html(ALL, path, url="http://localhost:8080")
    page = path.read_text()
    assert FAILED.promise in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "src=" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("outcome", ALL)
def test_outcome_text_has_a_line_for_each_part(outcome: Outcome):
    lines = outcome.as_text().splitlines()
    assert lines[0] == outcome.promise
    assert any(line.startswith("repeat:") for line in lines) == bool(outcome.repeat)
