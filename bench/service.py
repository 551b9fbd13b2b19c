"""The service as the benchmarks start it: a process of its own, with its demo's people."""

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

_BUDGETS = ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL")


@contextmanager
def served(
    folder: str,
    *options: str,
    processors: tuple[int, ...] | None = None,
    **settings: object,
) -> Iterator[tuple[Running, Actors]]:
    """The running service and its people; its budgets are more than anybody uses up.

    Settings of the environment count as well, so that two of them can be compared.
    """
    port = free_port()
    given = {
        "data_dir": folder,
        "public_url": f"http://127.0.0.1:{port}",
        **{f"throttle_{budget.lower()}": "1000000/3600" for budget in _BUDGETS},
        **settings,
    }
    environment = {f"ONESELF_{name.upper()}": str(value) for name, value in given.items()}
    if "database_url" in settings:
        run("db", "upgrade", settings=environment)
    people: Actors = json.loads(run("demo", "--json", settings=environment))
    with running(
        [sys.executable, "-m", "oneself", "serve", "--port", str(port), *options],
        port=port,
        settings=environment,
        log=Path(folder) / "service.log",
        processors=processors or tuple(os.sched_getaffinity(0)),
    ) as server:
        yield server, people


def run(*words: str, settings: Mapping[str, str]) -> str:
    """What a command prints, by these settings and those of the environment."""
    return subprocess.run(
        [sys.executable, "-m", "oneself", *words],
        cwd=ROOT,
        env={**os.environ, **settings},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
