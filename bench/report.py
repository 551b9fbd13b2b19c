"""The figures as Markdown tables with ratios."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from load import Measured

__all__ = ["Row", "Table", "as_markdown", "ratios"]


class Row(NamedTuple):
    """The figures of one server in each round."""

    name: str
    per_second: list[float]
    p50: list[float]
    p99: list[float]
    size: list[float]

    def add(self, measured: Measured) -> None:
        """Add a round."""
        for column, value in zip(self[1:], measured, strict=True):
            column.append(value)


class Table(NamedTuple):
    """One case, with every server that supports it."""

    case: str
    database: str
    connections: int
    rows: list[Row]

    def row(self, name: str) -> Row | None:
        """Return the figures of a server, or None."""
        return next((row for row in self.rows if row.name == name), None)


def ratios(row: Row, reference: Row) -> list[float]:
    """Return the requests per second relative to the reference, round by round."""
    return [one / other for one, other in zip(row.per_second, reference.per_second, strict=True)]


def as_markdown(tables: Sequence[Table], floor: str) -> str:
    """Return a table for each case, with medians and their ranges."""
    return "\n".join(_one(table, floor) for table in tables)


def _one(table: Table, floor: str) -> str:
    reference = table.row(floor) or table.rows[0]
    lines = [
        f"\n**{table.case}; {table.database}; {table.connections} connections**\n",
        f"| server | requests/s | of {reference.name} | p50 ms | p99 ms | p99 of its | bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(table.rows, key=lambda row: -statistics.median(row.per_second)):
        later = [one / other for one, other in zip(row.p99, reference.p99, strict=True)]
        lines.append(
            f"| {row.name} | {statistics.median(row.per_second):,.0f} "
            f"| {spread(ratios(row, reference))} "
            f"| {statistics.median(row.p50):.2f} | {statistics.median(row.p99):.2f} "
            f"| {spread(later)} | {statistics.median(row.size):.0f} |"
        )
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Return a median with its minimum and maximum."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
