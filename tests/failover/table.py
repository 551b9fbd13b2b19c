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

#: The columns that name a case.
_NAMES = 3
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
    """Write the rows of the table of the page; those of other cases are kept."""
    text = page.read_text()
    before, begin, rest = text.partition(_BEGIN)
    table, end, after = rest.partition(_END)
    assert begin, f"{page} has no line {_BEGIN}"
    assert end, f"{page} has no line {_END}"
    lines = [line.strip("| \n").split(" | ") for line in table.splitlines() if line]
    rows = {tuple(cells[:_NAMES]): cells for cells in lines[2:]}
    rows |= {case: [*case, *_cells(outcome)] for case, outcome in outcomes.items()}
    header = ["PostgreSQL", "through", "fault", *_COLUMNS]
    rules = ["---"] * _NAMES + ["---:"] * len(_COLUMNS)
    new = "".join(_line(cells) for cells in (header, rules, *rows.values()))
    page.write_text(f"{before}{begin}\n{new}\n{end}{after}")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
