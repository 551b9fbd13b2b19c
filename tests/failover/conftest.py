"""Clusters of both versions of PostgreSQL, and the table of what faults did to them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import pytest
from rich.table import Table

from tests.failover.deployment import Deployment, deploy
from tests.failover.installations import VERSIONS, programs_of, temporary_folder
from tests.failover.rounds import Outcome
from tests.failover.table import Case, draw, write


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("failover")
    group.addoption("--first-seed", type=int, default=1, help="the seed of the first round")


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def deployment(version: str) -> Iterator[Deployment]:
    """Two replicas on a cluster, whose URL has all nodes."""
    programs = programs_of(version)
    with temporary_folder() as folder, deploy(folder, programs) as deployed:
        yield deployed


@pytest.fixture(scope="session")
def outcomes(
    pytestconfig: pytest.Config, show: Callable[[Table], None]
) -> Iterator[Mapping[Case, Outcome]]:
    """The outcome of each case, for tests to count in."""
    counted: defaultdict[Case, Outcome] = defaultdict(Outcome)
    yield counted
    if counted:
        show(draw(counted))
    if pytestconfig.getoption("--record"):
        write(counted)


@pytest.fixture
def seeds(pytestconfig: pytest.Config) -> range:
    first = pytestconfig.getoption("--first-seed")
    return range(first, first + (pytestconfig.getoption("--rounds") or 1))
