"""Output of commands: tables and lines for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated, Any

import typer

from oneself.commands.console.failures import Failure

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")
]

Search = Annotated[
    str | None,
    typer.Option("--search", metavar="TEXT", help="List only entries that contain this text."),
]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of entries to list.")]

#: Wide enough for the longest token on one line, so that it can be copied.
_WIDTH = 100


def show(record: Mapping[str, Any], *, as_json: bool, note: str | None = None) -> None:
    """Print a record as a table; if its values are records, as one table for each."""
    _report(partial(_print, record, as_json=as_json, note=note))


def _report(write: Callable[[], None]) -> None:
    """Print the result of a command that was carried out."""
    try:
        write()
        # An error at the exit of the process could not be reported.
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # the reader has closed the pipe on purpose
    except OSError as error:
        raise Failure(
            f"The result cannot be printed: {error.strerror}. The command was carried out: do not"
            " repeat it. Check that standard output can be written before the next command."
        ) from error


def _print(record: Mapping[str, Any], *, as_json: bool, note: str | None) -> None:
    if as_json:
        sys.stdout.write(json.dumps(record) + "\n")
        return
    from rich.console import Console  # not needed with --json

    console = Console()
    if console.width < _WIDTH:
        console = Console(width=_WIDTH)
    tables = {name: value for name, value in record.items() if isinstance(value, Mapping)}
    for title, fields in (tables or {"": record}).items():
        console.print(_table(title, fields))
    if note is not None:
        console.print(note)


def show_list(name: str, records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print records of one kind: a line for each, or one JSON object with them as `name`.

    The lines are not wrapped, so that they can be searched and counted.
    """
    if as_json or not records:
        show({name: list(records)}, as_json=as_json)
        return
    _report(partial(_print_lines, records))


def _print_lines(records: Sequence[Mapping[str, Any]]) -> None:
    rows = [[*records[0]], *([_one_line(value) for value in each.values()] for each in records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _one_line(value: object) -> str:
    # A control character in a name chosen by a user must not reach the terminal.
    return "".join(each if each.isprintable() else "?" for each in _format_value(value))


def show_progress(what: str) -> AbstractContextManager[object]:
    """Show a spinner on standard error, if that is a terminal, while the work takes time."""
    from rich.console import Console  # not needed when `serve` starts on a migrated database

    return Console(stderr=True).status(f"{what} …")


def _table(title: str, fields: Mapping[str, Any]) -> Any:
    from rich.table import Table  # as in `show`
    from rich.text import Text

    table = Table(title=title.replace("_", " "), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        # As Text, since a name chosen by a user may look like markup.
        table.add_row(name.replace("_", " "), Text(_format_value(value)))
    return table


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
