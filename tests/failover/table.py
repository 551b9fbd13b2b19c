"""The table of faults: printed, and written into docs/operations.md."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.failover.rounds import Outcome

__all__ = ["Case", "draw", "write"]

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_BEGIN, _END = "<!-- failover: begin -->\n", "<!-- failover: end -->\n"
_COLUMNS = (
    "rounds",
    "unavailable, s",
    "acknowledged",
    "lost",
    "doubled",
    "resurrected",
    "unanswered",
    "500",
    "unknown",
)

#: The version of PostgreSQL, what the service connects to, and the fault.
Case = tuple[str, str, str]


def _cells(outcome: Outcome) -> list[str]:
    tally, seconds = outcome.tally, outcome.unavailable
    counts = (
        tally.acknowledged,
        len(tally.lost),
        len(tally.duplicated),
        len(tally.resurrected),
        tally.unanswered,
        len(tally.failures),
        tally.unknown,
    )
    unavailable = f"{median(seconds):.1f}, at most {max(seconds):.1f}" if seconds else ""
    return [str(outcome.rounds), unavailable, *(f"{count:,}" for count in counts)]


def draw(outcomes: Mapping[Case, Outcome]) -> Table:
    """Return the table for the terminal."""
    table = Table(title="Failover", title_justify="left")
    table.add_column("fault")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for (version, front, fault), outcome in outcomes.items():
        table.add_row(f"{fault} (PostgreSQL {version}, {front})", *_cells(outcome))
    return table


def write(outcomes: Mapping[Case, Outcome], page: Path = _PAGE) -> None:
    """Replace the table of the page."""
    text = page.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin, f"{page} has no line {_BEGIN}"
    assert end, f"{page} has no line {_END}"
    header = ("PostgreSQL", "through", "fault", *_COLUMNS)
    lines = [_line(header), _line(["---"] * 3 + ["---:"] * len(_COLUMNS))]
    lines += [_line([*case, *_cells(outcome)]) for case, outcome in outcomes.items()]
    page.write_text(f"{before}{begin}\n{''.join(lines)}\n{end}{after}")


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"
