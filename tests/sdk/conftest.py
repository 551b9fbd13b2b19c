"""A service, somebody new to it, and what `sdk/build.py` has built."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.newcomer import Newcomer
from tests.support.people import PASSWORD, People, people_of
from tests.support.pictures import encoded, gradient
from tests.support.service import Service, started


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("sdk")) as running:
        yield running


@pytest.fixture(scope="session")
def people(service: Service) -> Iterator[People]:
    with people_of(service) as known:
        yield known


@pytest.fixture
def newcomer(service: Service, people: People) -> Newcomer:
    person = people.sign_up()
    return Newcomer(
        url=service.url,
        email=person["email"],
        password=PASSWORD,
        session=person["session_token"],
        tenant_uuid=person["tenant_uuid"],
        client_id=person["client_id"],
        client_secret=person["client_secret"],
        picture=encoded(gradient()),
    )


@pytest.fixture(scope="session")
def dist() -> Path:
    """Where the built SDKs are; `tox run -e sdk` builds them first."""
    return Path(os.environ["ONESELF_SDK_DIST"])


@pytest.fixture(scope="session")
def work() -> Path:
    """Where they were built, and what they were built with is installed."""
    return Path(os.environ["ONESELF_SDK_WORK"])
