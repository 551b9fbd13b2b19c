"""An application to inject faults into, and a table of them, printed below the tests."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest
from rich.table import Table

from oneself_conformance.actors import Actors
from tests.support.databases import Storage
from tests.support.in_process import InProcess, open_application
from tests.support.journal import Outcome
from tests.support.operator_acts import open_actors

_COLUMNS = (
    "rounds",
    "acknowledged",
    "lost",
    "duplicated",
    "unanswered",
    "5xx",
    "recovery, seconds",
)


@pytest.fixture(scope="module")
def app(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """The application over a database of its own."""
    with open_application(storage, tmp_path_factory.mktemp("app")) as in_process:
        yield in_process


@pytest.fixture(scope="module")
def actors(app: InProcess) -> Iterator[Actors]:
    """The users and clients of the contract rows, in that application."""
    with open_actors(app) as opened:
        yield opened


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
