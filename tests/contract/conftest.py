"""The services that the rows are asked of, and their people."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from shutil import copytree

import pytest

from tests.support.asking import Answer
from tests.support.attempts import Attempt
from tests.support.databases import Storage
from tests.support.people import People, people_of
from tests.support.rows import Row, load_rows
from tests.support.service import ROOT, Service, started

#: What an operator would write for a time in which little may be changed, so much that each
#: dialect refuses something by it. Two of them forbid the same, to show where a second notice goes.
FREEZE = """
@id("freeze-passwords")
@notice("Passwords cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/auth:write", resource);

@id("freeze-tokens")
@notice("Access tokens cannot be regenerated during the maintenance of 5 April.")
forbid (principal, action in Action::"me/token:write", resource);

@id("freeze-profiles")
@notice("Profiles cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/profile:write", resource);

@id("freeze-writing")
@notice("It ends at noon.")
forbid (
    principal,
    action in [Action::"me/token:write", Action::"me/profile:write"],
    resource
);

@id("no-current-user")
forbid (principal, action == Action::"ipto.getCurrentUser", resource);
"""


@pytest.fixture(scope="session")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it is set up by default, but with little patience and cheap hashes."""
    with started(tmp_path_factory.mktemp("open"), **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def closed_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator who lets nobody sign up."""
    with started(
        tmp_path_factory.mktemp("closed"), signup="closed", **storage.settings()
    ) as running:
        yield running


@pytest.fixture(scope="session")
def frozen_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator who has added a policy of their own."""
    folder = tmp_path_factory.mktemp("frozen")
    policies = copytree(ROOT / "policies", folder / "policies")
    (policies / "freeze.cedar").write_text(FREEZE)
    with started(folder, policy_dir=policies, **storage.settings()) as running:
        yield running


@pytest.fixture(scope="session")
def scarce_service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of an operator with small budgets, behind a proxy that tells it who asks.

    Its rows ask from addresses of their own, so that none uses up what another counts on.
    """
    budgets = {"signup": "1/3600", "account": "2/3600", "source": "4/600", "mail": "5/3600"}
    with started(
        tmp_path_factory.mktemp("scarce"),
        trusted_proxies="127.0.0.1",
        **storage.settings(),
        **{f"throttle_{name}": budget for name, budget in budgets.items()},
    ) as running:
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
