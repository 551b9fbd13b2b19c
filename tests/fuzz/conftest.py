"""How hard the started service is fuzzed: a little by default, thoroughly by `tox run -e prove`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Storage
from tests.support.service import Service
from tests.support.services import started_as


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("oneself")
    group.addoption("--examples", type=int, default=4, help="requests made up for each operation")
    group.addoption("--seeds", default="1", help="where making up begins, by commas")
    group.addoption("--whole", action="store_true", help="every credential, and count what is seen")


@pytest.fixture(scope="session")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that is fuzzed: with no budgets, since a fuzzer fails more often than anybody."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with started_as("fuzzed", folder, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def credentials(service: Service) -> Path:
    """The file of its people's credentials."""
    path = service.folder / "credentials.json"
    path.write_text(json.dumps(service.people))
    return path


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything that is asked and answered is written down."""
    return tmp_path_factory.mktemp("traffic") / "exchanges.jsonl"


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config) -> None:
    """For what takes minutes."""
    if not pytestconfig.getoption("--whole"):
        pytest.skip("only with --whole, as `tox run -e prove` has it")
