"""What the faults came to: a line for each kind, in one table below the tests."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest
from rich.table import Table

from tests.support.journal import Outcome

_COLUMNS = (
    "rounds",
    "acknowledged",
    "lost",
    "doubled",
    "unanswered",
    "5xx",
    "recovery, seconds",
)


@pytest.fixture(scope="session")
def outcomes(
    pytestconfig: pytest.Config, show: Callable[[Table], None]
) -> Iterator[Mapping[str, Outcome]]:
    """Each kind of fault by its name, which the tests count in."""
    found: defaultdict[str, Outcome] = defaultdict(Outcome)
    yield found
    table = Table(title=f"Faults on {pytestconfig.getoption('--database')}", title_justify="left")
    table.add_column("what went wrong")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for what, each in found.items():
        table.add_row(what, *each.cells())
    show(table)
