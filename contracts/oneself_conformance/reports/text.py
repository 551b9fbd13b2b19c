"""Conformance report for the terminal and for programs."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TextIO

from oneself_conformance.reports.grouping import group_failures, group_skipped
from oneself_conformance.reports.run import RunReport, counts

_MAX_REASONS = 12
#: Failures with the same cause that are shown whole; of the others, the promise.
_MAX_WHOLE = 3


def write_report(report: RunReport, stream: TextIO) -> None:
    """Write the verdict, what was seen, the failures by cause, the skipped tests, and counts."""
    stream.write(f"{report.verdict}\n\n")
    _write_table(report.operation_table(), stream)
    for group in group_failures(report.outcomes):
        number = len(group.outcomes)
        if number > 1:
            stream.write(f"{number} tests failed with: {group.title}\n\n")
        stream.writelines(f"{each.as_text()}\n\n" for each in group.outcomes[:_MAX_WHOLE])
        if rest := group.outcomes[_MAX_WHOLE:]:
            stream.write("Likewise, with details in the HTML and JUnit reports:\n")
            stream.writelines(f"  {each.promise}\n" for each in rest)
            stream.write("\n")
    _write_skipped(report, stream)
    stream.write("Results: passed/failed/skipped\n")
    _write_table(report.count_table(), stream)


def _write_skipped(report: RunReport, stream: TextIO) -> None:
    groups = group_skipped(report.outcomes)
    if not groups:
        return
    stream.write("Skipped\n")
    stream.writelines(
        f"{len(group.outcomes):>7}  {group.title}\n" for group in groups[:_MAX_REASONS]
    )
    rest = sum(len(group.outcomes) for group in groups[_MAX_REASONS:])
    if rest:
        stream.write(f"{rest:>7}  other reasons, listed in the HTML and JUnit reports\n")
    stream.write("\n")


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


def _write_table(table: Iterable[list[str]], stream: TextIO) -> None:
    rows = [*table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        stream.write("  ".join(cells).rstrip() + "\n")
    if rows:
        stream.write("\n")
