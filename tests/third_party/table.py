"""The table of tools and results: printed, and written into docs/conformance.md."""

from pathlib import Path

from rich.table import Table

__all__ = ["Results"]

_PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_BEGIN, _END = "<!-- third-party: begin -->\n", "<!-- third-party: end -->\n"


class Results:
    """Results by tool; the last one of a tool counts."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}

    def add(self, tool: str, result: str) -> None:
        """Record the result of a tool, whose version follows its name."""
        self._rows[tool] = result

    def draw(self) -> Table:
        """Return the table for the terminal."""
        table = Table("tool", "result", title="Tools and results", title_justify="left")
        for row in self._rows.items():
            table.add_row(*row)
        return table

    def write(self, page: Path = _PAGE) -> None:
        """Write the rows into the page; those of tools that were not run are kept."""
        before, begin, rest = page.read_text().partition(_BEGIN)
        table, end, after = rest.partition(_END)
        assert begin, f"{page} has no line {_BEGIN}"
        assert end, f"{page} has no line {_END}"
        lines = [line.strip("| \n").split(" | ") for line in table.splitlines() if line]
        rows = {_name(cells[0]): cells for cells in lines[2:]}
        rows |= {_name(tool): [tool, result] for tool, result in self._rows.items()}
        new = "".join(
            f"| {' | '.join(cells)} |\n"
            for cells in (["tool", "result"], ["---", "---"], *rows.values())
        )
        page.write_text(f"{before}{begin}\n{new}\n{end}{after}")


def _name(tool: str) -> str:
    """Return the name of a tool without its version, which a later run may have moved."""
    return " ".join(word for word in tool.split() if not word[0].isdigit())
