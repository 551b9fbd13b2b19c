"""The figures of all workers, as whoever asks for them gets them."""

import os
import urllib.request
from pathlib import Path

import pytest

from oneself.observability.metrics import listening
from tests.support.ports import free_port

_PID = 4_000_000


@pytest.mark.parametrize("problem", [ProcessLookupError, PermissionError])
def test_a_worker_that_is_gone_keeps_nobody_from_the_figures(monkeypatch, problem):
    """OP-11, OP-08: also when its number is that of somebody else's process by now."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def kill(pid, _signal):
        assert pid == _PID
        raise problem

    monkeypatch.setattr(os, "kill", kill)
    port = free_port()
    with listening("127.0.0.1", port):
        left = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / f"gauge_livesum_{_PID}.db"
        left.touch()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert answer.status == 200
        assert not left.exists()
