"""The service that the tests of the edge ask, over raw sockets."""

from collections.abc import Iterator

import pytest

from tests.http.running import Account, Running, open_account, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with little patience, and at the end a look at all that it logged."""
    folder = tmp_path_factory.mktemp("edge")
    settings = {"head_seconds": 2, "body_seconds": 2, "password_cost": 10}
    with running(folder, validate_responses=True, **settings) as started:
        yield started
    assert '"status":5' not in started.log
    assert '"level":"error"' not in started.log


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with room for bodies of 4 MiB, for what hides in a long one."""
    folder = tmp_path_factory.mktemp("roomy")
    with running(folder, body_bytes=4 * 1024 * 1024, password_cost=10) as started:
        yield started


@pytest.fixture(scope="session")
def alice(service: Running) -> Account:
    """Somebody with an account."""
    return open_account(service, "alice@example.com")
