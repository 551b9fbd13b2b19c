"""The check of histories accepts what a register can do, and nothing else."""

import random
import time

import pytest

from tests.support.linearizability import Operation, Refused, Swap, Value, find_violation

ACCEPTED = {
    "no operations": [],
    "a read of the initial value": [Operation(Value(0), 1, 2)],
    "a write, then a read": [Operation(Swap(0, 1), 1, 2), Operation(Value(1), 3, 4)],
    "a read during a write sees the value before it": [
        Operation(Swap(0, 1), 1, 4),
        Operation(Value(0), 2, 3),
    ],
    "a read during a write sees the value after it": [
        Operation(Swap(0, 1), 1, 4),
        Operation(Value(1), 2, 3),
    ],
    "one of two concurrent writes is refused": [
        Operation(Swap(0, 1), 1, 4),
        Operation(Refused(0), 2, 3),
    ],
    "a write of unknown outcome was done": [Operation(Swap(0, 1), 1), Operation(Value(1), 2, 3)],
    "a write of unknown outcome was not done": [
        Operation(Swap(0, 1), 1),
        Operation(Value(0), 2, 3),
    ],
    "a write of unknown outcome was done late": [
        Operation(Swap(0, 1), 1),
        Operation(Value(0), 2, 3),
        Operation(Value(1), 4, 5),
    ],
    "writes wait for a write of unknown outcome": [
        Operation(Swap(0, 1), 1),
        Operation(Swap(1, 2), 1),
        Operation(Value(2), 4, 5),
    ],
}

REFUSED = {
    "a read of a value that was never written": [Operation(Value(1), 1, 2)],
    "an acknowledged write is lost": [Operation(Swap(0, 1), 1, 2), Operation(Value(0), 3, 4)],
    "a stale read after a newer one": [
        Operation(Swap(0, 1), 1, 6),
        Operation(Value(1), 2, 3),
        Operation(Value(0), 4, 5),
    ],
    "two acknowledged writes expect the same value": [
        Operation(Swap(0, 1), 1, 4),
        Operation(Swap(0, 2), 2, 3),
    ],
    "a write is refused for no reason": [Operation(Refused(0), 1, 2)],
    "a write was done twice": [
        Operation(Swap(0, 1), 1, 2),
        Operation(Swap(1, 0), 3, 4),
        Operation(Value(1), 5, 6),
    ],
    "a write of unknown outcome is undone": [
        Operation(Swap(0, 1), 1),
        Operation(Value(1), 2, 3),
        Operation(Value(0), 4, 5),
    ],
    "a write has an effect before its request": [
        Operation(Value(1), 1, 2),
        Operation(Swap(0, 1), 3),
    ],
}


@pytest.mark.parametrize("history", ACCEPTED.values(), ids=ACCEPTED)
def test_linearizable_history_is_accepted(history):
    assert find_violation(history, 0) is None


@pytest.mark.parametrize("history", REFUSED.values(), ids=REFUSED)
def test_other_history_is_refused(history):
    assert find_violation(history, 0) is not None


def test_violation_names_the_operation_that_no_order_explains():
    stale = Operation(Value(0), 5, 6)
    history = [Operation(Swap(0, 1), 1, 2), Operation(Value(1), 3, 4), stale]
    assert find_violation(history, 0) == stale


def _history(seed: int, length: int) -> list[Operation]:
    """Return what three clients of a register could have seen; some responses are lost."""
    chance = random.Random(seed)  # noqa: S311 # no secret
    value, now, history = 0, 0.0, []
    free_from = [0.0, 0.0, 0.0]
    for _ in range(length):
        now += 1
        client = chance.randrange(3)
        requested = max(free_from[client], now - chance.random() * 3)
        answered = max(requested, now) + chance.random() * 3
        if requested > now:
            continue
        free_from[client] = answered + 0.001
        expected = value if chance.random() < 0.8 else value - 1
        if chance.random() < 0.5:
            history.append(Operation(Value(value), requested, answered))
        elif expected != value:
            history.append(Operation(Refused(expected), requested, answered))
        else:
            is_answered = chance.random() > 0.05
            history.append(
                Operation(Swap(value, value + 1), requested, answered)
                if is_answered
                else Operation(Swap(value, value + 1), requested)
            )
            value += 1
    return history


@pytest.mark.parametrize("seed", range(20))
def test_history_of_a_real_register_is_accepted_until_one_read_is_stale(seed):
    history = _history(seed, 400)
    assert find_violation(history, 0) is None
    last = max(each.answered for each in history if not each.is_unknown)
    stale = Operation(Value(0), last + 1, last + 2)
    assert find_violation([*history, stale], 0) == stale


def test_long_history_with_many_unknown_outcomes_is_checked_in_seconds():
    history = _history(7, 2000)
    began = time.process_time()
    assert find_violation(history, 0) is None
    assert time.process_time() - began < 10
