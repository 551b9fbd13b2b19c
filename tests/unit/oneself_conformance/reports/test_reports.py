"""Reports show failures with a command that repeats them, and skipped tests with reasons."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from oneself_conformance.levels import Level
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.completeness import Seen
from oneself_conformance.reports.grouping import group_failures
from oneself_conformance.reports.html import write_html
from oneself_conformance.reports.junit import write_junit
from oneself_conformance.reports.run import RunReport, counts
from oneself_conformance.reports.text import write_report
from oneself_conformance.suite import Step, Suite
from oneself_conformance.targets import Deployment

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
TOKEN = "sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7"


def report_of(*outcomes: Outcome, **settings: Any) -> RunReport:
    deployment = Deployment("http://localhost:8080", {"base": {"session_token": TOKEN}}, **settings)
    deployment.mask.add("base", deployment.actors["base"])
    report = RunReport(Suite(deployment, Path("users.json"), dialect="jitsudo"))
    report.add(Step("rows", "all", 1, 1, outcomes))
    return report


ALL = [FAILED, PASSED, SKIPPED, *[SKIPPED] * 2]


def test_counts_are_by_suite_and_verdict():
    assert counts(ALL) == {
        "rows": {"passed": 1, "failed": 1, "skipped": 0},
        "fuzz": {"passed": 0, "failed": 0, "skipped": 3},
    }


def test_text_report_shows_each_failure_with_its_repeat_command():
    text = io.StringIO()
    write_report(report_of(*ALL), text)
    for part in (FAILED.promise, FAILED.source, FAILED.repeat, *FAILED.reasons):
        assert part in text.getvalue()
    assert "3  why" in text.getvalue()


def test_text_report_counts_reasons_beyond_the_first_twelve():
    many = [
        Outcome("rows", "ipto", f"{number}", "", Verdict.SKIPPED, (f"reason {number}",))
        for number in range(20)
    ]
    text = io.StringIO()
    write_report(report_of(*many), text)
    assert "8  other reasons" in text.getvalue()


def test_junit_report_has_counts_and_failures(tmp_path: Path):
    path = tmp_path / "report.xml"
    write_junit(report_of(*ALL), path)
    rows, fuzz = ET.parse(path).getroot()  # noqa: S314 # our own file
    assert (rows.get("tests"), rows.get("failures"), rows.get("skipped")) == ("2", "1", "0")
    assert (fuzz.get("tests"), fuzz.get("failures"), fuzz.get("skipped")) == ("3", "0", "3")
    [failure] = rows.iter("failure")
    assert FAILED.repeat in str(failure.text)
    # NUL is not allowed in XML, even escaped.
    assert "500 \N{REPLACEMENT CHARACTER}<script>" in str(failure.text)


def test_html_report_is_self_contained_and_escaped(tmp_path: Path):
    path = tmp_path / "report.html"
    write_html(report_of(*ALL), path)
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


CHANGE = Outcome(
    "rows",
    "jitsudo",
    "The password is changed",
    "jitsudo, Change the current user's password",
    Verdict.PASSED,
    operation="jitsudo.changePassword",
    status=204,
    levels={"published": Verdict.PASSED},
)
NOT_ASKED = replace(CHANGE, verdict=Verdict.SKIPPED, reasons=("the credentials have no password",))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([CHANGE], 0),
        ([CHANGE, replace(CHANGE, verdict=Verdict.FAILED)], 1),
        ([NOT_ASKED, PASSED], 3),
        ([NOT_ASKED], 3),
        ([], 3),
        # Nothing that a tester could set would show it.
        ([replace(NOT_ASKED, reasons=("it needs an operator: add client",)), PASSED], 0),
    ],
)
def test_status_is_incomplete_until_each_operation_succeeded(outcomes: list[Outcome], status: int):
    """contract F1."""
    assert report_of(*outcomes, hold=Level.PUBLISHED).status == status


EFFECT = replace(
    CHANGE, promise="The old password is wrong", status=400, effect_of=CHANGE.operation
)


@pytest.mark.parametrize(
    ("effect", "status"),
    [
        (EFFECT, 0),
        (replace(EFFECT, verdict=Verdict.SKIPPED, reasons=("it needs access to email",)), 0),
        (replace(EFFECT, verdict=Verdict.SKIPPED, reasons=("POST /login returns 429",)), 3),
        # Only pages say which effects an operation must have.
        (replace(EFFECT, verdict=Verdict.SKIPPED, levels={"house": Verdict.SKIPPED}), 0),
    ],
)
def test_status_is_incomplete_until_each_effect_of_a_page_is_seen(effect: Outcome, status: int):
    """contract F1: a success alone shows nothing of what it has changed."""
    report = report_of(CHANGE, effect, hold=Level.PUBLISHED)
    assert report.status == status
    assert ("and 1 without their effect" in report.verdict) == (status == 3)


def test_operation_is_summarized_at_each_level():
    """contract F1: success, effect and each refusal, by level."""
    house = replace(EFFECT, status=429, effect_of="", levels={"house": Verdict.FAILED})
    [seen] = report_of(CHANGE, EFFECT, house, hold=Level.PUBLISHED).operations
    passed, failed = Verdict.PASSED, Verdict.FAILED
    assert (seen.success, seen.effect, seen.missing) == (passed, passed, ())
    assert seen.levels == {
        "published": Seen(passed, passed, {400: passed}),
        "house": Seen(None, None, {429: failed}),
    }


def test_report_has_a_column_for_each_level():
    """contract F3."""
    broken = {"published": Verdict.PASSED, "house": Verdict.FAILED}
    report = report_of(CHANGE, replace(CHANGE, levels=broken))
    assert report.count_table() == [
        ["suite", "published", "standard", "house"],
        ["rows", "2/0/0", "-", "0/1/0"],
    ]


def test_secrets_are_placeholders_in_every_part(tmp_path: Path):
    """contract F6."""
    leaking = replace(
        FAILED,
        reasons=(f"body: {TOKEN!r} is not None",),
        repeat=f"curl --header 'Authorization: Bearer {TOKEN}' http://localhost:8080/v1/me",
        answer=f'200 {{"token": "{TOKEN}", "refresh_token": "unknown-0123456789"}}',
    )
    report, text = report_of(leaking), io.StringIO()
    write_report(report, text)
    write_junit(report, tmp_path / "junit.xml")
    write_html(report, tmp_path / "report.html")
    written = [text.getvalue(), *(path.read_text() for path in tmp_path.iterdir())]
    for each in written:
        assert TOKEN not in each
        assert "unknown-0123456789" not in each
    assert 'curl --header "Authorization: Bearer $SESSION_TOKEN" http' in text.getvalue()


def test_failures_are_grouped_by_their_most_binding_and_most_frequent_cause():
    noise = "header server: 'nginx' is not '' [house: house rule]"
    outcomes = [
        replace(FAILED, reasons=(noise, f"status: {status} is not 200 [published: ipto, Users]"))
        for status in (500, 404)
    ]
    outcomes += [replace(FAILED, reasons=(noise.replace("nginx", each),)) for each in "abc"]
    assert [(len(group.outcomes), group.title) for group in group_failures(outcomes)] == [
        (3, noise.replace("nginx", "a")),
        (2, "status: 500 is not 200 [published: ipto, Users]"),
    ]


def test_text_report_begins_with_the_verdict_and_folds_similar_failures():
    text = io.StringIO()
    many = [replace(FAILED, promise=f"promise {number}") for number in range(9)]
    write_report(report_of(*many), text)
    lines = text.getvalue().splitlines()
    assert lines[0] == "9 of 9 tests failed."
    assert text.getvalue().count(FAILED.repeat) == 3
    assert "  promise 8" in lines


def test_html_report_has_the_verdict_and_the_matrix_before_failures(tmp_path: Path):
    write_html(report_of(CHANGE, FAILED, NOT_ASKED, hold=Level.PUBLISHED), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    parts = ("1 of 3 tests failed", "change<wbr>Password", "By cause", NOT_ASKED.reasons[0])
    places = [page.index(each) for each in (*parts, "Passed: 1")]
    assert places == sorted(places)
    assert "<details open" not in page


def test_secret_is_hidden_also_in_earlier_outcomes():
    """contract F6: a test can show a secret before an answer makes it known."""
    report = report_of(replace(FAILED, reasons=("path: /reset/3kf93jf93jf9 is unknown",)))
    report.mask.learn_from({"token": "3kf93jf93jf9"})
    report.mask_again()
    assert report.outcomes[0].reasons == ("path: /reset/$NEW_TOKEN is unknown",)
