"""Group commit: acts that share a transaction, and when each gets its result."""

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError, OperationalError

from accounts.errors import NotFound, OutcomeUnknown, Unavailable
from models import Tenant
from oneself.database import Database, RetryAlone, open_engine
from oneself.database.group_commit import GroupCommit
from oneself.database.sqlite import Sqlite
from tests.support.deadlines import patient
from tests.support.refusals import CountedAttempt

pytestmark = pytest.mark.only_on("sqlite")


def _add_tenant(session, number):
    session.core.exec_driver_sql(
        "INSERT INTO tenant VALUES (?, ?, 'A', '2026-01-01 00:00:00.000000', NULL)",
        (f"tnt_{number}", f"uuid-{number}"),
    )
    return number


def _in_shared_transaction(database, act, *arguments):
    """Wrap an act as an operation does: in a session that is a part of a shared transaction."""

    def run(shared):
        with database.transaction(writing=True, shared=shared) as session:
            return act(session, *arguments)

    return run


def _run_concurrently(database, *acts):
    """Run acts that start at the same moment; return what each returned or raised."""

    async def run():
        runs = (database.run_in_group(_in_shared_transaction(database, *act)) for act in acts)
        return await asyncio.gather(*runs, return_exceptions=True)

    return asyncio.run(run())


@contextmanager
def _listening(name, listener):
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


@contextmanager
def _counting():
    """Count the transactions that are begun and committed."""
    counts = Counter()

    def on_execute(_connection, _cursor, statement, *_rest):
        counts["begun"] += statement.startswith("BEGIN")

    def on_commit(_connection):
        counts["committed"] += 1

    with _listening("before_cursor_execute", on_execute), _listening("commit", on_commit):
        yield counts


@contextmanager
def _write_locked(location):
    """Hold the write lock as another process does."""
    engine = open_engine(location, timeout=0)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        yield other
    engine.dispose()


@pytest.fixture
def database(env, request):
    """A database; with a short timeout where a test asks for one."""
    timeout = getattr(request, "param", 5000)
    opened = Database(env.location, keys=env.keys, limits=env.limits, timeout=timeout)
    yield opened
    opened.close()


short_timeout = pytest.mark.parametrize("database", [300], indirect=True)


def test_concurrent_acts_share_a_commit(database, env):
    """At most 32 at a time, so that the event loop does other work in between."""
    with _counting() as counts:
        results = _run_concurrently(database, *((_add_tenant, number) for number in range(70)))
    assert results == list(range(70))
    assert env.count("tenant") == 70
    assert counts == {"begun": 3, "committed": 3}


def test_refusal_undoes_only_its_own_act(database, env):
    """DB-04: rows written by an entity and by a statement alike."""

    def refuse(session):
        _add_tenant(session, 2)
        tenant = Tenant(id="tnt_3", uuid="uuid-3", display_name="B", created_at=session.now)
        session.add(tenant)
        session.flush()
        raise NotFound

    first, refused, last = _run_concurrently(
        database, (_add_tenant, 1), (refuse,), (_add_tenant, 4)
    )
    assert (first, type(refused), last) == (1, NotFound, 4)
    assert env.count("tenant") == 2


def test_group_of_refusals_is_not_committed(database, env):
    """Repeated invalid requests take no time of those that write."""

    def refuse(session):
        _add_tenant(session, 1)
        raise NotFound

    with _counting() as counts:
        results = _run_concurrently(database, (refuse,), (refuse,))
    assert [type(result) for result in results] == [NotFound] * 2
    assert counts == {"begun": 1}
    assert env.count("tenant") == 0
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


def test_refusal_with_keep_writes_keeps_its_writes(database, env):
    """Failed attempts are counted although the act is refused (LG-04)."""

    def refuse(session):
        session.add(Tenant(id="tnt_1", uuid="uuid-1", display_name="B", created_at=session.now))
        raise CountedAttempt

    refused, _ = _run_concurrently(database, (refuse,), (_add_tenant, 2))
    assert type(refused) is CountedAttempt
    assert env.count("tenant") == 2


def test_unexpected_error_fails_the_whole_group(database, env):
    """It is unknown what the failed act left behind."""

    def break_off(session):
        _add_tenant(session, 2)
        raise ZeroDivisionError

    results = _run_concurrently(database, (_add_tenant, 1), (break_off,))
    assert [type(result) for result in results] == [ZeroDivisionError] * 2
    assert env.count("tenant") == 0
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


def test_database_error_asks_for_a_retry_alone(database, env):
    """It may have ended the shared transaction, as a full disk does (DB-05)."""
    results = _run_concurrently(database, (_add_tenant, 1), (_add_tenant, 1), (_add_tenant, 2))
    assert [type(result) for result in results] == [RetryAlone] * 3
    assert type(results[0].__cause__) is IntegrityError
    assert env.count("tenant") == 0
    assert _run_concurrently(database, (_add_tenant, 1), (_add_tenant, 2)) == [1, 2]


def test_act_that_continues_after_a_rollback_fails_the_group(database, env):
    """DB-04: SQLite has undone the acts before it as well, which must not report success."""

    def go_on(session):
        session.core.exec_driver_sql("ROLLBACK")
        return 2

    results = _run_concurrently(database, (_add_tenant, 1), (go_on,), (_add_tenant, 3))
    assert not [result for result in results if isinstance(result, int)]
    assert env.count("tenant") == 0
    results = _run_concurrently(database, (_add_tenant, 1), (go_on,))
    assert not [result for result in results if isinstance(result, int)]
    assert env.count("tenant") == 0
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


def test_failed_commit_fails_the_group_and_releases_the_lock(database, env):
    """DB-04: it is not retried, since it is unknown what reached the disk."""

    def fail(_connection):
        raise OperationalError("COMMIT", None, Exception("disk I/O error"))

    with _listening("commit", fail):
        results = _run_concurrently(database, (_add_tenant, 1), (_add_tenant, 2))
    assert [type(result) for result in results] == [OperationalError] * 2
    assert env.count("tenant") == 0
    env.act(_add_tenant, 3)
    assert _run_concurrently(database, (_add_tenant, 4)) == [4]


def test_results_are_withheld_until_the_commit(database, env):
    """Meanwhile the event loop goes on; later acts are in the next transaction."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(_connection):
        if threading.current_thread().name.startswith("commit"):
            reached.set()
            assert go_on.wait(patient(10))

    async def run():
        first = asyncio.ensure_future(
            database.run_in_group(_in_shared_transaction(database, _add_tenant, 1))
        )
        await asyncio.to_thread(reached.wait, 10)
        later = asyncio.ensure_future(
            database.run_in_group(_in_shared_transaction(database, _add_tenant, 2))
        )
        await asyncio.sleep(0.05)
        seen = first.done(), later.done(), env.count("tenant")
        go_on.set()
        return seen, await asyncio.gather(first, later)

    with _listening("commit", wait):
        assert asyncio.run(run()) == ((False, False, 0), [1, 2])


def test_cancelled_act_does_not_cancel_the_group(database, env):
    """Acts that have started are completed, whether or not their client is still connected."""

    async def run():
        cancelled, remaining = (
            asyncio.ensure_future(
                database.run_in_group(_in_shared_transaction(database, _add_tenant, number))
            )
            for number in (1, 2)
        )
        await asyncio.sleep(0)
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        return await remaining

    assert asyncio.run(run()) == 2
    assert env.count("tenant") == 2


def test_group_waits_for_a_writing_thread(database, env):
    """Without blocking the event loop."""
    begun, go_on = threading.Event(), threading.Event()

    def write():
        with database.transaction(writing=True) as session:
            begun.set()
            assert go_on.wait(patient(10))
            _add_tenant(session, 1)

    async def run():
        act = asyncio.ensure_future(
            database.run_in_group(_in_shared_transaction(database, _add_tenant, 2))
        )
        await asyncio.sleep(0.05)
        waits = not act.done()
        go_on.set()
        return waits, await act

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert begun.wait(patient(10))
        assert asyncio.run(run()) == (True, 2)
        writing.result()
    assert env.count("tenant") == 2


def test_waiting_thread_gets_its_turn(database):
    """Otherwise group after group would take the lock, and the thread would time out (DB-11)."""
    order, writes, begun = [], [], threading.Event()

    def write():
        begun.set()
        with database.transaction(writing=True):
            order.append("thread")

    def act(_session, number):
        order.append(number)
        if number == 0:
            writes.append(pool.submit(write))
            assert begun.wait(patient(10))

    with ThreadPoolExecutor(1) as pool:
        _run_concurrently(database, *((act, number) for number in range(1000)))
        writes[0].result()
    assert order[-1] != "thread"


@short_timeout
def test_act_times_out_behind_a_writing_thread(database):
    """DB-11."""
    with database.transaction(writing=True):
        [refused] = _run_concurrently(database, (_add_tenant, 1))
    assert type(refused) is Unavailable
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


@short_timeout
def test_act_times_out_behind_another_process(database, env):
    """DB-05: later acts succeed."""
    with _write_locked(env.location):
        [refused] = _run_concurrently(database, (_add_tenant, 1))
    assert type(refused) is OperationalError
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


def test_group_waits_for_another_process(database, env):
    """As long as a thread would."""

    async def run(other):
        act = asyncio.ensure_future(
            database.run_in_group(_in_shared_transaction(database, _add_tenant, 1))
        )
        await asyncio.sleep(0.05)
        waits = not act.done()
        other.rollback()
        return waits, await act

    with _write_locked(env.location) as other:
        assert asyncio.run(run(other)) == (True, 1)


def test_full_queue_is_refused(database):
    """OP-06: the response is a 503 at once."""
    results = Counter(
        type(result)
        for result in _run_concurrently(
            database, *((_add_tenant, number) for number in range(1030))
        )
    )
    assert results == {int: 1024, Unavailable: 6}


@short_timeout
@pytest.mark.parametrize("blocked_by", ["a thread", "another process"])
def test_queue_times_out_as_a_whole(database, env, blocked_by):
    """OP-06, DB-11: after one group has timed out, the rest do not each wait as long."""
    holding = (
        database.transaction(writing=True)
        if blocked_by == "a thread"
        else _write_locked(env.location)
    )
    began = time.monotonic()
    with holding:
        results = _run_concurrently(database, *((_add_tenant, number) for number in range(1000)))
    assert time.monotonic() - began < patient(3)  # thirty groups with 300 ms each would take 9 s
    refusal = Unavailable if blocked_by == "a thread" else OperationalError
    assert {type(result) for result in results} == {refusal}
    assert env.count("tenant") == 0
    assert _run_concurrently(database, (_add_tenant, 1)) == [1]


def test_act_that_timed_out_in_the_queue_is_not_started(env):
    """OP-06: as with a slow disk for each commit; the client may have disconnected."""
    connections = Sqlite(env.location, timeout=5000)
    group = GroupCommit(connections, timeout=0.1)
    begun = []

    def act(_connection, number):
        begun.append(number)
        if number == 0:
            time.sleep(0.2)
        return number

    async def run(numbers):
        acts = (group.run(partial(act, number=number)) for number in numbers)
        return await asyncio.gather(*acts, return_exceptions=True)

    results = asyncio.run(run(range(100)))
    assert results[:32] == begun == [*range(32)]
    assert {type(result) for result in results[32:]} == {Unavailable}
    assert asyncio.run(run([100])) == [100]
    group.close()
    connections.close()


def test_slow_work_cannot_share_a_transaction(database):
    """It would commit the unfinished writes of other acts."""

    def hash_something(session):
        with session.outside_transaction():
            pass

    [result] = _run_concurrently(database, (hash_something,))
    assert type(result) is RuntimeError
    assert "of its own" in str(result)


def test_waits_end_while_a_commit_hangs(env, monkeypatch):
    """DB-12: as on a stalled disk; those in the commit get an unknown outcome, the others a 503."""
    monkeypatch.setattr("oneself.database.group_commit._SLOW_COMMIT", 0.2)
    connections = Sqlite(env.location, timeout=5000)
    group = GroupCommit(connections, timeout=0.1, commit_timeout=0.3)
    started, end, done = threading.Event(), threading.Event(), []

    def hang(_connection):
        started.set()
        end.wait(patient(30))

    async def run():
        loop = asyncio.get_running_loop()
        began = loop.time()
        committing = asyncio.create_task(group.run(lambda _: "changed"))
        await asyncio.to_thread(started.wait, patient(10))
        with pytest.raises(Unavailable):  # in the queue
            await group.run(lambda _: done.append("waiting"))
        with pytest.raises(OutcomeUnknown) as unknown:
            await committing
        assert unknown.value.reason == "commits wait for the disk"
        await asyncio.sleep(max(0, began + 0.5 - loop.time()))
        with pytest.raises(Unavailable) as refused:  # at once
            await group.run(lambda _: done.append("refused"))
        assert refused.value.reason == "commits wait for the disk"
        end.set()
        while True:  # until the commit has ended
            try:
                return await group.run(lambda _: "well")
            except Unavailable:
                await asyncio.sleep(0.01)

    with _listening("commit", hang):
        assert asyncio.run(run()) == "well"
    assert done == []
    group.close()
    connections.close()
