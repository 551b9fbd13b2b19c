"""Services that the rows run on, and their users."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.http_client import Answer
from tests.support.databases import Storage
from tests.support.operator_acts import open_actors
from tests.support.service import Service
from tests.support.services import started_as


@pytest.fixture(scope="session")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("open")
    # The probes wait for the timeout of a request head.
    with started_as(None, folder, head_seconds=3, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def closed_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("closed")
    with started_as("closed", folder, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def frozen_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("frozen")
    with started_as("frozen", folder, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def scarce_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("scarce")
    with started_as("scarce", folder, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def actors(service: Service) -> Iterator[Actors]:
    with open_actors(service) as users:
        yield users


@pytest.fixture(scope="session")
def closed_actors(closed_service: Service) -> Iterator[Actors]:
    with open_actors(closed_service) as users:
        yield users


@pytest.fixture(scope="session")
def frozen_actors(frozen_service: Service) -> Iterator[Actors]:
    with open_actors(frozen_service) as users:
        yield users


@pytest.fixture(scope="session")
def scarce_actors(scarce_service: Service) -> Iterator[Actors]:
    with open_actors(scarce_service) as users:
        yield users


@pytest.fixture(scope="session")
def slow_row_answers(service: Service, actors: Actors) -> Mapping[str, tuple[CaseRunner, Answer]]:
    """The responses to rows with slow bodies, sent in parallel because each waits for a second."""

    def answer(row: Row) -> tuple[CaseRunner, Answer]:
        runner = CaseRunner(row, service, actors)
        return runner, service.ask(runner.prepare())

    rows = [row for row in load_rows() if row.dribbles]
    with ThreadPoolExecutor(max(1, len(rows))) as pool:
        return dict(zip(map(str, rows), pool.map(answer, rows), strict=True))
