"""Prints how long the service takes to its first answer on an existing SQLite file."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROUNDS = 5
#: Longer than this is no start but a failure.
PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens on in this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_and_stop(folder: str) -> float:
    """Seconds from the start of the process to its first answer."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port)],
        env={**os.environ, "ONESELF_DATA_DIR": folder},
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        while time.perf_counter() - started < PATIENCE:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                    return time.perf_counter() - started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    sys.exit(f"no answer within {PATIENCE:.0f} seconds")


def main() -> None:
    """Start it once to make the file, and then measure."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = start_and_stop(folder)
        seconds = [start_and_stop(folder) for _ in range(ROUNDS)]
    print(f"fresh database, migrated first   {fresh:5.2f} s")
    print(f"existing database, {ROUNDS} starts      ", end="")
    print(f"{statistics.median(seconds):5.2f} s  (", end="")
    print(f"{min(seconds):.2f} to {max(seconds):.2f})")


main()
