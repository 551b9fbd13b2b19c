"""What came of a proof, for people: what is broken, what was not asked and why, and how many."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oneself.conformance.outcomes import Outcome, Verdict

__all__ = ["counts", "print_report"]

_MOST_REASONS = 12


def counts(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """How many promises were kept, broken and not asked, by suite."""
    found: dict[str, dict[str, int]] = {}
    for each in outcomes:
        of_suite = found.setdefault(each.suite, {verdict.value: 0 for verdict in Verdict})
        of_suite[each.verdict.value] += 1
    return found


def print_report(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print each broken promise with all that repeats it, then the rest in numbers."""
    for each in outcomes:
        if each.verdict is Verdict.BROKEN:
            # As Text, since what was answered may look like markup.
            console.print(Text(each.as_text()), soft_wrap=True)
            console.print()
    left_out = Counter(
        reason for each in outcomes if each.verdict is Verdict.NOT_ASKED for reason in each.reasons
    )
    if left_out:
        console.print(_table_of_reasons(left_out))
    console.print(_table_of_counts(outcomes))


def _table_of_reasons(left_out: Counter[str]) -> Table:
    table = Table(title="Not asked", title_justify="left")
    table.add_column("promises", justify="right")
    table.add_column("because", overflow="fold")
    for reason, number in left_out.most_common(_MOST_REASONS):
        table.add_row(str(number), Text(reason))
    rest = sum(number for _, number in left_out.most_common()[_MOST_REASONS:])
    if rest:
        table.add_row(str(rest), "of other reasons, in the HTML and JUnit reports")
    return table


def _table_of_counts(outcomes: Iterable[Outcome]) -> Table:
    table = Table(title="ResponseValidator", title_justify="left")
    table.add_column("suite")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right")
    for suite, numbers in counts(outcomes).items():
        table.add_row(suite, *(str(numbers[verdict.value]) for verdict in Verdict))
    return table
