"""The rounds that were run: a line of JSON each, so that a run can be cut short or divided."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Case", "Round", "append", "read"]

#: The version of PostgreSQL, what the service connects to, and the fault.
Case = tuple[str, str, str]


@dataclass(frozen=True)
class Round:
    """The results of one round."""

    version: str
    front: str
    fault: str
    seed: int
    #: The names of the faults, in their order.
    faults: Sequence[str]
    #: The longest time in which no write was acknowledged, in seconds.
    unavailable: float
    acknowledged: int
    lost: Sequence[str]
    doubled: Sequence[str]
    resurrected: Sequence[str]
    unanswered: int
    #: Bodies of undocumented failures.
    failures: Sequence[str]
    unknown: int
    #: All that must not happen, in words.
    problems: Sequence[str]

    @property
    def case(self) -> Case:
        """The row of the table that this round belongs to."""
        return (self.version, self.front, self.fault)


def append(path: Path, done: Round) -> None:
    """Add a round to a file, which several processes may write."""
    with path.open("a") as lines:
        lines.write(json.dumps(asdict(done)) + "\n")


def read(path: Path) -> list[Round]:
    """Return the rounds of a file."""
    return [Round(**json.loads(line)) for line in path.read_text().splitlines()]
