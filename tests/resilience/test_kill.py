"""Kill -9 under load, and what was acknowledged afterwards: none lost, none doubled (DB-04).

`tox run -e kill` does two hundred rounds of each kind and prints a table; here it is twenty of one.
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
from tests.support.databases import url_of
from tests.support.journal import Client, Load, Outcome
from tests.support.postgresql import databases

CLIENTS, WORKERS = 4, 2
SECONDS = 60

if not Path("/proc/self/task").exists():
    pytest.skip("the workers are found in /proc", allow_module_level=True)


@dataclass
class Place:
    """A database of some kind, and what is done to it, or to its service, in a round."""

    location: Location
    settings: dict[str, str]
    blow: Callable[[Running, int], None]


def _kill_a_worker(service: Running, _number: int) -> None:
    # The oldest, so each in turn: Granian gives up if the same one ends twice in five seconds.
    os.kill(service.workers[0], signal.SIGKILL)


@contextmanager
def _on_sqlite(folder: Path) -> Iterator[Place]:
    yield Place(folder / "data" / "oneself.sqlite3", {}, _kill_a_worker)


def _with_secret(url: str) -> dict[str, str]:
    return {"database_url": url, "secret_key": "k" * 43}


@contextmanager
def _on_postgresql(_folder: Path) -> Iterator[Place]:
    with databases(durable=True) as made:
        location = made.make()
        yield Place(location, _with_secret(url_of(location)), _kill_a_worker)


@contextmanager
def _on_a_server_that_is_killed(_folder: Path) -> Iterator[Place]:
    with databases(durable=True) as made:
        location = made.make()
        server = made.server
        assert server is not None

        def blow(_service: Running, number: int) -> None:
            server.kill() if number % 2 else server.stop()
            server.start()

        yield Place(location, _with_secret(url_of(location)), blow)


@contextmanager
def _over_a_network_that_is_cut(_folder: Path) -> Iterator[Place]:
    with databases(durable=True) as made:
        location = made.make()
        assert location.port is not None
        proxy = CuttingProxy(location.port)

        def blow(_service: Running, number: int) -> None:
            word = (b"COMMIT", b"BEGIN", b"UPDATE", b"INSERT", b"SELECT")[number // 3 % 5]
            proxy.arm(word, PHASES[number % 3], share=0.3)
            before, deadline = proxy.cut, time.monotonic() + 2
            while proxy.cut == before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
            proxy.disarm()

        through = location.set(port=proxy.port)
        yield Place(location, _with_secret(url_of(through)), blow)
        assert proxy.cut
        proxy.close()


PLACES: dict[str, Any] = {
    "a worker on SQLite is killed": _on_sqlite,
    "a worker on PostgreSQL is killed": _on_postgresql,
    "PostgreSQL is killed, or stopped": _on_a_server_that_is_killed,
    "the network to PostgreSQL is cut": _over_a_network_that_is_cut,
}


def _recover(service: Running) -> float:
    """Wait until everybody is answered again; gives the seconds that it took."""
    began = time.monotonic()
    good = 0
    while good < WORKERS * 2:
        assert time.monotonic() < began + SECONDS, service.log[-5000:]
        try:
            ready = service.ask("GET", "/readyz").status == 200
        except (OSError, AssertionError):
            ready = False
        good = good + 1 if ready and len(service.workers) == WORKERS else 0
        if not ready:
            time.sleep(0.02)
    return time.monotonic() - began


def _check_stored(location: Location) -> None:
    """Each key that was made has one event and one mail, whoever was told of it."""
    engine = open_engine(location)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        made = connection.execute(text("SELECT id FROM api_key")).scalars().all()
        told = connection.execute(
            text(
                "SELECT credential FROM (SELECT details AS credential FROM security_event"
                " WHERE kind = 'authn_token_created') AS told"
            )
        ).scalars()
        named = [key_id for details in map(str, told) for key_id in made if key_id in details]
        mails = connection.execute(
            text("SELECT count(*) FROM outbox_message WHERE kind = 'api_key_created'")
        ).scalar()
    engine.dispose()
    assert sorted(named) == sorted(made)
    assert mails == len(made)


@pytest.fixture
def rounds(request):
    return request.config.getoption("--rounds")


def _rounds(service: Running, place: Place, number: int, outcome: Outcome) -> None:
    accounts = [open_account(service, f"person{each}@example.com") for each in range(CLIENTS)]
    load = Load([Client(service, account, seed) for seed, account in enumerate(accounts)])
    pauses = random.Random(1)  # noqa: S311 # how long a round is, and no secret
    try:
        for each in range(number):
            load.go()
            time.sleep(pauses.uniform(0.05, 0.3))
            place.blow(service, each)
            outcome.recoveries.append(_recover(service))
            load.pause()
            outcome.rounds += 1
            outcome.books.add(load.check(Client.check))
            assert outcome.books.lost == [], f"round {each}"
            assert outcome.books.doubled == [], f"round {each}"
    finally:
        load.close()


def _do(what: str, folder: Path, number: int, outcome: Outcome) -> None:
    budgets = {"throttle_account": "100000/1", "throttle_mail": "100000/1"}
    # A worker that is just starting does not hear that it is to end, and is killed after this.
    budgets["drain_seconds"] = "5"
    with PLACES[what](folder) as place:
        with running(
            folder, workers=WORKERS, password_cost=10, **budgets, **place.settings
        ) as service:
            _rounds(service, place, number, outcome)
        _check_stored(place.location)
    assert outcome.books.acknowledged > number * CLIENTS


@pytest.mark.parametrize("what", PLACES)
def test_nothing_that_was_acknowledged_is_lost_or_doubled(
    what, request, rounds, tmp_path, outcomes
):
    """DB-04, DB-08, DB-12, OP-08: whatever is killed under load, and however often."""
    if (
        PLACES[what] is not _on_sqlite
        and rounds is None
        and (request.config.getoption("--database") == "sqlite")
    ):
        pytest.skip("on PostgreSQL with --database postgresql or --rounds")
    _do(what, tmp_path, rounds or 20, outcomes[what])
