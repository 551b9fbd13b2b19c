"""Which database the tests are run on: `--database sqlite`, the default, or `postgresql`."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Files, Servers, Storage
from tests.support.postgresql import databases


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what the tests of the unit, of the service and of faults keep their data in",
    )

    parser.addoption(
        "--rounds", type=int, help="how often each thing is killed, on both databases; as a rule 20"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the one kind of database and is not asked for."""
    chosen = config.getoption("--database")
    for item in items:
        for mark in item.iter_markers("only_on"):
            [kind] = mark.args
            if kind != chosen:
                item.add_marker(pytest.mark.skip(reason=f"about {kind} and nothing else"))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Makes databases on a PostgreSQL server, whatever was chosen; it starts in a second."""
    with databases() as made:
        yield Servers(made)


@pytest.fixture(scope="session")
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Makes the databases of the kind that was chosen."""
    if request.config.getoption("--database") == "sqlite":
        return Files(tmp_path_factory.mktemp("migrated"))
    chosen: Servers = request.getfixturevalue("servers")
    return chosen
