"""Thread pools that operations run in."""

import asyncio
import threading

import pytest

from accounts.errors import Unavailable
from oneself.runtime.thread_pools import Pool, PoolObserver
from tests.support.deadlines import patient


@pytest.fixture
def pool():
    pool = Pool("test", threads=1, queue=1)
    yield pool
    pool.close()


def test_work_is_done_in_a_named_thread(pool):
    """The name tells an operator which pool it is."""

    def work(*arguments):
        return arguments, threading.current_thread().name

    arguments, name = asyncio.run(pool.run(work, 1, "two"))
    assert arguments == (1, "two")
    assert name.startswith("test")


def test_exception_of_the_work_is_raised(pool):
    """The slot is free again."""

    def fail():
        raise KeyError("a")

    for _ in range(5):
        with pytest.raises(KeyError):
            asyncio.run(pool.run(fail))


def test_full_queue_is_refused_at_once(pool):
    """LG-13, OP-06: one runs, one waits, and the third is refused."""
    finish = threading.Event()

    async def overload():
        accepted = [asyncio.create_task(pool.run(finish.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await pool.run(finish.wait, 10)
        # The accepted work goes on.
        assert not any(task.done() for task in accepted)
        finish.set()
        assert await asyncio.gather(*accepted) == [True, True]

    asyncio.run(overload())
    assert asyncio.run(pool.run(finish.is_set))


def test_event_loop_is_not_blocked(pool):
    """LG-13: the work waits for an event that only the loop sets."""
    finish = threading.Event()

    async def wait_for_the_loop():
        slow = asyncio.create_task(pool.run(finish.wait, 10))
        await asyncio.sleep(0)
        finish.set()
        return await slow

    assert asyncio.run(wait_for_the_loop())


def test_parallel_work_is_bounded_by_the_threads():
    """LG-13: no three of many ever meet at a barrier."""
    pool = Pool("test", threads=2, queue=20)
    meeting = threading.Barrier(3)

    def meet():
        try:
            meeting.wait(0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    async def run_many():
        return await asyncio.gather(*(pool.run(meet) for _ in range(20)))

    assert asyncio.run(run_many()) == [False] * 20
    pool.close()


def test_cancelled_waiting_work_is_not_done(pool):
    """LG-13: its slot is free again."""
    finish, done = threading.Event(), []

    async def cancel_waiting():
        running = asyncio.create_task(pool.run(finish.wait, 10))
        waiting = asyncio.create_task(pool.run(done.append, "cancelled"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        following = asyncio.create_task(pool.run(done.append, "following"))
        await asyncio.sleep(0)
        finish.set()
        await asyncio.gather(running, following)

    asyncio.run(cancel_waiting())
    assert done == ["following"]


def test_close_waits_for_running_work():
    """OP-01."""
    pool = Pool("test", threads=1, queue=1)
    started, finish, done = threading.Event(), threading.Event(), []

    def work():
        started.set()
        finish.wait(patient(10))
        done.append(True)

    async def begin():
        task = asyncio.create_task(pool.run(work))
        await asyncio.sleep(0)
        started.wait(patient(10))
        # Set by another thread, since this one is inside `close` by then.
        threading.Timer(0.05, finish.set).start()
        pool.close()
        assert done == [True]
        await task

    asyncio.run(begin())


def test_observer_is_told_of_pending_and_refused_work():
    """OP-06, OP-11: at each change."""
    pending, refused, finish = [], [], threading.Event()
    observer = PoolObserver(pending.append, lambda: refused.append(len(pending)))
    pool = Pool("test", threads=1, queue=1, observer=observer)

    async def overload():
        accepted = [asyncio.create_task(pool.run(finish.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await pool.run(finish.wait, 10)
        assert (pending, refused) == ([1, 2], [2])
        finish.set()
        await asyncio.gather(*accepted)

    asyncio.run(overload())
    pool.close()
    assert (pending, refused) == ([1, 2, 1, 0], [2])


def test_observer_is_told_of_work_that_timed_out():
    """OP-11."""
    refused = []
    observer = PoolObserver(lambda _pending: None, lambda: refused.append("once"))
    pool = Pool("test", threads=1, queue=1, timeout=-1, observer=observer)
    with pytest.raises(Unavailable):
        asyncio.run(pool.run(threading.Event))
    pool.close()
    assert refused == ["once"]
