"""Admission: the queue in front of the event loop (OP-06, reliability finding 8)."""

import asyncio
from itertools import pairwise

import pytest

from accounts.errors import Unavailable
from oneself.http.admission import Admission

PER_TURN = 16


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_request_begins_at_once_without_load(clock):
    """OP-06: it takes no turn of the loop."""

    async def run():
        admission = Admission(clock)
        for _ in range(PER_TURN):
            with pytest.raises(StopIteration):
                admission.wait_for_turn().send(None)

    asyncio.run(run())


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
        clock.now = 0.6
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
