"""What a suite says at the end, below its tests."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

_TABLES = pytest.StashKey[list[Table]]()


@pytest.fixture(scope="session")
def show(pytestconfig: pytest.Config) -> Callable[[Table], None]:
    """Have a table printed below the tests, filled until then."""
    tables = pytestconfig.stash.setdefault(_TABLES, [])
    return tables.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for table in terminalreporter.config.stash.get(_TABLES, []):
        text = io.StringIO()
        Console(file=text, width=120).print(table)
        terminalreporter.write_line("")
        terminalreporter.write_line(text.getvalue().rstrip())
