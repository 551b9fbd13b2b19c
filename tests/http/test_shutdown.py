"""Tests of the graceful shutdown."""

import os
import shutil
import signal
import socket
import time
from http import HTTPStatus
from pathlib import Path

import pytest

from models.schema import REVISION
from oneself.database import sqlite_driver
from tests.http.running import PASSWORD, Running, open_account, running
from tests.http.wire import Wire
from tests.support.deadlines import patient

LOGIN = b"POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"email":"alice@example.com","password":"%s"}' % PASSWORD.encode()


def _refused(port: int) -> bool:
    """Tell whether the port is closed within two seconds."""
    deadline = time.monotonic() + patient(2)
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=patient(1)).close()
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_requests_in_flight_are_finished(tmp_path: Path):
    """OP-01: a slow hash, a body still arriving, an idle connection; nothing else begins."""
    with running(tmp_path, password_cost=14) as service:
        open_account(service, "alice@example.com")
        length = b"Content-Length: %d\r\n\r\n" % len(BODY)
        with (
            Wire(service.port) as hashing,
            Wire(service.port) as coming,
            Wire(service.port) as idle,
        ):
            idle.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.answer() is not None
            coming.send(LOGIN + length + BODY[:20])
            hashing.send(LOGIN + length + BODY)
            time.sleep(0.3)
            began = time.monotonic()
            service.terminate()
            assert _refused(service.port)
            coming.send(BODY[20:])
            for wire in (hashing, coming):
                answer = wire.answer()
                assert answer is not None
                assert answer.status == HTTPStatus.OK
                assert answer.json["data"]["session_token"].startswith("sess_")
            assert idle.answer() is None
            assert service.process.wait(patient(15)) == 0
        assert time.monotonic() - began < patient(15)
        assert service.log.count('"operation":"ipto.logIn","status":200') == 2


def _is_draining(service: Running) -> bool:
    """Tell whether readiness is refused, by a worker that has time to answer."""
    deadline = time.monotonic() + patient(10)
    while time.monotonic() < deadline:
        if service.ask("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE:
            return True
        time.sleep(0.02)
    return False


def test_readiness_is_refused_before_requests_are(tmp_path: Path):
    """OP-01: by every worker, also one that starts meanwhile; all requests are served."""
    with running(tmp_path, workers=2, password_cost=10, drain_delay_seconds=12) as service:
        open_account(service, "alice@example.com")
        service.terminate()
        assert _is_draining(service)
        killed = service.workers[0]
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + patient(8)
        while killed in service.workers or len(service.workers) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        new = open_account(service, "bob@example.com")
        for _ in range(30):  # connections go to either worker
            assert service.ask("GET", "/v1/me", headers=new.bearer).status == HTTPStatus.OK
            assert service.ask("GET", "/healthz").status == HTTPStatus.OK
            assert service.ask("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE
        assert service.process.wait(patient(30)) == 0


@pytest.mark.nightly
def test_shutdown_works_after_temporary_files_were_deleted(tmp_path: Path, monkeypatch):
    """OP-01: a service outlives the age at which cleaners delete untouched files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with running(tmp_path, password_cost=10, drain_delay_seconds=3) as service:
        for folder in temporary.iterdir():
            shutil.rmtree(folder)
        service.terminate()
        assert _is_draining(service)
        assert service.process.wait(patient(15)) == 0


@pytest.mark.parametrize(
    "second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)]
)
def test_second_signal_skips_the_delay(tmp_path: Path, second: signal.Signals):
    """OP-01: the delay is for load balancers."""
    with running(tmp_path, password_cost=10, drain_delay_seconds=300) as service:
        service.terminate()
        assert _is_draining(service)
        service.process.send_signal(second)
        assert service.process.wait(patient(15)) == 0


@pytest.mark.nightly
def test_interrupt_skips_the_delay(tmp_path: Path):
    """OP-01: a person has pressed Ctrl-C."""
    with running(tmp_path, password_cost=10, drain_delay_seconds=300) as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(patient(15)) == 0


@pytest.mark.nightly
def test_silent_client_does_not_delay_the_shutdown(tmp_path: Path):
    """OP-01, HT-08."""
    with (
        running(tmp_path, head_seconds=2, body_seconds=2, drain_seconds=10) as service,
        Wire(service.port) as silent,
        Wire(service.port) as in_a_head,
        Wire(service.port) as in_a_body,
    ):
        in_a_head.send(b"GET / HT")
        in_a_body.send(LOGIN + b"Content-Length: 9\r\n\r\n{")
        time.sleep(0.2)
        service.terminate()
        assert service.process.wait(patient(8)) == 0
        assert "Killing" not in service.log
        assert silent.answer() is None


@pytest.mark.nightly
def test_starting_worker_does_not_delay_the_shutdown(tmp_path: Path):
    """OP-01, OP-08: one that replaces a killed one, at any stage of its start."""
    for number, delay in enumerate((0, 0.3, 0.7)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running(folder, drain_seconds=15, password_cost=10) as service:
            killed = service.worker
            os.kill(killed, signal.SIGKILL)
            deadline = time.monotonic() + patient(10)
            while service.workers in ([], [killed]) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(delay)
            service.terminate()
            # Sooner than it would be killed. The log does not help: Granian also says that it
            # kills one that has ended, if the system takes more than a millisecond to tell it so.
            assert service.process.wait(patient(14)) == 0


def _end_by_themselves(service: Running, workers: list[int], *, within: float) -> bool:
    """Tell whether workers end; those that do not are killed."""
    deadline = time.monotonic() + patient(within)
    while not all(map(service.has_ended, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = [pid for pid in workers if not service.has_ended(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return not left


def test_workers_end_when_the_main_process_is_killed(tmp_path: Path):
    """OP-08, OP-01: gracefully, and the next service gets the port."""
    with running(tmp_path, workers=2, password_cost=14) as service:
        open_account(service, "alice@example.com")
        workers = service.workers
        with Wire(service.port) as hashing:
            hashing.send(LOGIN + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            time.sleep(0.3)
            service.status = -signal.SIGKILL
            service.process.kill()
            service.process.wait()
            ended = _end_by_themselves(service, workers, within=10)
            assert ended
            answer = hashing.answer()
            assert answer is not None
            assert answer.status == HTTPStatus.OK
    with socket.create_server(("127.0.0.1", service.port)):
        assert service.log.count("the main process is gone") == 2


@pytest.mark.nightly
def test_blocked_worker_ends_when_the_main_process_is_killed(tmp_path: Path):
    """OP-08, OP-01: within the time that the main process would have given it."""
    with (
        running(tmp_path, password_cost=10, drain_seconds=1, body_seconds=15) as service,
        Wire(service.port) as in_a_body,
    ):
        in_a_body.send(LOGIN + b"Content-Length: 9\r\n\r\n{")
        time.sleep(0.2)
        workers = service.workers
        service.status = -signal.SIGKILL
        service.process.kill()
        service.process.wait()
        assert _end_by_themselves(service, workers, within=10)


def test_health_needs_no_database_and_readiness_does(tmp_path: Path):
    """OP-02: an orchestrator must not restart a service that waits for its database."""
    with running(tmp_path, password_cost=10) as service:
        database = tmp_path / "data" / "oneself.sqlite3"
        connection = sqlite_driver().connect(database, isolation_level=None)
        connection.execute("UPDATE alembic_version SET version_num = 'another'")
        assert service.ask("GET", "/healthz").status == HTTPStatus.OK
        refused = service.ask("GET", "/readyz")
        assert refused.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert refused.header("retry-after") is not None
        connection.execute("ALTER TABLE alembic_version RENAME TO gone")
        assert service.ask("GET", "/healthz").status == HTTPStatus.OK
        assert service.ask("GET", "/readyz").status == HTTPStatus.SERVICE_UNAVAILABLE
        connection.execute("ALTER TABLE gone RENAME TO alembic_version")
        connection.execute("UPDATE alembic_version SET version_num = ?", (REVISION,))
        connection.close()
        assert service.ask("GET", "/readyz").status == HTTPStatus.OK
