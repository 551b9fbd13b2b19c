"""Thread pools that operations run in."""

import asyncio
import threading
import time

import pytest

from accounts.errors import OutcomeUnknown, Unavailable
from oneself.database.commit_gate import commit_gate
from oneself.runtime.thread_pools import Pool, PoolLimits, PoolObserver
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
    refused, finish = [], threading.Event()
    observer = PoolObserver(lambda _pending: None, lambda: refused.append("once"))
    pool = Pool("test", threads=1, queue=1, limits=PoolLimits(wait=0.0), observer=observer)

    async def time_out():
        running = asyncio.create_task(pool.run(finish.wait, patient(10)))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await pool.run(finish.wait, patient(10))
        finish.set()
        assert await running

    asyncio.run(time_out())
    pool.close()
    assert refused == ["once"]


# Work that hangs (DB-12)


class Hanging:
    """A pool of two threads and one reader, a clock for it, and work that hangs until `end`."""

    def __init__(self, **options):
        self.now = 0.0
        limits = PoolLimits(wait=5.0, total=9.0, slow=1.0)
        options = {"threads": 2, "readers": 1, "queue": 100, "limits": limits, **options}
        self.pool = Pool("test", clock=lambda: self.now, **options)
        self.started = threading.Semaphore(0)
        self.end = threading.Event()
        self.committed = []

    def hang(self):
        """Hang before the commit."""
        self.started.release()
        self.end.wait(patient(30))
        with commit_gate(is_last=True):
            self.committed.append(True)

    def hang_in_commit(self):
        """Hang inside the commit."""
        with commit_gate(is_last=True):
            self.started.release()
            self.end.wait(patient(30))
            self.committed.append(True)

    async def begin(self, work, number=1, **options):
        """Begin work, and wait until it has begun."""
        tasks = [asyncio.create_task(self.pool.run(work, **options)) for _ in range(number)]
        for _ in range(number):
            assert await asyncio.to_thread(self.started.acquire, timeout=patient(10))
        return tasks

    async def pass_time(self, seconds):
        """Let the clock of the pool go on, and the pool look at it twice."""
        self.now += seconds
        await asyncio.sleep(0.05)


@pytest.fixture
def hanging(monkeypatch):
    monkeypatch.setattr("oneself.runtime.thread_pools._LOOK_SECONDS", 0.01)
    hanging = Hanging()
    yield hanging
    hanging.end.set()
    hanging.pool.close()


async def _failure_of(task):
    return (await asyncio.gather(task, return_exceptions=True))[0]


def test_waits_end_while_all_threads_hang(hanging):
    """DB-12, reliability finding 2, scale-out P1: on the event loop, not when a thread is free."""

    async def run():
        begun = await hanging.begin(hanging.hang, 2)
        waiting = asyncio.create_task(hanging.pool.run(int))
        await asyncio.sleep(0)
        await hanging.pass_time(0.9)
        assert not waiting.done()
        await hanging.pass_time(8.2)
        assert [type(await _failure_of(task)) for task in [*begun, waiting]] == [Unavailable] * 3

    asyncio.run(run())


def test_work_that_was_refused_never_commits(hanging):
    """DB-12, reliability finding 2: no 503 is a change that was done."""

    async def run():
        [task] = await hanging.begin(hanging.hang)
        await hanging.pass_time(9.1)
        assert isinstance(await _failure_of(task), Unavailable)

    asyncio.run(run())
    hanging.end.set()
    hanging.pool.close()
    assert hanging.committed == []


def test_work_that_hangs_in_its_commit_has_an_unknown_outcome(hanging):
    """DB-12, reliability finding 2: and is not interrupted."""

    async def run():
        [task] = await hanging.begin(hanging.hang_in_commit)
        await hanging.pass_time(9.1)
        failure = await _failure_of(task)
        assert isinstance(failure, OutcomeUnknown)
        assert failure.reason == "commits wait for a standby or a disk"

    asyncio.run(run())
    hanging.end.set()
    hanging.pool.close()
    assert hanging.committed == [True]


def test_commit_before_slow_work_does_not_make_the_outcome_unknown(hanging):
    """DB-12: what is committed by then counts an attempt."""

    def work():
        with commit_gate(is_last=False):
            pass
        hanging.hang()

    async def run():
        [task] = await hanging.begin(work)
        await hanging.pass_time(9.1)
        assert isinstance(await _failure_of(task), Unavailable)

    asyncio.run(run())


def test_failed_commit_does_not_make_the_outcome_unknown(hanging):
    """DB-12: the database has said so; after an unknown outcome, it stays unknown."""
    failures = [ValueError(), OutcomeUnknown("no answer"), ValueError()]

    def work(number):
        for failure in failures[:number]:
            with pytest.raises(type(failure)), commit_gate(is_last=True):
                raise failure
        hanging.hang()

    async def run(number):
        [task] = await hanging.begin(lambda: work(number))
        await hanging.pass_time(9.1)
        return type(await _failure_of(task))

    assert asyncio.run(run(1)) is Unavailable
    assert asyncio.run(run(3)) is OutcomeUnknown


def test_reads_have_a_thread_that_writes_never_take(hanging):
    """DB-12, reliability finding 2, scale-out P1."""

    async def run():
        writes = await hanging.begin(hanging.hang_in_commit, 2)
        writes += [asyncio.create_task(hanging.pool.run(hanging.hang)) for _ in range(5)]
        await asyncio.sleep(0)
        assert await hanging.pool.run(lambda: "read", writing=False) == "read"
        assert not any(write.done() for write in writes)
        hanging.end.set()
        await asyncio.gather(*writes)

    asyncio.run(run())


def test_thread_that_hangs_is_set_aside(hanging):
    """DB-12, scale-out P1: another takes its place, and it ends with its work."""

    async def run():
        hung = await hanging.begin(hanging.hang_in_commit, 2)
        waiting = asyncio.create_task(hanging.pool.run(lambda: "done"))
        await asyncio.sleep(0)
        await hanging.pass_time(1.1)
        assert await waiting == "done"
        hanging.end.set()
        await asyncio.gather(*hung)

    asyncio.run(run())
    deadline = time.monotonic() + patient(10)
    while len(_threads("test")) > 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert asyncio.run(hanging.pool.run(lambda: "well")) == "well"


def _threads(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_work_is_refused_at_once_while_no_more_threads_can_be_set_aside(hanging):
    """DB-12, scale-out P1: with a reason; the number of threads stays bounded, and reads go on."""

    async def run():
        hung = []
        for _ in range(2):
            hung += await hanging.begin(hanging.hang_in_commit, 2)
            await hanging.pass_time(1.1)
        with pytest.raises(Unavailable) as refused:
            await hanging.pool.run(lambda: "write", urgent=True)
        assert refused.value.reason == "commits wait for a standby or a disk"
        assert await hanging.pool.run(lambda: "read", writing=False) == "read"
        hung += await hanging.begin(hanging.hang, writing=False)
        await hanging.pass_time(1.1)
        with pytest.raises(Unavailable):
            await hanging.pool.run(lambda: "read", writing=False)
        assert len(_threads("test")) == 5
        hanging.end.set()
        await asyncio.gather(*hung, return_exceptions=True)
        assert await hanging.pool.run(lambda: "write") == "write"

    asyncio.run(run())


def test_long_queue_is_refused_early():
    """OP-06, reliability finding 8: urgent work is not, and is the next to be done."""
    hanging, done = Hanging(limits=PoolLimits(wait=5.0)), []

    async def run():
        hung = await hanging.begin(hanging.hang, 2)
        waiting = [asyncio.create_task(hanging.pool.run(done.append, "first"))]
        await asyncio.sleep(0)
        hanging.now = 2.6
        with pytest.raises(Unavailable):
            await hanging.pool.run(done.append, "late")
        waiting.append(asyncio.create_task(hanging.pool.run(done.append, "urgent", urgent=True)))
        await asyncio.sleep(0)
        hanging.end.set()
        await asyncio.gather(*hung, *waiting)

    asyncio.run(run())
    hanging.pool.close()
    assert done == ["urgent", "first"]


def test_close_does_not_wait_for_work_that_hangs(hanging, monkeypatch):
    """OP-01: a shutdown ends while the database hangs."""
    monkeypatch.setattr("oneself.runtime.worker_threads._CLOSE_SECONDS", 0.1)

    async def run():
        [task] = await hanging.begin(hanging.hang)
        hanging.pool.close()
        hanging.end.set()
        await task

    asyncio.run(run())


def test_own_limit_of_work_replaces_that_of_the_pool(hanging):
    """OP-02: a probe takes no answer for a failure."""

    async def run():
        [task] = await hanging.begin(hanging.hang, writing=False, total=2.0)
        await hanging.pass_time(2.1)
        assert isinstance(await _failure_of(task), Unavailable)

    asyncio.run(run())
