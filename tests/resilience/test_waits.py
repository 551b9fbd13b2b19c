"""Waits end while the database hangs: in commits without a standby, stopped, or locked (DB-12)."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from tests.http.running import Account, Running, open_account, running
from tests.http.wire import Answer
from tests.support.databases import location_url
from tests.support.deadlines import patient
from tests.support.postgresql import Databases, databases, direct_connection

WRITERS = 6
#: Outcomes of a write that hangs in its commit, and of one that has not begun.
UNKNOWN, BUSY = HTTPStatus.GATEWAY_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE
NAMES = "ALTER SYSTEM SET synchronous_standby_names = '{}'"


@dataclass
class Scene:
    """A service on a server of its own, and its users."""

    service: Running
    server: Databases
    url: URL
    users: list[Account]

    def set_standbys(self, names: str) -> None:
        """Name the standbys that each commit waits for."""
        self.server.execute(NAMES.format(names))
        self.server.execute("SELECT pg_reload_conf()")
        time.sleep(0.5)  # each session reads its configuration between two commands

    def ask(self, path: str, user: Account | None = None) -> tuple[Answer, float]:
        """Read; return the answer and the seconds until it came."""
        began = time.monotonic()
        answer = self.service.ask("GET", path, headers=user.bearer if user else {})
        return answer, time.monotonic() - began

    def rename(self, user: Account, name: str) -> tuple[int, float]:
        """Change a display name; return the status and the seconds until it came."""
        began = time.monotonic()
        answer = self.service.ask(
            "PATCH", "/api/v1/me", headers=user.bearer, body={"display_name": name}
        )
        return answer.status, time.monotonic() - began

    def name_of(self, user: Account) -> str:
        """Return the display name of a user."""
        answer, _ = self.ask("/api/v1/me", user)
        assert answer.status == HTTPStatus.OK, answer
        return str(answer.json["display_name"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A service with one worker on a server that is stopped and reconfigured here."""
    folder: Path = tmp_path_factory.mktemp("waits")
    with databases(durable=True) as server:
        url = server.make()
        settings: dict[str, Any] = {"database_url": location_url(url), "secret_key": "k" * 43}
        with running(folder, password_cost=10, **settings) as service:
            users = [open_account(service, f"user{n}@example.com") for n in range(WRITERS)]
            yield Scene(service, server, url, users)


def _begin_writes(
    scene: Scene, threads: ThreadPoolExecutor, name: str
) -> list[Future[tuple[int, float]]]:
    return [threads.submit(scene.rename, user, name) for user in scene.users]


def _assert_reads_are_answered(scene: Scene) -> None:
    for path, user in (
        ("/healthz", None),
        ("/readyz", None),
        ("/v1/me", scene.users[0]),
        ("/api/v1/me", scene.users[-1]),
    ):
        deadline = time.monotonic() + patient(2)
        answer, _ = scene.ask(path, user)
        while answer.status == HTTPStatus.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
            answer, _ = scene.ask(path, user)  # a busy machine refuses what waits for a second
        assert (path, answer.status) == (path, HTTPStatus.OK)
        assert time.monotonic() < deadline, path


def _assert_well(scene: Scene) -> None:
    """Check that all users can write, soon after a fault."""
    deadline = time.monotonic() + patient(10)
    left = list(scene.users)
    while left:
        status, _ = scene.rename(left[-1], "Well")
        if status == HTTPStatus.OK:
            left.pop()
        assert time.monotonic() < deadline
    assert [scene.name_of(user) for user in scene.users] == ["Well"] * WRITERS
    answer, _ = scene.ask("/readyz")
    assert answer.json == {"status": "ready"}


def test_reads_and_probes_are_answered_while_commits_wait_for_a_standby(scene: Scene) -> None:
    """DB-12, OP-02, reliability finding 2, scale-out P1; no 503 is a change that was done."""
    with ThreadPoolExecutor(2 * WRITERS) as threads:
        scene.set_standbys("nobody")
        try:
            writes = _begin_writes(scene, threads, "Waiting")
            for _ in range(3):
                _assert_reads_are_answered(scene)
                time.sleep(1)
            answer, _ = scene.ask("/readyz")
            assert answer.json == {"status": "degraded", "reason": "commits wait for a standby"}
            results = [write.result() for write in writes]
            assert {status for status, _ in results} <= {UNKNOWN, BUSY}
            assert UNKNOWN in {status for status, _ in results}
            assert max(seconds for _, seconds in results) < patient(10)
            _assert_reads_are_answered(scene)
            # No thread is left for further writes: each is refused at once.
            more = [write.result() for write in _begin_writes(scene, threads, "More")]
            assert {status for status, _ in more} <= {UNKNOWN, BUSY}
            began = time.monotonic()
            assert scene.rename(scene.users[0], "Last")[0] in {UNKNOWN, BUSY}
            assert time.monotonic() - began < patient(10)
            _assert_reads_are_answered(scene)
        finally:
            scene.set_standbys("")
        for user, first, second in zip(scene.users, results, more, strict=True):
            if (first[0], second[0]) == (BUSY, BUSY):
                assert scene.name_of(user) not in {"Waiting", "More"}
    _assert_well(scene)
    assert '"reason":"commits wait for a standby or a disk"' in scene.service.log


@pytest.mark.nightly
def test_connections_come_back_after_they_were_set_aside(scene: Scene) -> None:
    """DB-11, DB-12: their number stays bounded, however often commits hang."""
    for _ in range(2):
        with ThreadPoolExecutor(WRITERS) as threads:
            scene.set_standbys("nobody")
            writes = _begin_writes(scene, threads, "Again")
            time.sleep(2.5)
            scene.set_standbys("")
            for write in writes:
                write.result()
        _assert_well(scene)
    with direct_connection(scene.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oneself'"
        ).fetchone()
    assert row is not None
    assert row[0] <= 9


def _processes(scene: Scene) -> list[int]:
    """Return the server's processes for the service's connections."""
    with direct_connection(scene.url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'oneself'"
        )
        return [pid for (pid,) in rows]


@pytest.mark.nightly
def test_waits_end_while_the_server_is_stopped(scene: Scene) -> None:
    """DB-12, reliability finding 2: reads too, and `/healthz` needs no database."""
    assert scene.server.server is not None
    stopped = [*_processes(scene), scene.server.server.process_id]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(30) as threads:
            reads = [threads.submit(scene.ask, "/v1/me", user) for user in scene.users * 3]
            writes = _begin_writes(scene, threads, "Stopped")
            answer, seconds = scene.ask("/readyz")
            assert answer.status == BUSY
            assert seconds < patient(2.5)
            answer, seconds = scene.ask("/healthz")
            assert answer.status == HTTPStatus.OK
            assert seconds < patient(1)
            for read in reads:
                answer, seconds = read.result()
                assert answer.status == BUSY
                assert answer.header("retry-after") is not None
                assert seconds < patient(10)
            for write in writes:
                status, seconds = write.result()
                assert status in {UNKNOWN, BUSY}
                assert seconds < patient(10)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    _assert_well(scene)


@pytest.mark.nightly
def test_locked_table_leaves_reads_of_others_alive(scene: Scene) -> None:
    """DB-12: threads that wait for the table are set aside."""
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        with direct_connection(scene.url) as connection, connection.transaction():
            connection.execute("LOCK TABLE user_settings IN ACCESS EXCLUSIVE MODE")
            locked.set()
            release.wait(patient(30))

    with ThreadPoolExecutor(20) as threads:
        holder = threads.submit(lock)
        assert locked.wait(patient(10))
        hanging = [
            threads.submit(scene.ask, "/resources/me/settings", user) for user in scene.users
        ]
        time.sleep(0.2)
        for _ in range(3):
            answer, seconds = scene.ask("/v1/me", scene.users[0])
            assert answer.status == HTTPStatus.OK
            assert seconds < patient(2)
        for read in hanging:
            answer, seconds = read.result()
            assert answer.status == BUSY
            assert seconds < patient(10)
        release.set()
        holder.result()
    _assert_well(scene)


@pytest.mark.nightly
def test_shutdown_ends_while_commits_wait(tmp_path: Path, scene: Scene) -> None:
    """OP-01, DB-12: threads that hang do not keep the process."""
    settings: dict[str, Any] = {
        "database_url": location_url(scene.server.make()),
        "secret_key": "k" * 43,
    }
    with (
        ThreadPoolExecutor(WRITERS) as threads,
        running(tmp_path, password_cost=10, drain_seconds=60, **settings) as service,
    ):
        user = open_account(service, "alice@example.com")
        other = Scene(service, scene.server, scene.url, [user])
        scene.set_standbys("nobody")
        try:
            write = threads.submit(other.rename, user, "Waiting")
            time.sleep(1)
            began = time.monotonic()
            service.terminate()
            assert write.result()[0] == UNKNOWN
            assert service.process.wait(patient(40)) == 0
            assert time.monotonic() - began < patient(40)
        finally:
            scene.set_standbys("")
