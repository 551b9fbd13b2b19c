"""Tests that requests leave nothing behind in a worker."""

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.http.running import PASSWORD, Account, Running, open_account, running
from tests.support.deadlines import patient

#: Rounds before the measurement: afterwards every thread has started and opened its connections.
_WARM_UP, _MORE = 10, 40


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the cheapest hash, since each round has two logins."""
    folder = tmp_path_factory.mktemp("leaks")
    with running(folder, password_cost=10, body_seconds=2) as started:
        yield started


def _ask_everything(service: Running, alice: Account) -> None:
    """Send requests that succeed, and some that are rejected at each stage."""
    bearer = {"Authorization": f"Bearer {alice.session}"}
    right, wrong = (
        {"email": alice.email, "password": password} for password in (PASSWORD, "wrong")
    )
    for method, path, headers, body, status in (
        ("GET", "/v1/me", bearer, None, HTTPStatus.OK),
        ("GET", "/v1/me", {}, None, HTTPStatus.UNAUTHORIZED),
        ("GET", "/nothing", {}, None, HTTPStatus.NOT_FOUND),
        ("PATCH", "/resources/me/settings", bearer, {"a": 1}, HTTPStatus.OK),
        ("PATCH", "/resources/me/settings", bearer, b"{", HTTPStatus.BAD_REQUEST),
        ("POST", "/v1/auth/login", {}, wrong, HTTPStatus.UNAUTHORIZED),
        ("POST", "/v1/auth/login", {}, right, HTTPStatus.OK),
    ):
        answer = service.ask(method, path, headers=headers, body=body)
        assert answer.status == status, (method, path)


def _count_resources(service: Running) -> Mapping[str, int]:
    worker = Path("/proc") / str(service.worker)
    return {name: len(list((worker / name).iterdir())) for name in ("fd", "task")}


@pytest.mark.nightly
def test_requests_leave_no_file_and_no_thread_behind(service: Running):
    """OP-07: each over a connection of its own. On a busy machine a pool may start one more thread
    late; a leak would leave as many as there are rounds."""
    alice = open_account(service, "alice@example.com")
    for _ in range(_WARM_UP):
        _ask_everything(service, alice)
    before = _count_resources(service)
    for _ in range(_MORE):
        _ask_everything(service, alice)
    deadline = time.monotonic() + patient(5)
    while any(_count_resources(service)[name] >= before[name] + _MORE for name in before):
        assert time.monotonic() < deadline, (before, _count_resources(service))
        time.sleep(0.05)
