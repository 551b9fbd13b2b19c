"""The threads that operations run in."""

import asyncio
import threading
import time

import pytest

from accounts.errors import Unavailable
from oneself.workloads import Pool


@pytest.fixture
def pool():
    pool = Pool("test", threads=1, queue=1)
    yield pool
    pool.close()


def test_work_is_done_in_a_thread(pool):
    """With its arguments, and with a name that an operator finds."""

    def work(*arguments):
        return arguments, threading.current_thread().name

    arguments, name = asyncio.run(pool.run(work, 1, "two"))
    assert arguments == (1, "two")
    assert name.startswith("test")


def test_what_the_work_raises_comes_back(pool):
    """And the place is free again."""

    def fail():
        raise KeyError("a")

    for _ in range(5):
        with pytest.raises(KeyError):
            asyncio.run(pool.run(fail))


def test_past_the_queue_the_answer_comes_at_once(pool):
    """One works, one waits, and the third is refused rather than late (LG-13, OP-06)."""
    may_end = threading.Event()

    async def overload():
        taken = [asyncio.create_task(pool.run(may_end.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        began = time.perf_counter()
        with pytest.raises(Unavailable):
            await pool.run(may_end.wait, 10)
        refused_after = time.perf_counter() - began
        may_end.set()
        assert await asyncio.gather(*taken) == [True, True]
        return refused_after

    assert asyncio.run(overload()) < 0.5
    assert asyncio.run(pool.run(may_end.is_set))


def test_the_event_loop_goes_on_meanwhile(pool):
    """Slow work is somewhere else (LG-13)."""

    async def slow_and_quick():
        slow = asyncio.create_task(pool.run(time.sleep, 0.1))
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        quick = time.perf_counter() - began
        await slow
        return quick

    assert asyncio.run(slow_and_quick()) < 0.09


def test_closing_waits_for_what_is_running():
    """Nothing is cut off (OP-01)."""
    pool = Pool("test", threads=1, queue=1)
    done = []

    async def begin():
        task = asyncio.create_task(pool.run(lambda: (time.sleep(0.05), done.append(True))))
        await asyncio.sleep(0)
        pool.close()
        await task

    asyncio.run(begin())
    assert done == [True]
