"""The service as a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.http.wire import Answer, ask
from tests.support.deadlines import patient
from tests.support.ports import free_port

__all__ = ["PASSWORD", "Account", "Running", "open_account", "running"]

_ROOT = Path(__file__).parents[2]
PASSWORD = "s3cur3P@ssw0rd!"


@dataclass(slots=True)
class Running:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    #: The expected exit status; a test that kills the service sets another.
    status: int = 0

    def ask(self, method: str, target: str, **more: Any) -> Answer:
        """Send one request on a connection of its own."""
        return ask(self.port, method, target, **more)

    @property
    def metadata(self) -> str:
        """Return the member of a challenge that names the metadata of the API (RFC 9728)."""
        url = f"http://localhost:{self.port}/.well-known/oauth-protected-resource"
        return f'resource_metadata="{url}"'

    @property
    def log(self) -> str:
        """Return the standard error so far."""
        return (self.folder / "stderr.log").read_text()

    def line_of(self, answer: Answer) -> dict[str, Any]:
        """Return the one log line about an answer, which may be a moment late."""
        name = answer.header("x-request-id")
        deadline = time.monotonic() + patient(5)
        while True:
            # Without a last line that is still being written.
            written = self.log.rpartition("\n")[0].splitlines()
            lines = [line for line in written if f'"{name}"' in line]
            if lines or time.monotonic() > deadline:
                [line] = lines
                return dict(json.loads(line))
            time.sleep(0.01)

    @property
    def worker(self) -> int:
        """The id of the only worker's process."""
        [worker] = self.workers
        return worker

    @property
    def workers(self) -> list[int]:
        """The ids of the workers' processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        lines = {pid: _command_line(pid) for pid in map(int, children.split())}
        return [pid for pid, line in lines.items() if line and b"tracker" not in line]

    @staticmethod
    def has_ended(pid: int) -> bool:
        """Tell whether a process has ended, reaped or not."""
        return not _command_line(pid)

    def resident_bytes(self) -> int:
        """Return the memory of the worker."""
        pages = Path(f"/proc/{self.worker}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def assert_alive(self) -> None:
        """Check that another caller gets an answer."""
        assert self.ask("GET", "/healthz").status == HTTPStatus.OK

    def terminate(self) -> None:
        """Send SIGTERM, as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)


def _command_line(pid: int) -> bytes:
    """Return the command line of a process; empty after its end."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@contextmanager
def running(
    folder: Path,
    *,
    workers: int = 1,
    ulimit: str = "",
    prefix: Sequence[str] = (),
    module: tuple[str, ...] = ("oneself",),
    **settings: object,
) -> Iterator[Running]:
    """Start the service in `folder`; at the end stop it, and check that it ended well.

    `ulimit` are arguments of the shell's command of that name. `prefix` is a command that becomes
    the command line after it. `module` is run with the arguments of `python -m oneself serve`,
    behind its own.
    """
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        "ONESELF_DATA_DIR": str(folder / "data"),
        "ONESELF_PUBLIC_URL": f"http://localhost:{port}",
        # Failed attempts are on purpose here.
        **{
            f"ONESELF_THROTTLE_{budget}": "100000/1"
            for budget in ("ACCOUNT_SOURCE", "SOURCE", "SIGNUP", "WRITE")
        },
        **{f"ONESELF_{name.upper()}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", *module, "serve", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", str(workers)]
    if ulimit:
        command = ["sh", "-c", f'ulimit {ulimit} && exec "$@"', "sh", *command]
    command = [*prefix, *command]
    with (folder / "stderr.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=_ROOT, env=environment, stderr=log, stdout=log)
    service = Running(port, process, folder)
    try:
        _wait(service)
        yield service
    finally:
        if process.poll() is None:
            service.terminate()
            try:
                process.wait(patient(20))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    assert process.returncode == service.status, service.log


def _wait(service: Running) -> None:
    deadline = time.monotonic() + patient(30)
    while time.monotonic() < deadline:
        assert service.process.poll() is None, service.log
        try:
            ready = service.ask("GET", "/readyz")
        except OSError:
            time.sleep(0.05)
        else:
            assert ready.status == HTTPStatus.OK, ready
            return
    raise AssertionError(service.log)


@dataclass(frozen=True, slots=True)
class Account:
    """A user with an account, and the credentials."""

    email: str
    password: str
    session: str
    access_token: str
    api_key: str

    @property
    def bearer(self) -> dict[str, str | None]:
        """The session as a Bearer header."""
        return {"Authorization": f"Bearer {self.session}"}

    @property
    def cookie(self) -> dict[str, str | None]:
        """The session as a cookie."""
        return {"Cookie": f"__Host-oneself_session={self.session}"}


def open_account(service: Running, email: str) -> Account:
    """Sign up, and fetch every kind of credential that the account can have."""
    body = {
        "email": email,
        "password": PASSWORD,
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    signed_up = service.ask("POST", "/v1/auth/signup", body=body)
    assert signed_up.status == HTTPStatus.CREATED, signed_up
    session = signed_up.json["data"]["session_token"]
    bearer = {"Authorization": f"Bearer {session}"}
    token = service.ask("GET", "/api/users/me/token/", headers=bearer).json["access_token"]
    body = {"name": "edge", "scopes": ["me/profile:read", "me/settings:write"]}
    created = service.ask("POST", "/v1/api-keys", headers=bearer, body=body)
    return Account(email, PASSWORD, session, token, created.json["data"]["key"])
