"""Work that is done now and then, beside the requests."""

import asyncio
import logging
import threading
import time

import pytest

from oneself import app
from oneself.runtime.jobs import repeated, run_in_parts
from oneself.runtime.thread_pools import Pool


@pytest.fixture
def pool():
    pool = Pool("jobs", threads=1, queue=4)
    yield pool
    pool.close()


class Work:
    """Counts how often it is done; `wanted` is set when that was often enough."""

    def __init__(self, often=1, *, fails=0):
        self.done = 0
        self.fails = fails
        self.threads = set()
        self._often = often
        self.wanted = threading.Event()

    def __call__(self):
        self.done += 1
        self.threads.add(threading.current_thread().name)
        if self.done >= self._often:
            self.wanted.set()
        if self.done <= self.fails:
            raise ValueError("not this time")


async def _during(work, seconds, pool):
    async with repeated(work, seconds, pool):
        assert await asyncio.to_thread(work.wanted.wait, 10)
        return work.done


def test_work_is_done_again_and_again(pool):
    """In a thread of the pool, not on the event loop."""
    work = Work(often=5)
    asyncio.run(_during(work, 0.001, pool))
    assert work.done >= 5
    assert all(name.startswith("jobs") for name in work.threads)


def test_work_is_done_once_more_at_the_end(pool):
    """What was put down last is not left lying until the next start (OP-01)."""
    work = Work()
    began = time.perf_counter()
    before = asyncio.run(_during(work, 60, pool))
    assert (before, work.done) == (1, 2)
    assert time.perf_counter() - began < 10


def test_work_that_fails_is_done_again(pool, caplog):
    """The failure is logged with its traceback, and the next time may be better (OP-03)."""
    work = Work(often=3, fails=2)
    with caplog.at_level(logging.ERROR):
        asyncio.run(_during(work, 0.001, pool))
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, ValueError]


def test_work_that_fails_at_the_end_does_not_hinder_it(pool, caplog):
    """The service stops all the same (OP-01)."""
    work = Work(fails=100)
    asyncio.run(_during(work, 60, pool))
    assert work.done == 2
    assert len(caplog.records) == 2


def test_the_end_waits_for_work_that_is_being_done(pool):
    """It is not cut off, and done once more after it (OP-01)."""
    began, may_end, finished = threading.Event(), threading.Event(), []

    def work():
        began.set()
        may_end.wait(10)
        finished.append(True)

    async def end_during_the_work():
        async with repeated(work, 60, pool):
            await asyncio.to_thread(began.wait, 10)
            asyncio.get_running_loop().call_later(0.02, may_end.set)

    asyncio.run(end_during_the_work())
    assert finished == [True, True]


def test_what_fails_beside_the_work_still_ends_it(pool):
    """Whatever ends the service, the work is done once more."""
    work = Work()

    async def fail():
        async with repeated(work, 60, pool):
            await asyncio.to_thread(work.wanted.wait, 10)
            raise KeyError("a")

    with pytest.raises(KeyError):
        asyncio.run(fail())
    assert work.done == 2


def test_what_is_done_in_parts_is_done_to_its_end(database):
    """DB-17: each part in a transaction of its own."""
    left, moments = [3], []

    def act(session):
        moments.append(session)
        left[0] -= 1
        return left[0]

    run_in_parts(database, "a job", act)
    assert left == [0]
    assert len(set(map(id, moments))) == 3


def test_what_never_ends_is_left_for_the_next_time(database):
    """OP-01: at the end somebody waits for it."""
    done = []

    def act(_session):
        done.append(1)
        return 1

    run_in_parts(database, "a job", act)
    assert 1 < len(done) < 1000


def test_lock_names_of_jobs_are_those_of_the_released_replicas():
    """A renamed lock lets an old and a new replica run one job at once during an upgrade."""
    assert [lock for _, lock, _, _ in app.JOBS] == [
        "accounts.password_resets.mail_requested_resets",
        "accounts.event_chain.chain_events",
        "accounts.oauth_tokens.forget_expired_jwts",
        "accounts.throttling.forget_old_attempts",
        "accounts.signing_keys.forget_retired_keys",
        "accounts.outbox.forget_dead_letters",
        "accounts.idempotency.forget_answers",
        "accounts.retention.forget_what_ended",
    ]
