"""Conformance report for the terminal: failures, reasons of skipped tests, and counts."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oneself.conformance.outcomes import Outcome, Verdict

_MAX_REASONS = 12


def counts(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """Count the passed, failed and skipped tests of each suite."""
    counts_by_suite: dict[str, dict[str, int]] = {}
    for each in outcomes:
        of_suite = counts_by_suite.setdefault(each.suite, {verdict.value: 0 for verdict in Verdict})
        of_suite[each.verdict.value] += 1
    return counts_by_suite


def print_report(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print each failure with a command that repeats it, then the counts."""
    for each in outcomes:
        if each.verdict is Verdict.FAILED:
            # As Text, because a response may look like markup.
            console.print(Text(each.as_text()), soft_wrap=True)
            console.print()
    skipped = Counter(
        reason for each in outcomes if each.verdict is Verdict.SKIPPED for reason in each.reasons
    )
    if skipped:
        console.print(_table_of_reasons(skipped))
    console.print(_table_of_counts(outcomes))


def _table_of_reasons(skipped: Counter[str]) -> Table:
    table = Table(title="Skipped", title_justify="left")
    table.add_column("tests", justify="right")
    table.add_column("reason", overflow="fold")
    for reason, number in skipped.most_common(_MAX_REASONS):
        table.add_row(str(number), Text(reason))
    rest = sum(number for _, number in skipped.most_common()[_MAX_REASONS:])
    if rest:
        table.add_row(str(rest), "other reasons, listed in the HTML and JUnit reports")
    return table


def _table_of_counts(outcomes: Iterable[Outcome]) -> Table:
    table = Table(title="Results", title_justify="left")
    table.add_column("suite")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right")
    for suite, numbers in counts(outcomes).items():
        table.add_row(suite, *(str(numbers[verdict.value]) for verdict in Verdict))
    return table
