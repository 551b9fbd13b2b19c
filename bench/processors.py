"""Processor pinning: servers and load generators run on different processors."""

import os
import sys
import time
from pathlib import Path

__all__ = ["LOAD", "SERVER", "pinned", "wait_until_idle"]

_ALL = sorted(os.sched_getaffinity(0))
if len(_ALL) == 1:
    sys.exit("Two processors are needed: one for the server and one for the load.")

SERVER, LOAD = _ALL[0], _ALL[-1]


def pinned(*processors: int) -> list[str]:
    """Return the prefix that pins a command and its children to processors."""
    return ["taskset", "--cpu-list", ",".join(map(str, processors))]


#: The idle share of an interval from which a processor counts as idle.
_IDLE = 0.9
_INTERVAL, _TIMEOUT = 0.1, 10.0


def wait_until_idle() -> None:
    """Wait, at most ten seconds, until the servers are idle.

    A server with many connections still answers their last requests after the measurement, and
    would take processor time from the next server.
    """
    until = time.monotonic() + _TIMEOUT
    idle = _idle_ticks()
    while time.monotonic() < until:
        time.sleep(_INTERVAL)
        before, idle = idle, _idle_ticks()
        if idle - before >= _IDLE * _INTERVAL * os.sysconf("SC_CLK_TCK"):
            return


def _idle_ticks() -> int:
    """Return the idle time of the servers' processor, in clock ticks (proc(5))."""
    [line] = [
        line
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith(f"cpu{SERVER} ")
    ]
    return int(line.split()[4])
