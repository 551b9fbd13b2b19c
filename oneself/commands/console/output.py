"""Output of commands: tables for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from oneself.commands.console.failures import Failure

__all__ = ["AsJson", "show", "show_list", "show_progress"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")
]

#: Wide enough for the longest token on one line, so that it can be copied.
_WIDTH = 100


def show(record: Mapping[str, Any], *, as_json: bool, note: str | None = None) -> None:
    """Print a record as a table; if its values are records, as one table for each."""
    try:
        _print(record, as_json=as_json, note=note)
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
    """Print records of one kind: a table for each, or one JSON object with them as `name`."""
    if as_json or not records:
        show({name: list(records)}, as_json=as_json)
        return
    one = name.removesuffix("s")
    tables = {f"{one} {number}": record for number, record in enumerate(records, 1)}
    show(tables, as_json=False)


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
