"""Fuzzing of the started service: briefly by default, thoroughly in `tox run -e conformance`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Storage
from tests.support.service import Service
from tests.support.services import started_as


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("oneself")
    group.addoption("--examples", type=int, default=4, help="generated requests for each operation")
    group.addoption("--seeds", default="1", help="seeds of the generator, separated by commas")
    group.addoption("--whole", action="store_true", help="all credentials, and measure coverage")


@pytest.fixture(scope="session")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without rate limits, which a fuzzer would exceed."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with started_as("fuzzed", folder, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def credentials(service: Service) -> Path:
    """The credentials file of its users."""
    path = service.folder / "credentials.json"
    path.write_text(json.dumps(service.actors))
    return path


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of all recorded exchanges."""
    return tmp_path_factory.mktemp("traffic") / "exchanges.jsonl"


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config) -> None:
    """Skip tests that take minutes, unless `--whole` is given."""
    if not pytestconfig.getoption("--whole"):
        pytest.skip("only with --whole, as `tox run -e conformance` has it")
