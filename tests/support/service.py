"""A real service in its own process, with the demo users."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from oneself.commands.console.session_setup import open_database
from oneself.commands.demo_data import make_demo
from oneself.settings import Settings
from oneself_conformance.http_client import Request
from oneself_conformance.targets import Deployment
from tests.support.deadlines import patient
from tests.support.ports import free_port

__all__ = ["Service", "settings_in", "started"]

ROOT = Path(__file__).parents[2]
_SECONDS_TO_START = 30
_SECONDS_TO_STOP = 30


@dataclass(frozen=True)
class Service(Deployment):
    """A deployment on this machine, with access to its files."""

    port: int
    folder: Path
    environment: Mapping[str, str]

    @property
    def data(self) -> Path:
        """The folder of its database, key and mail."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Its standard error so far."""
        return (self.folder / "stderr.log").read_text()


def settings_in(environment: Mapping[str, str]) -> Settings:
    """Return the settings that a service reads from an environment."""
    prefix = "ONESELF_"
    return Settings(
        **{
            name.removeprefix(prefix).lower(): value
            for name, value in environment.items()
            if name.startswith(prefix)
        }
    )


@contextmanager
def started(
    folder: Path, *, module: str = "oneself", workers: int = 1, **settings: object
) -> Iterator[Service]:
    """Run the service on its own database in `folder`; SIGTERM must stop it at the end.

    `module` is run with the arguments of `python -m oneself serve`. SIGTERM and not SIGKILL, so
    that it finishes open requests and writes its coverage.
    """
    port = free_port()
    environment = {
        # The whole environment, which the coverage of subprocesses needs, without the developer's
        # own settings.
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        "ONESELF_DATA_DIR": str(folder / "data"),
        "ONESELF_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ONESELF_VALIDATE_RESPONSES": "1",
        "ONESELF_PASSWORD_COST": "10",
        "ONESELF_BODY_SECONDS": "1",
        # All requests come from one address, so the limits per address are raised. Those of mail,
        # and per account and address, are the defaults: rows about them sign up an account.
        "ONESELF_THROTTLE_SOURCE": "100000/1",
        "ONESELF_THROTTLE_SIGNUP": "100000/1",
        "ONESELF_THROTTLE_ACCOUNT": "100000/1",
        "ONESELF_THROTTLE_ACCOUNT_SOURCE": "5/300",
        "ONESELF_THROTTLE_MAIL": "5/3600",
        "ONESELF_THROTTLE_WRITE": "100000/1",
        **{f"ONESELF_{name.upper()}": str(value) for name, value in settings.items()},
    }
    # As `oneself demo` does, without the two seconds that a process takes to start.
    with open_database(settings_in(environment), make=True) as database:
        actors = make_demo(database)
    service = Service(f"http://127.0.0.1:{port}", actors, port, folder, environment)
    with (folder / "stderr.log").open("wb") as log:
        serve = [sys.executable, "-m", module, "serve", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            serve if workers == 1 else [*serve, "--workers", str(workers)],
            cwd=ROOT,
            env=environment,
            stderr=log,
        )
    try:
        _wait_until_ready(service, process)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patient(_SECONDS_TO_STOP))
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, service.log


def _wait_until_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + patient(_SECONDS_TO_START)
    while time.monotonic() < deadline:
        assert process.poll() is None, service.log
        try:
            if service.ask(Request("GET", "/healthz")).status == HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.05)
    message = f"no answer in {_SECONDS_TO_START} s\n{service.log}"
    raise AssertionError(message)
