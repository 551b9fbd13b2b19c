"""Tests of many connections, and of the limit of open files."""

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest

from oneself.runtime.connections import close_idle
from tests.http.running import Running, open_account, running
from tests.http.wire import Wire
from tests.support.deadlines import patient

_ROOT = Path(__file__).parents[2]


@contextmanager
def _idle(service: Running, count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=5))
        yield


def _limit_of(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def _most_descriptors(pid: int) -> int:
    """Return the most open files of a process in two seconds."""
    counts = []
    for _ in range(20):
        counts.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        time.sleep(0.1)
    return max(counts)


def test_idle_connections_leave_the_service_responding(tmp_path: Path):
    """HT-08, attack finding 13: under a soft limit that is lower than the connections."""
    with running(tmp_path, ulimit="-Sn 256", head_seconds=15, password_cost=10) as service:
        user = open_account(service, "alice@example.com")
        assert _limit_of(service.process.pid) == _limit_of(service.worker) > 256
        with _idle(service, 600):
            for _ in range(5):
                began = time.monotonic()
                assert service.ask("GET", "/v1/me", headers=user.bearer).status == HTTPStatus.OK
                assert time.monotonic() - began < patient(2)
    assert "Too many open files" not in service.log


def test_connections_beyond_a_hard_limit_wait_and_take_no_other_descriptor(tmp_path: Path):
    """HT-08, attack finding 13: the database, the log and the policies keep theirs."""
    with running(tmp_path, ulimit="-n 256", head_seconds=5, password_cost=10) as service:
        user = open_account(service, "alice@example.com")
        with _idle(service, 400):
            assert 96 < _most_descriptors(service.worker) < 200
            # Accepted when the idle ones are closed.
            assert service.ask("GET", "/v1/me", headers=user.bearer).status == HTTPStatus.OK
        assert _limit_of(service.worker) == 256
    assert "Too many open files" not in service.log
    assert '"level":"error"' not in service.log


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 524_288, "4096 4256"),
        (1024, 1024, "864 1024"),
        (256, 512, "352 512"),
        (65_536, 524_288, "4096 65536"),
        (64, 64, "1 64"),
    ],
)
def test_limit_is_raised_as_far_as_needed_and_allowed(soft: int, hard: int, expected: str):
    """HT-08, attack finding 13."""
    program = f"""
import resource
limits = [({soft}, {hard})]
resource.getrlimit = lambda _name: limits[-1]
resource.setrlimit = lambda _name, limit: limits.append(limit)
from oneself.runtime.descriptors import raise_limit
print(raise_limit(4), limits[-1][0])
assert limits[-1][1] == {hard}
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == expected


@contextmanager
def _used_slowly(service: Running, count: int) -> Iterator[list[Wire]]:
    """Hold connections with an answered request on each, as a client with one now and then."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(count)]
        for wire in wires:
            wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield wires


@pytest.mark.nightly
def test_one_client_cannot_hold_all_connections(tmp_path: Path):
    """HT-08, reliability finding 7: the idle ones of the largest client are closed first."""
    with running(tmp_path, ulimit="-n 256", head_seconds=15, password_cost=10) as service:
        user = open_account(service, "alice@example.com")
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with _used_slowly(service, 150) as wires:
            time.sleep(3)
            for wire in wires:  # not idle for as long as a head may take
                wire.send(request)
            began = time.monotonic()
            assert service.ask("GET", "/v1/me", headers=user.bearer).status == HTTPStatus.OK
            assert time.monotonic() - began < patient(6)
    assert '"level":"error"' not in service.log


def test_idle_connections_near_the_limit_are_closed_and_busy_ones_are_not():
    """HT-08, reliability finding 7."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        clients, accepted = [], []
        for _ in range(40):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            accepted.append(stack.enter_context(server.accept()[0]))
        time.sleep(1.2)
        clients[1].send(b"GET")
        time.sleep(0.05)
        busy = clients[0].getsockname()
        files = len([*Path("/proc/self/fd").iterdir()])
        assert close_idle(lambda peer: peer == busy, limit=40_000) == 0
        assert close_idle(lambda peer: peer == busy, limit=40) == 10
        assert len([*Path("/proc/self/fd").iterdir()]) == files
        accepted[1].settimeout(0)
        assert accepted[1].recv(10) == b"GET"  # not idle
        ended = []
        for number, each in enumerate(accepted):
            each.settimeout(0)
            with suppress(BlockingIOError):
                each.recv(10)
                ended.append(number)
        assert len(ended) == 10
        assert not {0, 1} & {*ended}
        assert clients[0].getsockname() == busy
