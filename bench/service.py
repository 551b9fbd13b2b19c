"""The service as the benchmarks start it: a process of its own, with its demo's people."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["People", "run", "served"]

People = Mapping[str, Mapping[str, str]]

#: Seconds; longer than this is no answer but a failure.
_PATIENCE = 30.0
_ROOT = Path(__file__).parent.parent
_BUDGETS = ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL")


@contextmanager
def served(folder: str, *options: str, **settings: object) -> Iterator[tuple[int, People]]:
    """Its port and people, for as long as it runs; its budgets are more than anybody uses up.

    Settings of the environment count as well, so that two of them can be compared.
    """
    port = _free_port()
    given = {
        "data_dir": folder,
        **{f"throttle_{budget.lower()}": "1000000/3600" for budget in _BUDGETS},
        **settings,
    }
    os.environ |= {f"ONESELF_{name.upper()}": str(value) for name, value in given.items()}
    people: People = json.loads(run("demo", "--json"))
    process = subprocess.Popen(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port), *options],
        cwd=_ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield port, people
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def run(*words: str) -> str:
    """What a command prints, by the settings of the environment."""
    command = [sys.executable, "-m", "oneself", *words]
    return subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE).stdout.decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.perf_counter() + _PATIENCE
    while time.perf_counter() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionError:
            time.sleep(0.01)
        else:
            return
    sys.exit(f"no answer within {_PATIENCE:.0f} seconds")
