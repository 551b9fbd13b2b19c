"""Conformance report as JUnit XML, for CI.

Written with the standard library: the format is three elements deep and not worth a dependency.
"""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.run import RunReport, counts

#: The type of tests that were skipped because the deployment was too slow or had limits.
OVERLOADED = "overloaded"
#: XML 1.0, section 2.2: not allowed in a document, even escaped.
_INVALID_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(report: RunReport, path: Path) -> None:
    """Write a test suite for each suite, with a test case for each test."""
    outcomes = report.outcomes
    root = ET.Element("testsuites", name="oneself")
    for suite, numbers in counts(outcomes).items():
        element = ET.SubElement(
            root,
            "testsuite",
            name=suite,
            tests=str(sum(numbers.values())),
            failures=str(numbers["failed"]),
            skipped=str(numbers["skipped"]),
            timestamp=report.facts.started,
        )
        properties = ET.SubElement(element, "properties")
        for name, value in report.properties.items():
            ET.SubElement(properties, "property", name=name, value=clean(value))
        for each in outcomes:
            if each.suite == suite:
                _add(element, each)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add(suite: ET.Element, outcome: Outcome) -> None:
    case = ET.SubElement(suite, "testcase", classname=outcome.dialect, name=clean(outcome.promise))
    message = clean("; ".join(outcome.reasons))
    if outcome.verdict is Verdict.FAILED:
        failure = ET.SubElement(case, "failure", message=message[:500])
        failure.text = clean(outcome.as_text())
    elif outcome.verdict is Verdict.SKIPPED:
        skipped = ET.SubElement(case, "skipped", message=message)
        if outcome.overloaded:
            skipped.set("type", OVERLOADED)


def clean(text: str) -> str:
    """Replace the characters that XML cannot have."""
    return _INVALID_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
