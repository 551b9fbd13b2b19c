"""Load generation with wrk."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from processors import LOAD, pinned

__all__ = ["Measured", "Request", "ask"]

_SCRIPT = Path(__file__).with_name("load.lua")
#: Seconds after which wrk counts a response as lost.
_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send repeatedly."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Bodies, sent in turn.
    bodies: Sequence[str] = ()
    #: The expected response is an error.
    refused: bool = False


class Measured(NamedTuple):
    """The result of one run; times in milliseconds, bytes per response."""

    per_second: float
    p50: float
    p99: float
    size: float


def ask(port: int, request: Request, *, connections: int, seconds: float) -> Measured:
    """Send a request over keep-alive connections, each as soon as it has its response."""
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    headers = [f"{name}: {value}" for name, value in request.headers.items()]
    if request.bodies:
        headers.append("Content-Type: application/json")
    run = subprocess.run(
        [
            *pinned(LOAD),
            *(wrk, "--threads", "1", "--connections", str(connections)),
            # wrk accepts only whole seconds.
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT}s"),
            *("--script", _SCRIPT, f"http://127.0.0.1:{port}{request.path}", "--"),
            *(request.method, str(len(request.bodies)), *request.bodies, *headers),
        ],
        check=True,
        capture_output=True,
    )
    result = json.loads(run.stdout.splitlines()[-1])
    refused = result["requests"] if request.refused else 0
    # Requests in flight at the end are not included.
    if not result["requests"] or result["lost"] or abs(result["not_2xx"] - refused) > connections:
        sys.exit(f"{request.method} {request.path}: unexpected responses: {result}")
    return Measured(
        result["requests"] / result["seconds"],
        result["p50"],
        result["p99"],
        result["bytes"] / result["requests"],
    )
