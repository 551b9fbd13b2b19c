"""Slots for connections to PostgreSQL (DB-11, DB-12)."""

import threading

import pytest

from accounts.errors import Unavailable
from oneself.database.connection_slots import ConnectionSlots
from tests.support.deadlines import patient
from tests.support.monotonic_clock import MonotonicClock


@pytest.fixture
def clock():
    return MonotonicClock()


@pytest.fixture
def slots(clock):
    return ConnectionSlots(2, clock=clock)


def _take(slots, number, *, writing):
    return [slots.acquire(writing=writing, timeout=0) for _ in range(number)]


def test_writers_never_take_the_last_slot(slots):
    """DB-12, reliability finding 2, scale-out P1."""
    _take(slots, 2, writing=True)
    with pytest.raises(Unavailable):
        slots.acquire(writing=True, timeout=0)
    [read] = _take(slots, 1, writing=False)
    with pytest.raises(Unavailable):
        slots.acquire(writing=False, timeout=0)
    slots.release(read)
    _take(slots, 1, writing=False)


def test_reads_can_take_all_slots(slots):
    """DB-11: and no more."""
    _take(slots, 3, writing=False)
    for writing in (True, False):
        with pytest.raises(Unavailable):
            slots.acquire(writing=writing, timeout=0)


def test_connection_that_hangs_gives_its_slot_to_another(slots, clock):
    """DB-11, DB-12: as many as there are for writers, and no more."""
    hanging = _take(slots, 2, writing=True)
    clock.now = 1.1
    hanging += _take(slots, 2, writing=True)
    clock.now = 2.2
    with pytest.raises(Unavailable):
        slots.acquire(writing=True, timeout=0)
    hanging += _take(slots, 1, writing=False)
    clock.now = 3.3
    with pytest.raises(Unavailable):
        slots.acquire(writing=False, timeout=0)
    for slot in hanging:
        slots.release(slot)
    _take(slots, 2, writing=True)
    with pytest.raises(Unavailable):
        slots.acquire(writing=True, timeout=0)


def test_waiting_thread_gets_the_slot_that_is_released():
    """DB-11."""
    slots, taken = ConnectionSlots(1), threading.Event()
    [held] = _take(slots, 1, writing=True)

    def wait():
        slots.acquire(writing=True, timeout=patient(10))
        taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.wait(0.05)
    slots.release(held)
    thread.join(patient(10))
    assert taken.is_set()


def test_waiting_thread_gets_the_slot_of_one_that_hangs():
    """DB-12: although nothing is released."""
    slots = ConnectionSlots(1)
    _take(slots, 1, writing=True)
    slots.acquire(writing=True, timeout=patient(10))
