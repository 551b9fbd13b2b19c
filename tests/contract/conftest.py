"""The services that the rows are asked of, and their people."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.arrangements import arranged
from tests.support.asking import Answer
from tests.support.attempts import Attempt
from tests.support.people import People, people_of
from tests.support.rows import Row, load_rows
from tests.support.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it is set up by default, but with little patience and cheap hashes."""
    with arranged(None, tmp_path_factory.mktemp("open")) as running:
        yield running


@pytest.fixture(scope="session")
def closed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator who lets nobody sign up."""
    with arranged("closed", tmp_path_factory.mktemp("closed")) as running:
        yield running


@pytest.fixture(scope="session")
def frozen_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator who has added a policy of their own."""
    with arranged("frozen", tmp_path_factory.mktemp("frozen")) as running:
        yield running


@pytest.fixture(scope="session")
def scarce_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator with small budgets, behind a proxy that tells it who asks.

    Its rows ask from addresses of their own, so that none uses up what another counts on.
    """
    with arranged("scarce", tmp_path_factory.mktemp("scarce")) as running:
        yield running


@pytest.fixture(scope="session")
def people(service: Service) -> Iterator[People]:
    with people_of(service) as known:
        yield known


@pytest.fixture(scope="session")
def closed_people(closed_service: Service) -> Iterator[People]:
    with people_of(closed_service) as known:
        yield known


@pytest.fixture(scope="session")
def frozen_people(frozen_service: Service) -> Iterator[People]:
    with people_of(frozen_service) as known:
        yield known


@pytest.fixture(scope="session")
def scarce_people(scarce_service: Service) -> Iterator[People]:
    with people_of(scarce_service) as known:
        yield known


@pytest.fixture(scope="session")
def answers_to_dribbles(service: Service, people: People) -> Mapping[str, tuple[Attempt, Answer]]:
    """What the rows that dribble are answered: asked all at once, since each waits for a second."""

    def answer(row: Row) -> tuple[Attempt, Answer]:
        attempt = Attempt(row, service, people)
        return attempt, service.ask(attempt.prepare())

    rows = [row for row in load_rows() if row.dribbles]
    with ThreadPoolExecutor(max(1, len(rows))) as pool:
        return dict(zip(map(str, rows), pool.map(answer, rows), strict=True))
