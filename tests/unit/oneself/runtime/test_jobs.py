"""Background jobs: repetition, parts and lock names."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.errors import Unavailable
from oneself import app
from oneself.runtime import jobs
from oneself.runtime.jobs import Unfinished, all_repeated, repeated, run_found_parts, run_in_parts
from oneself.runtime.thread_pools import Pool
from tests.support.deadlines import patient


@pytest.fixture
def pool():
    pool = Pool("jobs", threads=1, queue=4)
    yield pool
    pool.close()


class Work:
    """Work that counts its runs; `enough` is set at the target number."""

    def __init__(self, target=1, *, fails=0, returns=None):
        self.runs = 0
        self.returns = returns
        self.fails = fails
        self.threads = set()
        self._often = target
        self.enough = threading.Event()

    def __call__(self):
        self.runs += 1
        self.threads.add(threading.current_thread().name)
        if self.runs >= self._often:
            self.enough.set()
        if self.runs <= self.fails:
            raise ValueError("not this time")
        return self.returns


async def _runs_during(work, seconds, pool):
    async with repeated(work, seconds, pool):
        assert await asyncio.to_thread(work.enough.wait, 10)
        return work.runs


def test_work_is_repeated(pool):
    """In a thread of the pool, not on the event loop."""
    work = Work(target=5)
    asyncio.run(_runs_during(work, 0.001, pool))
    assert work.runs >= 5
    assert all(name.startswith("jobs") for name in work.threads)


def test_work_is_done_once_more_at_the_end(pool):
    """OP-01: the latest data is written before the process ends."""
    work = Work()
    start = time.perf_counter()
    before = asyncio.run(_runs_during(work, 60, pool))
    assert (before, work.runs) == (1, 2)
    assert time.perf_counter() - start < patient(10)


def test_failed_work_is_repeated(pool, caplog):
    """The failure is logged with its traceback (OP-03)."""
    work = Work(target=3, fails=2)
    with caplog.at_level(logging.ERROR):
        asyncio.run(_runs_during(work, 0.001, pool))
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, ValueError]


def test_work_refused_for_a_logged_reason_is_not_logged_again(pool, caplog):
    """DB-06: a lost file has one line in the log, and not one for each run of each job."""
    refusals = [Unavailable(reason="the disk is full"), Unavailable()]

    def work():
        if refusals:
            raise refusals.pop()

    async def run_twice():
        async with repeated(work, 60, pool):
            pass

    asyncio.run(run_twice())
    assert [record.exc_info[0] for record in caplog.records] == [Unavailable]


def test_failing_work_does_not_prevent_the_stop(pool, caplog):
    """OP-01."""
    work = Work(fails=100)
    asyncio.run(_runs_during(work, 60, pool))
    assert work.runs == 2
    assert len(caplog.records) == 2


def test_stop_waits_for_running_work(pool):
    """It is not cut off, and done once more after it (OP-01)."""
    started, finish, finished = threading.Event(), threading.Event(), []

    def work():
        started.set()
        finish.wait(patient(10))
        finished.append(True)

    async def end_during_the_work():
        async with repeated(work, 60, pool):
            await asyncio.to_thread(started.wait, 10)
            asyncio.get_running_loop().call_later(0.02, finish.set)

    asyncio.run(end_during_the_work())
    assert finished == [True, True]


def test_error_beside_the_work_stops_it(pool):
    """After one more run."""
    work = Work()

    async def fail():
        async with repeated(work, 60, pool):
            await asyncio.to_thread(work.enough.wait, 10)
            raise KeyError("a")

    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert work.runs == 2


def test_parts_are_run_until_nothing_is_left(database):
    """DB-17: each part in a transaction of its own."""
    remaining, sessions = [3], []

    def act(session):
        sessions.append(session)
        remaining[0] -= 1
        return remaining[0]

    run_in_parts(database, "a job", act)
    assert remaining == [0]
    assert len(set(map(id, sessions))) == 3


@pytest.fixture
def no_time(monkeypatch):
    """Runs whose time is over after their first part."""
    monkeypatch.setattr(jobs, "_SECONDS", -1)


@pytest.mark.usefixtures("no_time")
def test_endless_parts_are_left_for_the_next_run(database):
    """OP-01: the process waits for it when it stops."""
    runs = []

    def act(_session):
        runs.append(1)
        return 1

    assert run_in_parts(database, "a job", act) is Unfinished.UNFINISHED
    assert run_found_parts(database, "a job", lambda _session: [act, act]) is Unfinished.UNFINISHED
    assert len(runs) == 2


def test_parts_of_another_replica_do_not_end_a_run(database, monkeypatch):
    """DB-17, reliability finding 6: its part may not be the last."""
    outcomes = iter([1, None, None, 1, 0])
    monkeypatch.setattr(jobs, "run_alone", lambda *_job: next(outcomes))
    assert run_in_parts(database, "a job", lambda _session: 0) is None
    assert list(outcomes) == []


def test_found_parts_are_run_until_none_is_found(database):
    """DB-17, reliability finding 6: each in a transaction of its own."""
    remaining, sessions = [5], []

    def act(session):
        sessions.append(session)
        remaining[0] -= 1
        return 0  # as if another replica had done it

    assert run_found_parts(database, "a job", lambda _session: [act] * min(remaining[0], 2)) is None
    assert remaining == [0]
    assert len(set(map(id, sessions))) == 5


def test_parts_are_found_without_the_write_lock(database):
    """DB-17, reliability finding 6: a search in a large table keeps no writer waiting."""
    with database.transaction(writing=True), ThreadPoolExecutor(1) as thread:
        run = thread.submit(run_found_parts, database, "a job", lambda _session: [])
        assert run.result(timeout=patient(5)) is None


def test_unfinished_work_is_continued_soon(pool, monkeypatch):
    """DB-17: and not an hour later."""
    monkeypatch.setattr(jobs, "_BREAK", 0.001)
    work = Work(target=3, returns=Unfinished.UNFINISHED)
    asyncio.run(_runs_during(work, 3600, pool))
    assert work.runs >= 3


def test_lock_names_of_jobs_are_those_of_the_released_replicas():
    """A renamed lock lets an old and a new replica run one job at once during an upgrade."""
    assert [lock for _, lock, _, _ in app.JOBS] == [
        "accounts.password_resets.mail_requested_resets",
        "accounts.event_chain.chain_events",
        "accounts.event_chain.chain_events",
        "accounts.oauth_tokens.forget_expired_jwts",
        "accounts.throttling.forget_old_attempts",
        "accounts.signing_keys.forget_retired_keys",
        "accounts.outbox.forget_dead_letters",
        "accounts.idempotency.forget_answers",
        "accounts.retention.revoke_idle_sessions",
        "accounts.login_networks.mail_failed_logins",
        "accounts.login_networks.delete_old_networks",
        "accounts.expiring_tokens.mail_expiring_tokens",
        "accounts.retention.forget_what_ended",
        "accounts.erasure.erase_deleted_accounts",
    ]


def test_stop_does_not_wait_for_work_that_hangs(pool, caplog):
    """OP-01, DB-12: as in a database without its standby; all jobs are waited for at once."""
    started, finish = threading.Semaphore(0), threading.Event()

    def hang():
        started.release()
        finish.wait(patient(30))

    async def stop():
        jobs = [(hang, 60.0)] * 3
        async with all_repeated(jobs, pool, stop_seconds=0.3):
            assert await asyncio.to_thread(started.acquire, timeout=patient(10))

    begun = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - begun < patient(2)
    assert [record.getMessage() for record in caplog.records] == [
        "a job hangs, and is left behind"
    ] * 3
    finish.set()
