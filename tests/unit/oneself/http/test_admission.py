"""Admission: the queue in front of the event loop (OP-06, reliability finding 8)."""

import asyncio
from itertools import pairwise

import pytest

from accounts.errors import Unavailable
from oneself.http.admission import Admission
from tests.support.monotonic_clock import MonotonicClock

PER_TURN = 8


@pytest.fixture
def clock():
    return MonotonicClock()


def test_request_begins_at_once_without_load(clock):
    """OP-06: it takes no turn of the loop."""

    async def run():
        admission = Admission(clock)
        for _ in range(PER_TURN):
            with pytest.raises(StopIteration):
                admission.wait_for_turn().send(None)

    asyncio.run(run())


def test_few_requests_ask_for_no_turn(clock, monkeypatch):
    """Each turn of the loop is a system call more."""
    asked, begun = [], []

    async def run():
        admission = Admission(clock)
        monkeypatch.setattr(
            asyncio.get_running_loop(), "call_soon", lambda *_: asked.append(len(begun))
        )
        for _ in range(PER_TURN):
            await admission.wait_for_turn()
            begun.append(True)
        monkeypatch.undo()

    asyncio.run(run())
    assert asked == [PER_TURN - 1]


def test_requests_beyond_a_turn_wait_in_order(clock):
    """OP-06: so that the loop looks at new ones between them."""
    begun, turns = [], []

    async def run():
        admission = Admission(clock)
        loop = asyncio.get_running_loop()

        async def request(number):
            await admission.wait_for_turn()
            begun.append(number)

        def count():
            turns.append(len(begun))
            if len(begun) < 50:
                loop.call_soon(count)

        loop.call_soon(count)
        await asyncio.gather(*map(request, range(50)))

    asyncio.run(run())
    assert begun == [*range(50)]
    steps = [after - before for before, after in pairwise(turns)]
    assert max(steps) == PER_TURN


def test_new_request_is_refused_while_the_first_has_waited_long(clock):
    """OP-06: at once, and the first is still done."""

    async def run():
        admission = Admission(clock)
        waiting = [asyncio.create_task(admission.wait_for_turn()) for _ in range(PER_TURN + 1)]
        await asyncio.sleep(0)
        clock.now = 0.3
        with pytest.raises(Unavailable):
            await admission.wait_for_turn()
        await asyncio.gather(*waiting)
        await admission.wait_for_turn()

    asyncio.run(run())


def test_request_that_has_waited_for_a_second_is_refused(clock):
    """OP-06: its client would get a late answer; one that has left takes no turn."""

    async def run():
        admission = Admission(clock)
        waiting = [asyncio.create_task(admission.wait_for_turn()) for _ in range(PER_TURN + 2)]
        await asyncio.sleep(0)
        clock.now = 1.1
        waiting[-2].cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[:PER_TURN] == [None] * PER_TURN
        assert [type(result) for result in results[PER_TURN:]] == [
            asyncio.CancelledError,
            Unavailable,
        ]
        await admission.wait_for_turn()

    asyncio.run(run())


def test_overload_is_answered_in_time(clock):
    """OP-06, reliability finding 8: of twice the saturation, in simulated time."""
    head, refusal, work = 60e-6, 40e-6, 240e-6  # as measured, and rounded up
    rate, seconds = 2 / (head + work), 3.0
    done, refused = [], []

    async def request(admission, arrived):
        clock.now += head
        try:
            await admission.wait_for_turn()
        except Unavailable:
            clock.now += refusal
            refused.append(clock.now - arrived)
        else:
            clock.now += work
            done.append(clock.now - arrived)

    async def run():
        admission, tasks, number = Admission(clock), [], 0
        while number < rate * seconds:
            clock.now = max(clock.now, number / rate)
            while number / rate <= clock.now:
                tasks.append(asyncio.create_task(request(admission, number / rate)))
                number += 1
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    # The rest of the time goes into heads and refusals.
    assert len(done) > 0.25 * rate * seconds
    assert sorted(done)[int(0.99 * len(done))] < 1.0
    assert sorted(refused)[int(0.99 * len(refused))] < 0.1
    assert clock.now < seconds + 1.0
