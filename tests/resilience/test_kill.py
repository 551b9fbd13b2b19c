"""`kill -9` under load: nothing that was acknowledged is lost or duplicated (DB-04).

With `--rounds 200` each kind of fault is injected two hundred times; by default, one kind is,
twenty times.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from oneself.database import Location, open_engine
from tests.http.running import Running, open_account, running
from tests.support.cutting_proxy import PHASES, CuttingProxy
from tests.support.databases import location_url
from tests.support.deadlines import patient
from tests.support.journal import Client, Load, Outcome
from tests.support.postgresql import databases

CLIENTS, WORKERS = 4, 2
SECONDS = 60

if not Path("/proc/self/task").exists():
    pytest.skip("the workers are found in /proc", allow_module_level=True)


@dataclass
class Scenario:
    """A database, and the fault that is injected into it or its service in each round."""

    location: Location
    settings: dict[str, str]
    inject_fault: Callable[[Running, int], None]


def _kill_a_worker(service: Running, _number: int) -> None:
    # The oldest one, so that each gets its turn: Granian gives up if the same worker ends twice in
    # five seconds.
    os.kill(service.workers[0], signal.SIGKILL)


@contextmanager
def _sqlite_worker_killed(folder: Path) -> Iterator[Scenario]:
    yield Scenario(folder / "data" / "oneself.sqlite3", {}, _kill_a_worker)


def _with_secret(url: str) -> dict[str, str]:
    return {"database_url": url, "secret_key": "k" * 43}


@contextmanager
def _postgresql_worker_killed(_folder: Path) -> Iterator[Scenario]:
    with databases(durable=True) as made:
        location = made.make()
        yield Scenario(location, _with_secret(location_url(location)), _kill_a_worker)


@contextmanager
def _postgresql_killed(_folder: Path) -> Iterator[Scenario]:
    with databases(durable=True) as made:
        location = made.make()
        server = made.server
        assert server is not None

        def inject_fault(_service: Running, number: int) -> None:
            server.kill() if number % 2 else server.stop()
            server.start()

        yield Scenario(location, _with_secret(location_url(location)), inject_fault)


@contextmanager
def _network_cut(_folder: Path) -> Iterator[Scenario]:
    with databases(durable=True) as made:
        location = made.make()
        assert location.port is not None
        proxy = CuttingProxy(location.port)

        def inject_fault(_service: Running, number: int) -> None:
            keyword = (b"COMMIT", b"BEGIN", b"UPDATE", b"INSERT", b"SELECT")[number // 3 % 5]
            proxy.arm(keyword, PHASES[number % 3], share=0.3)
            before, deadline = proxy.cut, time.monotonic() + patient(2)
            while proxy.cut == before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
            proxy.disarm()

        through = location.set(port=proxy.port)
        yield Scenario(location, _with_secret(location_url(through)), inject_fault)
        assert proxy.cut
        proxy.close()


SCENARIOS: dict[str, Any] = {
    "worker killed on SQLite": _sqlite_worker_killed,
    "worker killed on PostgreSQL": _postgresql_worker_killed,
    "PostgreSQL killed or stopped": _postgresql_killed,
    "network to PostgreSQL cut": _network_cut,
}


def _wait_for_recovery(service: Running) -> float:
    """Wait until all workers answer again; return the seconds that it took."""
    start = time.monotonic()
    successes = 0
    while successes < WORKERS * 2:
        assert time.monotonic() < start + patient(SECONDS), service.log[-5000:]
        try:
            ready = service.ask("GET", "/readyz").status == 200
        except (OSError, AssertionError):
            ready = False
        successes = successes + 1 if ready and len(service.workers) == WORKERS else 0
        if not ready:
            time.sleep(0.02)
    return time.monotonic() - start


def _check_stored(location: Location) -> None:
    """Check that each stored API key has one event and one mail."""
    engine = open_engine(location)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        key_ids = connection.execute(text("SELECT id FROM api_key")).scalars().all()
        event_details = connection.execute(
            text(
                "SELECT credential FROM (SELECT details AS credential FROM security_event"
                " WHERE kind = 'authn_token_created') AS events"
            )
        ).scalars()
        ids_in_events = [
            key_id for details in map(str, event_details) for key_id in key_ids if key_id in details
        ]
        mails = connection.execute(
            text("SELECT count(*) FROM outbox_message WHERE kind = 'api_key_created'")
        ).scalar()
    engine.dispose()
    assert sorted(ids_in_events) == sorted(key_ids)
    assert mails == len(key_ids)


@pytest.fixture
def rounds(request):
    return request.config.getoption("--rounds")


def _run_rounds(service: Running, scenario: Scenario, rounds: int, outcome: Outcome) -> None:
    accounts = [open_account(service, f"user{number}@example.com") for number in range(CLIENTS)]
    load = Load([Client(service, account, seed) for seed, account in enumerate(accounts)])
    pauses = random.Random(1)  # noqa: S311 # lengths of rounds, no secret
    try:
        for number in range(rounds):
            load.resume()
            time.sleep(pauses.uniform(0.05, 0.3))
            scenario.inject_fault(service, number)
            outcome.recoveries.append(_wait_for_recovery(service))
            load.pause()
            outcome.rounds += 1
            outcome.journal.add(load.check(Client.check))
            assert outcome.journal.lost == [], f"round {number}"
            assert outcome.journal.duplicated == [], f"round {number}"
    finally:
        load.close()


def _run(fault: str, folder: Path, rounds: int, outcome: Outcome) -> None:
    settings = {"throttle_account": "100000/1", "throttle_mail": "100000/1"}
    # A worker that is just starting misses the signal to stop, and is killed after this time.
    settings["drain_seconds"] = "5"
    with SCENARIOS[fault](folder) as scenario:
        with running(
            folder, workers=WORKERS, password_cost=10, **settings, **scenario.settings
        ) as service:
            _run_rounds(service, scenario, rounds, outcome)
        _check_stored(scenario.location)
    assert outcome.journal.acknowledged > rounds * CLIENTS


@pytest.mark.parametrize("fault", SCENARIOS)
def test_acknowledged_writes_survive_faults_under_load(fault, request, rounds, tmp_path, outcomes):
    """DB-04, DB-08, DB-12, OP-08."""
    if (
        SCENARIOS[fault] is not _sqlite_worker_killed
        and rounds is None
        and (request.config.getoption("--database") == "sqlite")
    ):
        pytest.skip("on PostgreSQL with --database postgresql or --rounds")
    _run(fault, tmp_path, rounds or 5, outcomes[fault])
