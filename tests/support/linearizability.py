"""A check that the history of a register is linearizable.

The algorithm is that of Wing and Gong (1993) with the memory of visited configurations by Lowe
(2017), as in Porcupine. The register has reads and compare-and-set, the semantics of `If-Match`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

__all__ = ["Operation", "Refused", "Swap", "Value", "find_violation"]


@dataclass(frozen=True, slots=True)
class Value:
    """A read that returned a value."""

    value: Any

    def apply(self, state: Any) -> tuple[bool, Any]:
        """Return whether it is possible in this state, and the state after it."""
        return state == self.value, state


@dataclass(frozen=True, slots=True)
class Swap:
    """A write that requires the expected value, and sets another."""

    expected: Any
    value: Any

    def apply(self, state: Any) -> tuple[bool, Any]:
        """Return whether it is possible in this state, and the state after it."""
        return state == self.expected, self.value


@dataclass(frozen=True, slots=True)
class Refused:
    """A write that changed nothing, since the register did not have the expected value."""

    expected: Any

    def apply(self, state: Any) -> tuple[bool, Any]:
        """Return whether it is possible in this state, and the state after it."""
        return state != self.expected, state


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, and the times of its request and its response.

    Without a response its outcome is unknown: it takes effect at any time after the request, even
    after the end of the history, or never.
    """

    act: Value | Swap | Refused
    requested: float
    answered: float = inf

    @property
    def is_unknown(self) -> bool:
        """True without a response."""
        return self.answered == inf


def find_violation(history: Sequence[Operation], initial: Any) -> Operation | None:
    """Return None if the history is linearizable.

    Otherwise return the first operation, by the time of its response, that no order explains.
    """
    operations = sorted(history, key=lambda each: each.requested)
    unfinished = sum(1 << at for at, each in enumerate(operations) if not each.is_unknown)
    visited: set[tuple[int, Any]] = set()
    furthest = unfinished
    pending = [iter([(0, initial)])]
    while pending:
        configuration = next(pending[-1], None)
        if configuration is None:
            pending.pop()
            continue
        if configuration in visited:
            continue
        visited.add(configuration)
        done, state = configuration
        left = unfinished & ~done
        if not left:
            return None
        if left.bit_count() < furthest.bit_count():
            furthest = left
        pending.append(_successors(operations, done, state))
    remaining = [each for at, each in enumerate(operations) if furthest >> at & 1]
    return min(remaining, key=lambda each: each.answered)


def _successors(
    operations: Sequence[Operation], done: int, state: Any
) -> Iterator[tuple[int, Any]]:
    """Yield each configuration that one more operation leads to.

    An operation can come next if no other remaining one was answered before it was requested.
    """
    first_answer = inf
    for at, operation in enumerate(operations):
        if done >> at & 1:
            continue
        if operation.requested > first_answer:
            return
        first_answer = min(first_answer, operation.answered)
        is_possible, after = operation.act.apply(state)
        if is_possible:
            yield done | 1 << at, after
