"""The table of what each tool said."""

from collections.abc import Callable, Iterator

import pytest
from rich.table import Table

from tests.third_party.table import Results


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config, show: Callable[[Table], None]) -> Iterator[Results]:
    """The results, for tests to add to."""
    collected = Results()
    yield collected
    show(collected.draw())
    if pytestconfig.getoption("--record"):
        collected.write()
