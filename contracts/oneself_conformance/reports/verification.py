"""Check of the folder of a run, which may come from another machine, without running it again."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import yaml

from oneself_conformance.cases.published import fits_status
from oneself_conformance.cases.runner import outcome_of
from oneself_conformance.fuzz.runs import planned_names
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports import folder
from oneself_conformance.reports.facts import RunFacts, document_digest, kit_version, rows_digest
from oneself_conformance.reports.junit import OVERLOADED, clean
from oneself_conformance.reports.run import RunReport
from oneself_conformance.suite import Suite

__all__ = ["Verification", "verify"]

_MAX_SHOWN = 3


@dataclass(frozen=True)
class Verification:
    """The verdict that the tests of a folder come to, and what contradicts it or each other."""

    verdict: str
    problems: tuple[str, ...]


class _Malformed(Exception):
    """A file cannot be read; the message says which, and why."""


def verify(path: Path) -> Verification:
    """Check that a folder is whole, of these tests, and consistent; and that its run passed."""
    missing = [name for name in folder.FILES if not (path / name).is_file()]
    if missing:
        return Verification("", (f"{path} has no {', '.join(missing)}",))
    try:
        return _verify(path)
    except _Malformed as error:
        return Verification("", (str(error),))


def _verify(path: Path) -> Verification:
    suites = _read_junit(path / folder.JUNIT)
    facts, ended_by = _facts(suites)
    problems = [*_other_tests(facts)]
    if problems:
        return Verification("", tuple(problems))
    run = facts.as_suite()
    cases = [case for suite in suites for case in _cases(suite)]
    report = RunReport(run)
    report.outcomes = [*_outcomes(cases, run)]
    if ended_by:
        problems.append(f"the run was ended by {ended_by}, before its last test")
    else:
        problems += _other_counts(suites)
        problems += _other_names(cases, run)
        problems += _other_verdicts(path, report)
        problems += _other_log(path, facts, cases)
        problems += _other_exchanges(path, report, run)
        if report.status != 0:
            problems.append(f"the run did not pass: {report.verdict}")
    return Verification(report.verdict, tuple(problems))


@dataclass(frozen=True)
class _Case:
    suite: str
    dialect: str
    name: str
    verdict: Verdict
    reason: str
    is_overloaded: bool = False


def _read_junit(path: Path) -> list[ET.Element]:
    content = path.read_bytes()
    if b"<!" in content:  # entities could be expanded without end
        raise _Malformed(f"{path.name} has a document type or a comment")
    try:
        root = ET.fromstring(content)  # noqa: S314 # without entities
    except ET.ParseError as error:
        raise _Malformed(f"{path.name} is not XML") from error
    if not len(root):
        raise _Malformed(f"{path.name} has no test")
    return [*root.iter("testsuite")]


def _facts(suites: list[ET.Element]) -> tuple[RunFacts, str]:
    stated = [
        {each.get("name", ""): each.get("value", "") for each in suite.iter("property")}
        for suite in suites
    ]
    if any(each != stated[0] for each in stated):
        raise _Malformed(f"the suites of {folder.JUNIT} are of different runs")
    try:
        return RunFacts.from_properties(stated[0]), stated[0]["ended_by"]
    except (KeyError, TypeError, ValueError) as error:
        raise _Malformed(f"{folder.JUNIT} does not say what was run ({error})") from error


def _other_tests(facts: RunFacts) -> Iterator[str]:
    for what, stated, own in (
        ("version", facts.version, kit_version()),
        ("document", facts.document, document_digest()),
        ("rows", facts.rows, rows_digest()),
    ):
        if stated != own:
            yield f"the run had another {what}: {stated[:12]} is not {own[:12]}"


def _cases(suite: ET.Element) -> Iterator[_Case]:
    for case in suite.iter("testcase"):
        verdict, reason, kind = Verdict.PASSED, "", ""
        for each in case:
            is_failure = each.tag in {"failure", "error"}
            verdict = Verdict.FAILED if is_failure else Verdict.SKIPPED
            reason, kind = each.get("message", ""), each.get("type", "")
        name, dialect = case.get("name", ""), case.get("classname", "")
        yield _Case(suite.get("name", ""), dialect, name, verdict, reason, kind == OVERLOADED)


def _outcomes(cases: list[_Case], run: Suite) -> Iterator[Outcome]:
    rows = {clean(str(row)): row for row in run.selected_rows()}
    for each in cases:
        if each.suite == "rows" and each.name in rows:
            outcome = outcome_of(rows[each.name], each.verdict, each.reason)
            yield replace(outcome, overloaded=each.is_overloaded)
        else:
            yield Outcome(each.suite, each.dialect, each.name, "", each.verdict, (each.reason,))


def _other_counts(suites: list[ET.Element]) -> Iterator[str]:
    for suite in suites:
        found = Counter(each.verdict for each in _cases(suite))
        numbers = (found.total(), found[Verdict.FAILED], found[Verdict.SKIPPED])
        if tuple(suite.get(name) for name in ("tests", "failures", "skipped")) != tuple(
            map(str, numbers)
        ):
            yield f"the counts of suite {suite.get('name')} are not those of its tests"


def _other_names(cases: list[_Case], run: Suite) -> Iterator[str]:
    """Yield how the tests differ from those that the options select; each is there once."""
    probes = (f"{each.id}: {each.promise}" for each in run.selected_probes())
    selected = {
        "rows": Counter(map(str, run.selected_rows())),
        "probes": Counter(probes),
        "fuzz": Counter(planned_names(run.selected_operations(), run.seeds)),
    }
    for suite in run.suites:
        expected = Counter({clean(name): number for name, number in selected[suite].items()})
        found = Counter(each.name for each in cases if each.suite == suite)
        if suite == "fuzz":
            # Without Schemathesis there is one test; with it, sequences may be added.
            if found.total() == 1 and [*found] == ["fuzz"]:
                continue
            found &= expected
        for what, names in (("has no", expected - found), ("should not have", found - expected)):
            shown = "; ".join([*names][:_MAX_SHOWN])
            if names:
                yield f"{folder.JUNIT} {what} {names.total()} tests of suite {suite}: {shown}"
    for suite in {each.suite for each in cases} - {*run.suites}:
        yield f"{folder.JUNIT} should not have the suite {suite}"


def _other_verdicts(path: Path, report: RunReport) -> Iterator[str]:
    """Yield the files whose verdict is not the one that the tests come to."""
    texts = {
        folder.README: f"**{report.verdict}**",
        folder.HTML: f">{escape(report.verdict)}</p>",
        folder.LOG: f"\n# verdict: {report.verdict}\n",
    }
    for name, sentence in texts.items():
        if sentence not in _read(path / name):
            yield f"the verdict of {name} is not that of its tests: {report.verdict}"
    if _parse_json(path / folder.BADGE) != folder.badge(report):
        yield f"{folder.BADGE} is not the badge of these tests"
    try:
        product = yaml.safe_load(_read(path / folder.PRODUCT))
    except yaml.YAMLError as error:
        raise _Malformed(f"{folder.PRODUCT} is not YAML") from error
    stated = product if isinstance(product, Mapping) else {}
    if stated.get("verdict") != report.verdict or stated.get("url") != report.url:
        yield f"{folder.PRODUCT} is about another run"


def _other_log(path: Path, facts: RunFacts, cases: list[_Case]) -> Iterator[str]:
    lines = _read(path / folder.LOG).splitlines()
    for name, value in facts.properties.items():
        if f"# {name}: {value}" not in lines:
            yield f"{folder.LOG} is of a run with another {name}"
    logged = Counter(line.partition(" ")[2] for line in lines if not line.startswith("#"))
    found = Counter(
        f"{OVERLOADED if each.is_overloaded else each.verdict} {each.suite}"
        f" {' '.join(each.name.split())}"
        for each in cases
    )
    if different := (logged - found) + (found - logged):
        shown = "; ".join([*different][:_MAX_SHOWN])
        yield f"{folder.LOG} and {folder.JUNIT} differ in: {shown}"


def _other_exchanges(path: Path, report: RunReport, run: Suite) -> Iterator[str]:
    """Yield the passed rows of which no response has the expected status."""
    archive = _parse_json(path / folder.HAR)
    try:
        seen = {(each["comment"], each["response"]["status"]) for each in archive["log"]["entries"]}
    except (LookupError, TypeError) as error:
        raise _Malformed(f"{folder.HAR} is not an HTTP archive") from error
    passed = {each.promise for each in report.outcomes if each.verdict is Verdict.PASSED}
    for row in run.selected_rows():
        statuses = {status for name, status in seen if name == str(row)}
        expected = row.printed_status
        is_seen = any(fits_status(status, expected) for status in statuses)
        if str(row) in passed and not is_seen:
            yield f"{folder.HAR} has no response with {expected} to: {row}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise _Malformed(f"{path.name} is not text") from error


def _parse_json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise _Malformed(f"{path.name} is not JSON") from error
