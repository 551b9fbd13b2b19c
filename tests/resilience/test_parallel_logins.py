"""Parallel password guesses at two processes that share nothing but the database."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from socket import create_server
from typing import NamedTuple

import pytest

from tests.support.deadlines import patient

REPOSITORY = Path(__file__).parents[2]
WORKERS, PARALLEL, BUDGET = 2, 50, 5
SOURCE_BUDGET = 10
SECONDS = 60
PASSWORD = "Copper kettle 47 harbour"
_NUMBERS = count(1)

if not Path("/proc/net/tcp").exists():
    pytest.skip("connections are mapped to processes by /proc", allow_module_level=True)

#: Python imports sitecustomize at the start of each process. It logs a line per hash, with the id
#: of the computing process; such a short append is atomic.
COUNTING = """
import os

import bcrypt


def counted(true):
    def hash(*given):
        file = os.open(os.environ["HASHES_ARE_COUNTED_IN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"%d\\n" % os.getpid())
        os.close(file)
        return true(*given)

    return hash


bcrypt.checkpw, bcrypt.hashpw = counted(bcrypt.checkpw), counted(bcrypt.hashpw)
"""


class _Service:
    """The service with two workers, and its password hashes counted."""

    def __init__(self, folder, settings):
        with create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._folder = folder
        self._counted = folder / "hashes"
        environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")
            },
            "ONESELF_DATA_DIR": str(folder / "data"),
            "ONESELF_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "ONESELF_VALIDATE_RESPONSES": "1",
            "ONESELF_PASSWORD_COST": "10",
            "ONESELF_PASSWORD_QUEUE": "1000",
            "ONESELF_THROTTLE_ACCOUNT_SOURCE": f"{BUDGET}/300",
            "ONESELF_THROTTLE_ACCOUNT": "20/3600",
            "ONESELF_THROTTLE_SOURCE": f"{SOURCE_BUDGET}/600",
            "ONESELF_TRUSTED_PROXIES": "127.0.0.1",
            **{f"ONESELF_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "oneself"]
        (folder / "sitecustomize.py").write_text(COUNTING)
        paths = [str(folder), os.environ.get("PYTHONPATH", "")]
        with (folder / "stderr.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "serve", "--port", str(self.port), "--workers", str(WORKERS)],
                cwd=REPOSITORY,
                env=environment
                | {
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "HASHES_ARE_COUNTED_IN": str(self._counted),
                },
                stderr=log,
            )

    @property
    def log(self):
        return (self._folder / "stderr.log").read_text()

    def hashes(self):
        """Return the number of hashes by the process that computed them."""
        lines = self._counted.read_text().split() if self._counted.exists() else []
        return Counter(map(int, lines))

    def workers(self):
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
        return {pid for pid, command in commands.items() if b"tracker" not in command}

    def wait(self):
        """Wait until both workers answer."""
        deadline = time.monotonic() + patient(SECONDS)
        answered = set()
        while len(answered) < WORKERS:
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            try:
                client = _Client(self)
            except OSError:
                time.sleep(0.05)
            else:
                answered.add(client.worker)
                client.close()

    def stop(self):
        """Stop it with SIGTERM; it must exit with 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(patient(SECONDS))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.returncode == 0, self.log


class Account(NamedTuple):
    """An account, a source address that it has logged in from, and one that it has not."""

    email: str
    session: str
    familiar: str
    unfamiliar: str


class _Client:
    """An open connection, and the worker at its other end."""

    def __init__(self, service):
        self._connection = HTTPConnection("127.0.0.1", service.port, timeout=patient(SECONDS))
        assert self.ask("GET", "/healthz") == HTTPStatus.OK
        self.worker = self._find_worker(service)

    def ask(self, method, path, body=None, source=None, session=None):
        """Send a request, again as long as the service is busy, and return its status.

        `source` is the client address that a proxy reports.
        """
        deadline = time.monotonic() + patient(SECONDS)
        while True:
            status = self._ask_once(method, path, body, source, session)
            if status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return status
            time.sleep(0.1)

    def ask_json(self, method, path, body, source):
        """Send a request, and return the body of its response."""
        assert self.ask(method, path, body, source) < HTTPStatus.BAD_REQUEST, self._body
        return json.loads(self._body)

    def _ask_once(self, method, path, body, source, session):
        headers = {"Content-Type": "application/json"} if body else {}
        if source is not None:
            headers["X-Forwarded-For"] = source
        if session is not None:
            headers["Authorization"] = f"Bearer {session}"
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        self._body = response.read()
        return response.status

    def log_in(self, email, password, source=None):
        body = {"email": email, "password": password}
        return self.ask("POST", "/v1/auth/login", body, source)

    def close(self):
        self._connection.close()

    def _find_worker(self, service):
        """Return the worker that has the other end of the connection open."""
        own = self._connection.sock.getsockname()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(end.rpartition(":")[2], 16) for end in fields[1:3]]
            if ports == [service.port, own]:
                link = f"socket:[{fields[9]}]"
                for pid in service.workers():
                    if link in _open_files(pid):
                        return pid
        raise AssertionError(service.log)


def _open_files(pid):
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(descriptor.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue


@pytest.fixture(scope="module")
def service(storage, tmp_path_factory):
    service = _Service(tmp_path_factory.mktemp("logins"), storage.settings())
    try:
        service.wait()
        yield service
    finally:
        service.stop()


def _in_parallel(clients, attempt):
    """Make an attempt with each client at the same moment; count the statuses."""
    ready = threading.Barrier(len(clients))

    def ask(number):
        ready.wait(patient(SECONDS))
        return attempt(clients[number], number)

    with ThreadPoolExecutor(len(clients)) as threads:
        return Counter(threads.map(ask, range(len(clients))))


def _one_per_worker(clients):
    """Return a connection to each worker."""
    return {client.worker: client for client in clients}.values()


@pytest.fixture
def account(service):
    """Sign up: the tests share a service, but no account and no source address."""
    number = next(_NUMBERS)
    sources = {
        name: f"{network}.{number}"
        for name, network in (("familiar", "192.0.2"), ("unfamiliar", "198.51.100"))
    }
    body = {"email": f"user{number}@example.com", "password": PASSWORD, "display_name": "User"}
    body["tenant_name"] = "Acme"
    client = _Client(service)
    answer = client.ask_json("POST", "/v1/auth/signup", body, sources["familiar"])
    client.close()
    return Account(body["email"], session=answer["data"]["session_token"], **sources)


@pytest.fixture
def clients(service, account):  # noqa: ARG001 # the order matters
    """As many connections as there will be parallel attempts, with some at each worker.

    Made after the account: the service closes connections that idle for ten seconds.
    """
    clients = [_Client(service) for _ in range(PARALLEL)]
    while len({client.worker for client in clients}) < WORKERS:
        clients.append(_Client(service))
    yield clients
    for client in clients:
        client.close()


def test_parallel_guesses_share_one_rate_limit(service, clients, account):
    """LG-04: five of fifty are hashed, over both workers (GHSA-7h8m-vrxx-vr4m)."""
    email, source = account.email, account.unfamiliar
    before = service.hashes().total()
    statuses = _in_parallel(
        clients, lambda client, number: client.log_in(email, f"Wrong {number}", source)
    )
    assert statuses == {401: BUDGET, 429: len(clients) - BUDGET}
    assert service.hashes().total() == before + BUDGET
    # Then each worker refuses even the right password.
    for client in _one_per_worker(clients):
        assert client.log_in(email, "Wrong", source) == HTTPStatus.TOO_MANY_REQUESTS
        assert client.log_in(email, PASSWORD, source) == HTTPStatus.TOO_MANY_REQUESTS
    assert service.hashes().total() == before + BUDGET
    # For another account, each worker still hashes.
    for client in _one_per_worker(clients):
        assert client.log_in("nobody@example.com", "Wrong", source) == HTTPStatus.UNAUTHORIZED
    assert len(service.hashes()) == WORKERS


def test_parallel_guesses_at_different_operations_share_one_rate_limit(service, clients, account):
    """PW-11: at the login and at three password changes (CVE-2026-43914)."""
    before = service.hashes().total()
    current = {"current_password": "Wrong", "new_password": "Silent meadow 83 lantern"}
    hantera = {"currentPassword": "Wrong", "newPassword": "Silent meadow 83 lantern"}
    session = account.session
    operations = (
        ("/v1/auth/login", {"email": account.email, "password": "Wrong"}, None),
        ("/v1/me/password", current, session),
        ("/api/v1/me/password", current, session),
        ("/resources/me/password", hantera, session),
    )

    def attempt(client, number):
        path, body, bearer = operations[number % len(operations)]
        return client.ask("POST", path, body, account.unfamiliar, bearer)

    statuses = _in_parallel(clients, attempt)
    assert statuses.pop(429) == len(clients) - BUDGET
    assert statuses.keys() <= {400, 401}
    assert service.hashes().total() == before + BUDGET


def test_distributed_guesses_do_not_lock_out_a_familiar_address(service, clients, account):
    """LG-06: the account's own limit is exhausted, and its owner can still log in."""
    email = account.email
    before = service.hashes().total()
    statuses = _in_parallel(
        clients, lambda client, number: client.log_in(email, "Wrong", f"203.0.113.{number}")
    )
    assert statuses == {401: 20, 429: len(clients) - 20}
    assert service.hashes().total() == before + 20
    for client in _one_per_worker(clients):
        assert client.log_in(email, PASSWORD, account.unfamiliar) == HTTPStatus.TOO_MANY_REQUESTS
        assert client.log_in(email, PASSWORD, account.familiar) == HTTPStatus.OK


def test_guesses_at_other_accounts_lock_out_no_known_user(clients, account):
    """LG-06, attack finding 7: while others behind the address use up its limit, and after it."""
    email, shared = account.email, account.familiar

    def attempt(client, number):
        if number % 10:
            return "others", client.log_in(f"ghost{number}@example.com", "Wrong", shared)
        return "owner", client.log_in(email, PASSWORD, shared)

    statuses = _in_parallel(clients[:20], attempt)
    assert statuses == {
        ("owner", 200): 2,
        ("others", 401): SOURCE_BUDGET,
        ("others", 429): 18 - SOURCE_BUDGET,
    }
    for client in _one_per_worker(clients):
        assert client.log_in("ghost@example.com", "Wrong", shared) == HTTPStatus.TOO_MANY_REQUESTS
        assert client.log_in(email, "Wrong", shared) == HTTPStatus.UNAUTHORIZED
        assert client.log_in(email, PASSWORD, shared) == HTTPStatus.OK
