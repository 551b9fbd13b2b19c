"""Deployments on both versions of PostgreSQL, and the table of what faults did to them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.table import Table

from tests.failover.deployment import Deployment, deploy
from tests.failover.installations import temporary_folder
from tests.failover.record import Round, append, read
from tests.failover.table import draw, write


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("failover")
    group.addoption("--first-seed", type=int, default=1, help="the seed of the first round")
    group.addoption(
        "--rounds-file",
        type=Path,
        metavar="FILE",
        help="add the rounds to this file; --record writes the table of all of its rounds into"
        " docs/operations.md",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each seed."""
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed")
        rounds = metafunc.config.getoption("--rounds") or 1
        metafunc.parametrize("seed", range(first, first + rounds), ids=lambda seed: f"seed {seed}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, in the process that leads the others."""
    options, path = session.config.option, session.config.option.rounds_file
    if options.record and path and path.exists() and not hasattr(session.config, "workerinput"):
        write(read(path))


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Two replicas on a cluster; the parameter has its version, and what is in front of it."""
    version, front = request.param
    with temporary_folder() as folder, deploy(folder, version, front=front) as deployed:
        yield deployed


@pytest.fixture(scope="session")
def record(
    pytestconfig: pytest.Config, show: Callable[[Table], None]
) -> Iterator[Callable[[Round], None]]:
    """Record a round."""
    rounds: list[Round] = []
    path = pytestconfig.getoption("--rounds-file")

    def add(done: Round) -> None:
        rounds.append(done)
        if path:
            append(path, done)

    yield add
    if rounds:
        show(draw(rounds))
