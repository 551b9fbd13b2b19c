"""A report says what is broken and how to see it again, and what was not asked, and why."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.reports.html import write_html
from oneself.conformance.reports.junit import write_junit
from oneself.conformance.reports.text import counts, print_report

BROKEN = Outcome(
    "rows",
    "ipto",
    "ipto: The current user is shown",
    "ipto, Users — Get Current User",
    Verdict.BROKEN,
    ("status: 500 is not 200", "body: <b>[red]is no JSON"),
    request="GET /v1/me",
    repeat="curl --request GET http://localhost:8080/v1/me",
    answer="500 \x00<script>",
)
KEPT = Outcome("rows", "ipto", "ipto: It is kept", "RFC 9110", Verdict.KEPT)
NOT_ASKED = Outcome(
    "fuzz", "oauth", "oauth.issueToken", "the document", Verdict.NOT_ASKED, ("why",)
)
ALL = [BROKEN, KEPT, NOT_ASKED, *[NOT_ASKED] * 2]


def test_the_numbers_are_by_suite_and_verdict():
    assert counts(ALL) == {
        "rows": {"kept": 1, "broken": 1, "not asked": 0},
        "fuzz": {"kept": 0, "broken": 0, "not asked": 3},
    }


def test_a_person_reads_each_broken_promise_with_what_repeats_it():
    text = io.StringIO()
    print_report(ALL, Console(file=text, width=100))
    for part in (BROKEN.promise, BROKEN.source, BROKEN.repeat, *BROKEN.reasons):
        assert part in text.getvalue()
    assert "3 │ why" in text.getvalue()


def test_reasons_beyond_the_first_dozen_are_counted():
    many = [
        Outcome("rows", "ipto", f"{number}", "", Verdict.NOT_ASKED, (f"reason {number}",))
        for number in range(20)
    ]
    text = io.StringIO()
    print_report(many, Console(file=text, width=100))
    assert "8 │ of other reasons" in text.getvalue()


def test_a_ci_reads_junit(tmp_path: Path):
    path = tmp_path / "proof.xml"
    write_junit(ALL, path)
    rows, fuzz = ET.parse(path).getroot()  # noqa: S314 # written a moment ago
    assert (rows.get("tests"), rows.get("failures"), rows.get("skipped")) == ("2", "1", "0")
    assert (fuzz.get("tests"), fuzz.get("failures"), fuzz.get("skipped")) == ("3", "0", "3")
    [failure] = rows.iter("failure")
    assert BROKEN.repeat in str(failure.text)
    # NUL is in no XML, however it is written.
    assert "500 \N{REPLACEMENT CHARACTER}<script>" in str(failure.text)


def test_a_page_needs_nothing_beside_it_and_runs_nothing(tmp_path: Path):
    path = tmp_path / "proof.html"
    write_html(ALL, path, url="http://localhost:8080")
    page = path.read_text()
    assert BROKEN.promise in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "src=" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("outcome", ALL)
def test_an_outcome_is_text_with_a_line_for_each_part_that_it_has(outcome: Outcome):
    lines = outcome.as_text().splitlines()
    assert lines[0] == outcome.promise
    assert any(line.startswith("repeat:") for line in lines) == bool(outcome.repeat)
