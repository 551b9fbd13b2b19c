"""Conformance report for the terminal: failures, reasons of skipped tests, and counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TextIO

from oneself_conformance.outcomes import Outcome, Verdict

_MAX_REASONS = 12


def counts(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """Count the passed, failed and skipped tests of each suite."""
    counts_by_suite: dict[str, dict[str, int]] = {}
    for each in outcomes:
        of_suite = counts_by_suite.setdefault(each.suite, {verdict.value: 0 for verdict in Verdict})
        of_suite[each.verdict.value] += 1
    return counts_by_suite


def write_report(outcomes: Sequence[Outcome], stream: TextIO) -> None:
    """Write each failure with a command that repeats it, then the counts."""
    for each in outcomes:
        if each.verdict is Verdict.FAILED:
            stream.write(f"{each.as_text()}\n\n")
    skipped = Counter(
        reason for each in outcomes if each.verdict is Verdict.SKIPPED for reason in each.reasons
    )
    if skipped:
        stream.write("Skipped\n")
        stream.writelines(
            f"{number:>7}  {reason}\n" for reason, number in skipped.most_common(_MAX_REASONS)
        )
        rest = sum(number for _, number in skipped.most_common()[_MAX_REASONS:])
        if rest:
            stream.write(f"{rest:>7}  other reasons, listed in the HTML and JUnit reports\n")
        stream.write("\n")
    stream.write(f"{'Results':<10}{''.join(f'{verdict.value:>9}' for verdict in Verdict)}\n")
    stream.writelines(
        f"{suite:<10}{''.join(f'{numbers[each.value]:>9}' for each in Verdict)}\n"
        for suite, numbers in counts(outcomes).items()
    )
