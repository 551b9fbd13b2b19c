"""Prometheus metrics of all workers, as served by the main process."""

import os
import urllib.request
from pathlib import Path

import pytest

from oneself.observability.metrics import listening
from tests.http.wire import ask
from tests.support.deadlines import patient
from tests.support.ports import free_port

_PID = 4_000_000


@pytest.mark.parametrize("problem", [ProcessLookupError, PermissionError])
def test_metrics_are_served_after_a_worker_has_ended(monkeypatch, problem):
    """OP-11, OP-08: also if its process id is in use by another user's process."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def kill(pid, _signal):
        assert pid == _PID
        raise problem

    monkeypatch.setattr(os, "kill", kill)
    port = free_port()
    with listening("127.0.0.1", port, hosts=frozenset({"localhost"})):
        leftover = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / f"gauge_livesum_{_PID}.db"
        leftover.touch()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/metrics", timeout=patient(5)
        ) as response:
            assert response.status == 200
        assert not leftover.exists()


def test_metrics_are_served_while_a_worker_starts(monkeypatch):
    """OP-11: the library makes each file of a worker empty at first."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    port = free_port()
    with listening("127.0.0.1", port, hosts=frozenset({"localhost"})):
        (Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / f"counter_{_PID}.db").touch()
        assert ask(port, "GET", "/metrics").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:9464", 200), ("127.0.0.1", 200), ("10.1.2.3:9464", 200), ("[::1]:9464", 200)),
        *(("metrics.example", 200), ("evil.example", 421), ("", 421), ("me@localhost", 421)),
    ],
)
def test_metrics_are_served_for_known_hosts_only(monkeypatch, host, status):
    """OP-11, attack finding 22: a page whose name points here cannot read them."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    port = free_port()
    with listening("127.0.0.1", port, hosts=frozenset({"localhost", "metrics.example"})):
        answer = ask(port, "GET", "/metrics", host=host)
    assert answer.status == status
    assert (b"that host" in answer.body) == (status == 421)
