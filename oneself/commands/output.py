"""What commands print: tables for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "show", "waiting"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")
]

#: So wide a table shows every token in one line, to be copied; a narrower terminal wraps it.
_WIDTH = 100


def show(record: Mapping[str, Any], *, as_json: bool, note: str | None = None) -> None:
    """Print a record; one whose values are records is a table for each of them."""
    if as_json:
        sys.stdout.write(json.dumps(record) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 # programs do not need it

    console = Console()
    if console.width < _WIDTH:
        console = Console(width=_WIDTH)
    tables = {name: value for name, value in record.items() if isinstance(value, Mapping)}
    for title, fields in (tables or {"": record}).items():
        console.print(_table(title, fields))
    if note is not None:
        console.print(note)


def waiting(what: str) -> AbstractContextManager[object]:
    """A sign on standard error, if that is a terminal, that something takes its time."""
    from rich.console import Console  # noqa: PLC0415 # nor does the start of a migrated service

    return Console(stderr=True).status(f"{what} …")


def _table(title: str, fields: Mapping[str, Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415 # as in `show`
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title.replace("_", " "), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        # As Text, since a name that somebody chose may look like markup.
        table.add_row(name.replace("_", " "), Text(_written(value)))
    return table


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
