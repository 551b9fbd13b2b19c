"""Starting servers on a processor, and measuring their memory."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from processors import SERVER, pinned

__all__ = ["ROOT", "Running", "free_port", "memory", "running"]

ROOT = Path(__file__).parent.parent

#: Seconds; a slower start is a failure.
_TIMEOUT = 60.0
_MEBIBYTE = 1024


class Running(NamedTuple):
    """A running server; `started` is the seconds until it accepted connections."""

    port: int
    process: int
    started: float


@contextmanager
def running(
    command: list[str],
    *,
    port: int,
    settings: Mapping[str, str],
    log: Path,
    processors: tuple[int, ...] = (SERVER,),
    folder: Path = ROOT,
) -> Iterator[Running]:
    """Run a server until the end of the block, and write its output to a file.

    A file instead of /dev/null, so that writing log lines costs what it costs.
    """
    start = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*pinned(*processors), *command],
            cwd=folder,
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() > start + _TIMEOUT:
                sys.exit(f"{command} does not serve:\n{log.read_text()[-2000:]}")
            time.sleep(0.005)
        yield Running(port, process.pid, time.perf_counter() - start)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def memory(process: int) -> list[float]:
    """Return the resident MiB of a process and of its descendants, the process first."""
    below = [memory(child) for child in _children(process)]
    status = Path(f"/proc/{process}/status").read_text()
    [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return [int(resident) / _MEBIBYTE, *(each for found in below for each in found)]


def _children(process: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
            # The main process may accept connections before a worker can respond.
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.1 ")
    except OSError:
        return False
