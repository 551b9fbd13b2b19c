"""The table of faults: printed, and written into docs/operations.md."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from tests.failover.record import Case, Round

__all__ = ["draw", "write"]

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


def _by_case(rounds: Iterable[Round]) -> dict[Case, list[Round]]:
    cases: dict[Case, list[Round]] = {}
    for each in sorted(rounds, key=lambda done: (done.front, done.version)):
        cases.setdefault(each.case, []).append(each)
    return cases


def _cells(rounds: Sequence[Round]) -> list[str]:
    seconds = [each.unavailable for each in rounds]
    counts = (
        sum(each.acknowledged for each in rounds),
        sum(len(each.lost) for each in rounds),
        sum(len(each.doubled) for each in rounds),
        sum(len(each.resurrected) for each in rounds),
        sum(each.unanswered for each in rounds),
        sum(len(each.failures) for each in rounds),
        sum(each.unknown for each in rounds),
    )
    unavailable = f"{median(seconds):.1f}, at most {max(seconds):.1f}"
    return [str(len(rounds)), unavailable, *(f"{count:,}" for count in counts)]


def draw(rounds: Iterable[Round]) -> Table:
    """Return the table for the terminal."""
    table = Table(title="Failover", title_justify="left")
    table.add_column("fault")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for (version, front, fault), of_case in _by_case(rounds).items():
        table.add_row(f"{fault} (PostgreSQL {version}, {front})", *_cells(of_case))
    return table


def write(rounds: Iterable[Round], page: Path = _PAGE) -> None:
    """Write the rows of the table of the page; those of other cases are kept."""
    text = page.read_text()
    before, begin, rest = text.partition(_BEGIN)
    table, end, after = rest.partition(_END)
    assert begin, f"{page} has no line {_BEGIN}"
    assert end, f"{page} has no line {_END}"
    lines = [line.strip("| \n").split(" | ") for line in table.splitlines() if line]
    rows = {tuple(cells[:_NAMES]): cells for cells in lines[2:]}
    rows |= {case: [*case, *_cells(of_case)] for case, of_case in _by_case(rounds).items()}
    header = ["PostgreSQL", "through", "fault", *_COLUMNS]
    rules = ["---"] * _NAMES + ["---:"] * len(_COLUMNS)
    ordered = sorted(rows.values(), key=lambda cells: (cells[1].lower(), cells[0]))
    new = "".join(_line(cells) for cells in (header, rules, *ordered))
    page.write_text(f"{before}{begin}\n{new}\n{end}{after}")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
