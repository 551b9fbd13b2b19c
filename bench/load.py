"""Asking a server as fast as it answers, with wrk."""

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
#: Seconds after which wrk takes an answer for lost; longer than anybody should have to wait.
_PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent over and over."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    #: These in turn.
    bodies: Sequence[str] = ()
    #: Whether the right answer is a refusal.
    refused: bool = False


class Measured(NamedTuple):
    """What one run found; the times are in milliseconds, the bytes those of one answer."""

    per_second: float
    p50: float
    p99: float
    size: float


def ask(port: int, request: Request, *, connections: int, seconds: float) -> Measured:
    """Send a request over so many connections that stay open, each as soon as it has its answer."""
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.exit("wrk is needed (Debian: apt-get install wrk)")
    headers = [f"{name}: {value}" for name, value in request.headers.items()]
    if request.bodies:
        headers.append("Content-Type: application/json")
    run = subprocess.run(
        [
            *pinned(LOAD),
            *(wrk, "--threads", "1", "--connections", str(connections)),
            # Whole seconds: it knows no others.
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{_PATIENCE}s"),
            *("--script", _SCRIPT, f"http://127.0.0.1:{port}{request.path}", "--"),
            *(request.method, str(len(request.bodies)), *request.bodies, *headers),
        ],
        check=True,
        capture_output=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    refused = found["requests"] if request.refused else 0
    # Those that were under way when the time was up are not among the requests.
    if not found["requests"] or found["lost"] or abs(found["not_2xx"] - refused) > connections:
        sys.exit(f"{request.method} {request.path}: not the answers that it should have: {found}")
    return Measured(
        found["requests"] / found["seconds"],
        found["p50"],
        found["p99"],
        found["bytes"] / found["requests"],
    )
