"""Conformance report for the terminal and for programs."""

import json
from collections import Counter
from dataclasses import asdict
from typing import TextIO

from oneself_conformance.outcomes import Verdict
from oneself_conformance.reports.run import RunReport, counts

_MAX_REASONS = 12


def write_report(report: RunReport, stream: TextIO) -> None:
    """Write the failures, the reasons of skipped tests, what was seen, and the counts."""
    for each in report.outcomes:
        if each.verdict is Verdict.FAILED:
            stream.write(f"{each.as_text()}\n\n")
    skipped = Counter(
        reason
        for each in report.outcomes
        if each.verdict is Verdict.SKIPPED
        for reason in each.reasons
    )
    if skipped:
        stream.write("Skipped\n")
        most = skipped.most_common(_MAX_REASONS)
        stream.writelines(f"{number:>7}  {reason}\n" for reason, number in most)
        rest = sum(number for _, number in skipped.most_common()[_MAX_REASONS:])
        if rest:
            stream.write(f"{rest:>7}  other reasons, listed in the HTML and JUnit reports\n")
        stream.write("\n")
    _write_table(report.operation_table(), stream)
    stream.write("Results: passed/failed/skipped\n")
    _write_table(report.count_table(), stream)


def write_json(report: RunReport, stream: TextIO) -> None:
    """Write the report on one line."""
    record = {
        "url": report.url,
        "verdict": report.verdict,
        "status": report.status,
        "counts": counts(report.outcomes),
        "operations": [asdict(each) for each in report.operations],
        "outcomes": [asdict(each) for each in report.outcomes],
    }
    stream.write(json.dumps(record) + "\n")


def _write_table(table: list[list[str]], stream: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        stream.write("  ".join(cells).rstrip() + "\n")
    if table:
        stream.write("\n")
