"""The figures as a plot: requests per second, relative to the floor's."""

import statistics
from collections.abc import Sequence
from html import escape

from report import Table, ratios

__all__ = ["draw"]

_WIDTH, _LEFT, _BAR, _GAP, _HEAD = 860, 280, 16, 5, 34
_COLOURS = {"oneself": "#2563eb", "floor": "#9ca3af"}
_OTHER = "#d97706"


def draw(tables: Sequence[Table], floor: str) -> str:
    """Return an SVG with bars of medians, and a line from the minimum to the maximum."""
    parts: list[str] = []
    top = 10
    for table in tables:
        reference = table.row(floor) or table.rows[0]
        found = {row.name: ratios(row, reference) for row in table.rows}
        scale = (_WIDTH - _LEFT - 70) / max(max(values) for values in found.values())
        title = f"{table.case}; {table.database}; {table.connections} connections"
        parts.append(f'<text x="10" y="{top + 16}" font-weight="bold">{escape(title)}</text>')
        top += _HEAD - 10
        for name, values in sorted(found.items(), key=lambda each: -statistics.median(each[1])):
            parts += _bar(name, values, top, scale)
            top += _BAR + _GAP
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
        f'font-family="sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{top}" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _bar(name: str, values: Sequence[float], top: int, scale: float) -> list[str]:
    colour = next((c for word, c in _COLOURS.items() if name.startswith(word)), _OTHER)
    median, middle = statistics.median(values), top + _BAR / 2
    width = median * scale
    least, most = (_LEFT + services(values) * scale for services in (min, max))
    return [
        f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" stroke="#111"/>',
        f'<text x="{most + 6:.1f}" y="{top + 12}">{median:.2f}</text>',
    ]
