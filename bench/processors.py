"""Which processor does what: one serves and another one asks, so that neither takes from both."""

import os
import sys

__all__ = ["LOAD", "SERVER", "pinned"]

_ALL = sorted(os.sched_getaffinity(0))
if len(_ALL) == 1:
    sys.exit("two processors are needed: one that serves, and one that asks")

SERVER, LOAD = _ALL[0], _ALL[-1]


def pinned(*processors: int) -> list[str]:
    """What a command begins with, so that it and all that it starts stay on these processors."""
    return ["taskset", "--cpu-list", ",".join(map(str, processors))]
