"""Tables that tests fill while they run, printed below them."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

__all__ = ["pytest_terminal_summary", "show"]

_TABLES = pytest.StashKey[list[Table]]()


@pytest.fixture(scope="session")
def show(pytestconfig: pytest.Config) -> Callable[[Table], None]:
    """Have a table printed below the tests, filled until then."""
    tables = pytestconfig.stash.setdefault(_TABLES, [])
    return tables.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # More than one folder may have asked for this.
    tables = terminalreporter.config.stash.get(_TABLES, [])
    while tables:
        text = io.StringIO()
        Console(file=text, width=120).print(tables.pop(0))
        terminalreporter.write_line("")
        terminalreporter.write_line(text.getvalue().rstrip())
