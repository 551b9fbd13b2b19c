"""A summary table of the faults injected, one line per kind, printed below the tests."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest
from rich.table import Table

from tests.support.journal import Outcome

_COLUMNS = (
    "rounds",
    "acknowledged",
    "lost",
    "duplicated",
    "unanswered",
    "5xx",
    "recovery, seconds",
)


@pytest.fixture(scope="session")
def outcomes(
    pytestconfig: pytest.Config, show: Callable[[Table], None]
) -> Iterator[Mapping[str, Outcome]]:
    """The outcome of each kind of fault by its name, for tests to count in."""
    outcomes_by_fault: defaultdict[str, Outcome] = defaultdict(Outcome)
    yield outcomes_by_fault
    table = Table(title=f"Faults on {pytestconfig.getoption('--database')}", title_justify="left")
    table.add_column("fault")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for fault, outcome in outcomes_by_fault.items():
        table.add_row(fault, *outcome.cells())
    show(table)
