"""The counts of a round: what was acknowledged, and what became of it."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Tally"]


@dataclass
class Tally:
    """The counts of one client in one round, or of many."""

    #: When each write was acknowledged, by the monotonic clock.
    acknowledged_at: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    #: Revoked credentials that were accepted.
    resurrected: list[str] = field(default_factory=list)
    #: Requests without a response in the time limit.
    unanswered: int = 0
    #: Responses that say that the outcome of a write is unknown.
    unknown: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    #: Bodies of undocumented failures.
    failures: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged writes."""
        return len(self.acknowledged_at)

    @property
    def problems(self) -> list[str]:
        """All that must not happen, in words."""
        return [
            *(f"lost: {each}" for each in self.lost),
            *(f"duplicated: {each}" for each in self.duplicated),
            *(f"resurrected: {each}" for each in self.resurrected),
            *(f"500: {each}" for each in self.failures),
            *([f"unanswered: {self.unanswered}"] if self.unanswered else []),
        ]

    def add(self, other: "Tally") -> None:
        """Add the counts of another client or round."""
        self.acknowledged_at += other.acknowledged_at
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.resurrected += other.resurrected
        self.unanswered += other.unanswered
        self.unknown += other.unknown
        self.statuses += other.statuses
        self.failures += other.failures

    def unavailable(self, began: float, ended: float) -> float:
        """Return the longest time in which no write was acknowledged, in seconds."""
        moments = [began, *sorted(at for at in self.acknowledged_at if began < at < ended), ended]
        return max(after - before for before, after in pairwise(moments))
