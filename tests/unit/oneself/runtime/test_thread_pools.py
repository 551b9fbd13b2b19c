"""The threads that operations run in."""

import asyncio
import threading

import pytest

from accounts.errors import Unavailable
from oneself.runtime.thread_pools import Pool, PoolObserver


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
    """LG-13: one works, one waits, and the third is refused rather than late (OP-06)."""
    may_end = threading.Event()

    async def overload():
        taken = [asyncio.create_task(pool.run(may_end.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await pool.run(may_end.wait, 10)
        # Nothing has ended for it.
        assert not any(task.done() for task in taken)
        may_end.set()
        assert await asyncio.gather(*taken) == [True, True]

    asyncio.run(overload())
    assert asyncio.run(pool.run(may_end.is_set))


def test_the_event_loop_goes_on_meanwhile(pool):
    """LG-13: what the work waits for can only come from the loop itself."""
    may_end = threading.Event()

    async def wait_for_the_loop():
        slow = asyncio.create_task(pool.run(may_end.wait, 10))
        await asyncio.sleep(0)
        may_end.set()
        return await slow

    assert asyncio.run(wait_for_the_loop())


def test_no_more_runs_at_once_than_there_are_threads():
    """LG-13: of many that would meet, no three ever do."""
    pool = Pool("test", threads=2, queue=20)
    meeting = threading.Barrier(3)

    def meet():
        try:
            meeting.wait(0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    async def ask_for_many():
        return await asyncio.gather(*(pool.run(meet) for _ in range(20)))

    assert asyncio.run(ask_for_many()) == [False] * 20
    pool.close()


def test_who_hangs_up_while_waiting_costs_nothing(pool):
    """LG-13: their place is free again, and their work is not done."""
    may_end, done = threading.Event(), []

    async def hang_up():
        running = asyncio.create_task(pool.run(may_end.wait, 10))
        waiting = asyncio.create_task(pool.run(done.append, "nobody waits for this"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        following = asyncio.create_task(pool.run(done.append, "following"))
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(running, following)

    asyncio.run(hang_up())
    assert done == ["following"]


def test_closing_waits_for_what_is_running():
    """OP-01: nothing is cut off."""
    pool = Pool("test", threads=1, queue=1)
    began, closing, done = threading.Event(), threading.Event(), []

    def work():
        began.set()
        closing.wait(10)
        done.append(True)

    async def begin():
        task = asyncio.create_task(pool.run(work))
        await asyncio.sleep(0)
        began.wait(10)
        # Set by another thread, since this one is inside `close` by then.
        threading.Timer(0.05, closing.set).start()
        pool.close()
        assert done == [True]
        await task

    asyncio.run(begin())


def test_who_watches_is_told_what_is_taken_and_what_is_refused():
    """OP-06, OP-11: whenever it changes."""
    told, refused, may_end = [], [], threading.Event()
    watch = PoolObserver(told.append, lambda: refused.append(len(told)))
    pool = Pool("test", threads=1, queue=1, watch=watch)

    async def overload():
        taken = [asyncio.create_task(pool.run(may_end.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await pool.run(may_end.wait, 10)
        assert (told, refused) == ([1, 2], [2])
        may_end.set()
        await asyncio.gather(*taken)

    asyncio.run(overload())
    pool.close()
    assert (told, refused) == ([1, 2, 1, 0], [2])


def test_who_watches_is_told_of_what_has_waited_for_too_long():
    """OP-11: it is refused as well, and nobody else would know."""
    refused = []
    watch = PoolObserver(lambda _taken: None, lambda: refused.append("once"))
    pool = Pool("test", threads=1, queue=1, timeout=-1, watch=watch)
    with pytest.raises(Unavailable):
        asyncio.run(pool.run(threading.Event))
    pool.close()
    assert refused == ["once"]
