"""What commands print: tables for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from oneself.commands.console.failures import Failure

__all__ = ["AsJson", "show", "show_list", "waiting"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")
]

#: So wide a table shows every token in one line, to be copied; a narrower terminal wraps it.
_WIDTH = 100


def show(record: Mapping[str, Any], *, as_json: bool, note: str | None = None) -> None:
    """Print a record; one whose values are records is a table for each of them.

    Raises:
        Failure: It cannot be written.
    """
    try:
        _print(record, as_json=as_json, note=note)
        # At the end of the process nobody could say it.
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever was reading wants no more, and no sentence about it
    except OSError as trouble:
        raise Failure(
            f"What came of it cannot be printed: {trouble.strerror}. It stands all the same; see"
            " that standard output can be written before the next command."
        ) from trouble


def _print(record: Mapping[str, Any], *, as_json: bool, note: str | None) -> None:
    if as_json:
        sys.stdout.write(json.dumps(record) + "\n")
        return
    from rich.console import Console  # programs do not need it

    console = Console()
    if console.width < _WIDTH:
        console = Console(width=_WIDTH)
    tables = {name: value for name, value in record.items() if isinstance(value, Mapping)}
    for title, fields in (tables or {"": record}).items():
        console.print(_table(title, fields))
    if note is not None:
        console.print(note)


def show_list(name: str, records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print records of one kind: a table for each, or one JSON object that has them by a name."""
    if as_json or not records:
        show({name: list(records)}, as_json=as_json)
        return
    one = name.removesuffix("s")
    tables = {f"{one} {number}": record for number, record in enumerate(records, 1)}
    show(tables, as_json=False)


def waiting(what: str) -> AbstractContextManager[object]:
    """A sign on standard error, if that is a terminal, that something takes its time."""
    from rich.console import Console  # nor does the start of a migrated service

    return Console(stderr=True).status(f"{what} …")


def _table(title: str, fields: Mapping[str, Any]) -> Any:
    from rich.table import Table  # as in `show`
    from rich.text import Text

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
