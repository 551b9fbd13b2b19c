"""Failures by cause, and skipped tests by reason, the most frequent first."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from oneself_conformance.levels import Level
from oneself_conformance.outcomes import Outcome, Verdict

__all__ = ["Group", "group_failures", "group_skipped"]

#: What differs from test to test in a sentence about the same fault.
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\$[A-Z_]+|\d[\w.:-]*")
_LEVEL = re.compile(rf"\[({'|'.join(level.title for level in Level)}): [^\]]*\]$")


@dataclass(frozen=True)
class Group:
    """Tests with one cause or reason in common."""

    title: str
    outcomes: tuple[Outcome, ...]


def group_failures(outcomes: Iterable[Outcome]) -> list[Group]:
    """Group failed tests by their most binding reason, and among these by the most frequent."""
    failed = [each for each in outcomes if each.verdict is Verdict.FAILED]
    frequency = Counter(cause for each in failed for cause in {*map(_cause, each.reasons)})
    by_cause: dict[str, list[Outcome]] = defaultdict(list)
    titles: dict[str, str] = {}
    for each in failed:
        main = min(
            each.reasons or ("failed",),
            key=lambda reason: (_level_of(reason), -frequency[_cause(reason)]),
        )
        titles.setdefault(_cause(main), main.splitlines()[0])
        by_cause[_cause(main)].append(each)
    return _sorted(Group(titles[cause], tuple(found)) for cause, found in by_cause.items())


def group_skipped(outcomes: Iterable[Outcome]) -> list[Group]:
    """Group skipped tests by their reasons."""
    by_reason: dict[str, list[Outcome]] = defaultdict(list)
    for each in outcomes:
        if each.verdict is Verdict.SKIPPED:
            by_reason["; ".join(each.reasons)].append(each)
    return _sorted(Group(reason, tuple(found)) for reason, found in by_reason.items())


def _sorted(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: -len(group.outcomes))


def _cause(reason: str) -> str:
    return _VALUES.sub("…", reason.splitlines()[0] if reason else reason)


def _level_of(reason: str) -> int:
    found = _LEVEL.search(reason)
    return Level[found[1].upper()] if found else 0
