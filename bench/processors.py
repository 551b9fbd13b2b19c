"""Which processor does what: one serves and another one asks, so that neither takes from both."""

import os
import sys
import time
from pathlib import Path

__all__ = ["LOAD", "SERVER", "pinned", "wait_until_idle"]

_ALL = sorted(os.sched_getaffinity(0))
if len(_ALL) == 1:
    sys.exit("two processors are needed: one that serves, and one that asks")

SERVER, LOAD = _ALL[0], _ALL[-1]


def pinned(*processors: int) -> list[str]:
    """What a command begins with, so that it and all that it starts stay on these processors."""
    return ["taskset", "--cpu-list", ",".join(map(str, processors))]


#: What part of a moment a processor may be busy with other things and still count as idle.
_IDLE = 0.9
_MOMENT, _PATIENCE = 0.1, 10.0


def wait_until_idle() -> None:
    """Wait, ten seconds at most, until the servers have nothing to do.

    One that was asked over many connections still has their last requests to answer when nobody
    waits for that any more, and would take the time of the next one to be asked.
    """
    until = time.monotonic() + _PATIENCE
    idle = _idle_ticks()
    while time.monotonic() < until:
        time.sleep(_MOMENT)
        before, idle = idle, _idle_ticks()
        if idle - before >= _IDLE * _MOMENT * os.sysconf("SC_CLK_TCK"):
            return


def _idle_ticks() -> int:
    """How long the processor of the servers has had nothing to do, in clock ticks (proc(5))."""
    [line] = [
        line
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith(f"cpu{SERVER} ")
    ]
    return int(line.split()[4])
