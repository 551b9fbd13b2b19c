"""Deadlines that grow with the load of the machine."""

import atexit
import subprocess
import sys
import threading
import time
from functools import cache, lru_cache

__all__ = ["patient"]

_ROUND_TRIPS = 20
#: Beyond this a test that hangs would hold up the whole suite.
_LONGEST = 20.0
_LOCK = threading.Lock()

# Does a millisecond of work for each line it reads, and answers with the processor seconds used.
_PEER = """
import hashlib, sys, time
for line in sys.stdin:
    began = time.process_time()
    for _ in range(200):
        hashlib.sha256(bytes(4096)).digest()
    print(time.process_time() - began, flush=True)
"""


def patient(seconds: float) -> float:
    """Return a deadline in seconds: the given one, times the slowness of the machine just now.

    The slowness is measured: what a round trip to another process takes, in ratio to the processor
    time spent on it. It is 1 on an idle machine and about 3 beside two busy loops on two cores.
    """
    with _LOCK:
        return seconds * min(_LONGEST, max(1.0, _slowness(int(time.monotonic()))))


@lru_cache(maxsize=1)
def _slowness(_second: int) -> float:
    """Measure once a second, since a test can ask in fifty threads at once."""
    peer = _peer()
    assert peer.stdin
    assert peer.stdout
    began, spent = time.perf_counter(), 0.0
    for _ in range(_ROUND_TRIPS):
        peer.stdin.write("\n")
        peer.stdin.flush()
        spent += float(peer.stdout.readline())
    return (time.perf_counter() - began) / spent


@cache
def _peer() -> subprocess.Popen[str]:
    peer = subprocess.Popen(
        [sys.executable, "-I", "-c", _PEER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert peer.stdin
    assert peer.stdout
    peer.stdin.write("\n")  # once unmeasured, so that its start does not count
    peer.stdin.flush()
    peer.stdout.readline()
    atexit.register(peer.communicate)  # closes its input, at which it ends
    return peer
