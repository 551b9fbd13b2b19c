"""The running service that these tests send raw requests to."""

from collections.abc import Iterator

import pytest

from tests.http.running import Account, Running, open_account, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with short timeouts; at the end all that it logged is checked."""
    folder = tmp_path_factory.mktemp("edge")
    settings = {"head_seconds": 2, "body_seconds": 2, "password_cost": 10}
    with running(folder, validate_responses=True, **settings) as started:
        yield started
    assert '"status":5' not in started.log
    assert '"level":"error"' not in started.log


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with a body limit of 4 MiB, for attacks that need long bodies."""
    folder = tmp_path_factory.mktemp("roomy")
    with running(folder, body_bytes=4 * 1024 * 1024, password_cost=10) as started:
        yield started


@pytest.fixture(scope="session")
def alice(service: Running) -> Account:
    """A user with an account."""
    return open_account(service, "alice@example.com")
