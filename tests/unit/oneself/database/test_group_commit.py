"""Acts that share a transaction: who is told what, and when."""

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

from accounts.errors import NotFound, Unavailable
from models import Tenant
from oneself.database import Database, RetryAlone, open_engine
from oneself.database.group_commit import GroupCommit
from oneself.database.sqlite import Sqlite
from tests.support.refusals import CountedAttempt

pytestmark = pytest.mark.only_on("sqlite")


def _open(session, number):
    session.core.exec_driver_sql(
        "INSERT INTO tenant VALUES (?, ?, 'A', '2026-01-01 00:00:00.000000', NULL)",
        (f"tnt_{number}", f"uuid-{number}"),
    )
    return number


def _part(database, act, *arguments):
    """An act as an operation does it: in a session that is a part of what is shared."""

    def run(shared):
        with database.transaction(writing=True, shared=shared) as session:
            return act(session, *arguments)

    return run


def _together(database, *acts):
    """What each of some acts returned or raised, begun in the same moment."""

    async def run():
        parts = (database.run_in_group(_part(database, *act)) for act in acts)
        return await asyncio.gather(*parts, return_exceptions=True)

    return asyncio.run(run())


@contextmanager
def _heard(name, listener):
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


@contextmanager
def _counted():
    """How often a transaction was begun, and committed."""
    counts = Counter()

    def begun(_connection, _cursor, statement, *_rest):
        counts["begun"] += statement.startswith("BEGIN")

    def committed(_connection):
        counts["committed"] += 1

    with _heard("before_cursor_execute", begun), _heard("commit", committed):
        yield counts


@contextmanager
def _held(location):
    """The lock of whoever writes, in the hands of another process."""
    engine = open_engine(location, timeout=0)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        yield other
    engine.dispose()


@pytest.fixture
def database(env, request):
    """One that has little patience, where a test asks for that."""
    timeout = getattr(request, "param", 5000)
    opened = Database(env.location, keys=env.keys, limits=env.limits, timeout=timeout)
    yield opened
    opened.close()


impatient = pytest.mark.parametrize("database", [300], indirect=True)


def test_who_comes_together_waits_for_the_disk_once(database, env):
    """Thirty-two at a time, so that the event loop does something else in between."""
    with _counted() as counts:
        told = _together(database, *((_open, number) for number in range(70)))
    assert told == list(range(70))
    assert env.count("tenant") == 70
    assert counts == {"begun": 3, "committed": 3}


def test_a_refusal_takes_nothing_of_the_others_with_it(database, env):
    """Nor does what it has written itself stay, whether by an entity or by a statement (DB-04)."""

    def refuse(session):
        _open(session, 2)
        tenant = Tenant(id="tnt_3", uuid="uuid-3", display_name="B", created_at=session.now)
        session.add(tenant)
        session.flush()
        raise NotFound

    first, refused, last = _together(database, (_open, 1), (refuse,), (_open, 4))
    assert (first, type(refused), last) == (1, NotFound, 4)
    assert env.count("tenant") == 2


def test_where_all_are_refused_nobody_waits_for_the_disk(database, env):
    """Whoever sends what is wrong again and again takes no time of those who write."""

    def refuse(session):
        _open(session, 1)
        raise NotFound

    with _counted() as counts:
        told = _together(database, (refuse,), (refuse,))
    assert [type(each) for each in told] == [NotFound] * 2
    assert counts == {"begun": 1}
    assert env.count("tenant") == 0
    assert _together(database, (_open, 1)) == [1]


def test_a_refusal_that_says_so_keeps_what_was_written(database, env):
    """A counter counts although the act refused (LG-04)."""

    def refuse(session):
        session.add(Tenant(id="tnt_1", uuid="uuid-1", display_name="B", created_at=session.now))
        raise CountedAttempt

    refused, _ = _together(database, (refuse,), (_open, 2))
    assert type(refused) is CountedAttempt
    assert env.count("tenant") == 2


def test_a_defect_undoes_all_and_is_told_to_all(database, env):
    """What an act leaves behind that broke, nobody knows."""

    def break_off(session):
        _open(session, 2)
        raise ZeroDivisionError

    told = _together(database, (_open, 1), (break_off,))
    assert [type(each) for each in told] == [ZeroDivisionError] * 2
    assert env.count("tenant") == 0
    assert _together(database, (_open, 1)) == [1]


def test_what_the_database_refuses_is_done_alone(database, env):
    """It may have ended the transaction of all of them, as where the disk is full (DB-05)."""
    told = _together(database, (_open, 1), (_open, 1), (_open, 2))
    assert [type(each) for each in told] == [RetryAlone] * 3
    assert type(told[0].__cause__) is IntegrityError
    assert env.count("tenant") == 0
    assert _together(database, (_open, 1), (_open, 2)) == [1, 2]


def test_an_act_that_goes_on_after_sqlite_has_given_up_takes_all_with_it(database, env):
    """DB-04: what came before it was undone as well, and must not be told that it is there."""

    def go_on(session):
        session.core.exec_driver_sql("ROLLBACK")
        return 2

    told = _together(database, (_open, 1), (go_on,), (_open, 3))
    assert not [each for each in told if isinstance(each, int)]
    assert env.count("tenant") == 0
    told = _together(database, (_open, 1), (go_on,))
    assert not [each for each in told if isinstance(each, int)]
    assert env.count("tenant") == 0
    assert _together(database, (_open, 1)) == [1]


def test_a_commit_that_fails_is_told_to_all_and_keeps_nobody_waiting(database, env):
    """DB-04: and not done again, for who knows what the disk has of it."""

    def fail(_connection):
        raise OperationalError("COMMIT", None, Exception("disk I/O error"))

    with _heard("commit", fail):
        told = _together(database, (_open, 1), (_open, 2))
    assert [type(each) for each in told] == [OperationalError] * 2
    assert env.count("tenant") == 0
    env.act(_open, 3)
    assert _together(database, (_open, 4)) == [4]


def test_nobody_is_told_before_the_commit(database, env):
    """And the event loop goes on meanwhile; who comes then is in the next transaction."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(_connection):
        if threading.current_thread().name.startswith("commit"):
            reached.set()
            assert go_on.wait(10)

    async def run():
        first = asyncio.ensure_future(database.run_in_group(_part(database, _open, 1)))
        await asyncio.to_thread(reached.wait, 10)
        later = asyncio.ensure_future(database.run_in_group(_part(database, _open, 2)))
        await asyncio.sleep(0.05)
        seen = first.done(), later.done(), env.count("tenant")
        go_on.set()
        return seen, await asyncio.gather(first, later)

    with _heard("commit", wait):
        assert asyncio.run(run()) == ((False, False, 0), [1, 2])


def test_who_has_left_takes_nobody_along(database, env):
    """What was begun is done, for a client that waits no longer as for the others."""

    async def run():
        leaving, staying = (
            asyncio.ensure_future(database.run_in_group(_part(database, _open, number)))
            for number in (1, 2)
        )
        await asyncio.sleep(0)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        return await staying

    assert asyncio.run(run()) == 2
    assert env.count("tenant") == 2


def test_a_thread_that_writes_is_waited_for(database, env):
    """But not by the event loop."""
    begun, go_on = threading.Event(), threading.Event()

    def write():
        with database.transaction(writing=True) as session:
            begun.set()
            assert go_on.wait(10)
            _open(session, 1)

    async def run():
        act = asyncio.ensure_future(database.run_in_group(_part(database, _open, 2)))
        await asyncio.sleep(0.05)
        waits = not act.done()
        go_on.set()
        return waits, await act

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert begun.wait(10)
        assert asyncio.run(run()) == (True, 2)
        writing.result()
    assert env.count("tenant") == 2


def test_a_thread_that_waits_has_its_turn(database):
    """Or one group after the other would have the lock, and the thread a 503 in the end (DB-11)."""
    order, blocking, begun = [], [], threading.Event()

    def write():
        begun.set()
        with database.transaction(writing=True):
            order.append("thread")

    def act(_session, number):
        order.append(number)
        if number == 0:
            blocking.append(pool.submit(write))
            assert begun.wait(10)

    with ThreadPoolExecutor(1) as pool:
        _together(database, *((act, number) for number in range(1000)))
        blocking[0].result()
    assert order[-1] != "thread"


@impatient
def test_who_waits_for_a_thread_for_too_long_is_told_so(database):
    """DB-11."""
    with database.transaction(writing=True):
        [refused] = _together(database, (_open, 1))
    assert type(refused) is Unavailable
    assert _together(database, (_open, 1)) == [1]


@impatient
def test_who_waits_for_another_process_for_too_long_is_told_so(database, env):
    """DB-05: and whoever comes after that is not."""
    with _held(env.location):
        [refused] = _together(database, (_open, 1))
    assert type(refused) is OperationalError
    assert _together(database, (_open, 1)) == [1]


def test_another_process_is_waited_for(database, env):
    """As long as any thread would."""

    async def run(other):
        act = asyncio.ensure_future(database.run_in_group(_part(database, _open, 1)))
        await asyncio.sleep(0.05)
        waits = not act.done()
        other.rollback()
        return waits, await act

    with _held(env.location) as other:
        assert asyncio.run(run(other)) == (True, 1)


def test_the_queue_has_an_end(database):
    """OP-06: past it the answer is a 503 at once."""
    told = Counter(
        type(each) for each in _together(database, *((_open, number) for number in range(1030)))
    )
    assert told == {int: 1024, Unavailable: 6}


@impatient
@pytest.mark.parametrize("by", ["a thread", "another process"])
def test_a_queue_that_waits_in_vain_waits_once(database, env, by):
    """OP-06, DB-11: a lock that the first group cannot have keeps the last for no longer."""
    holding = database.transaction(writing=True) if by == "a thread" else _held(env.location)
    began = time.monotonic()
    with holding:
        told = _together(database, *((_open, number) for number in range(1000)))
    assert time.monotonic() - began < 3  # of thirty groups, each with its own 300 ms
    refusal = Unavailable if by == "a thread" else OperationalError
    assert {type(each) for each in told} == {refusal}
    assert env.count("tenant") == 0
    assert _together(database, (_open, 1)) == [1]


def test_whose_turn_comes_too_late_is_refused_and_not_begun(env):
    """OP-06: as with a disk that takes its longest for each commit; the asker may have gone."""
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

    told = asyncio.run(run(range(100)))
    assert told[:32] == begun == [*range(32)]
    assert {type(each) for each in told[32:]} == {Unavailable}
    assert asyncio.run(run([100])) == [100]
    group.close()
    connections.close()


def test_an_act_that_takes_long_cannot_share_a_transaction(database):
    """It would commit what the others have not finished."""

    def hash_something(session):
        with session.outside_transaction():
            pass

    [told] = _together(database, (hash_something,))
    assert type(told) is RuntimeError
    assert "of its own" in str(told)
