"""The service for benchmarks: a separate process, with the demo users."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from servers import ROOT, Running, free_port, running

__all__ = ["Actors", "run", "served"]

Actors = Mapping[str, Mapping[str, str]]

_LIMITS = ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL", "WRITE")


@contextmanager
def served(
    folder: str, *options: str, processors: tuple[int, ...] | None = None, **settings: object
) -> Iterator[tuple[Running, Actors]]:
    """Run the service, with rate limits too high to be reached; yield it and its users.

    Settings in the environment apply too, so that two of them can be compared.
    """
    port = free_port()
    values = {
        "data_dir": folder,
        "public_url": f"http://127.0.0.1:{port}",
        **{f"throttle_{limit.lower()}": "1000000/3600" for limit in _LIMITS},
        **settings,
    }
    environment = {f"ONESELF_{name.upper()}": str(value) for name, value in values.items()}
    if "database_url" in settings:
        run("db", "upgrade", settings=environment)
    users: Actors = json.loads(run("demo", "--json", settings=environment))
    with running(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port), *options],
        port=port,
        settings=environment,
        log=Path(folder) / "service.log",
        processors=processors or tuple(os.sched_getaffinity(0)),
    ) as server:
        yield server, users


def run(*words: str, settings: Mapping[str, str]) -> str:
    """Run a command with these settings and those of the environment; return its output."""
    return subprocess.run(
        [sys.executable, "-m", "oneself", *words],
        cwd=ROOT,
        env={**os.environ, **settings},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
