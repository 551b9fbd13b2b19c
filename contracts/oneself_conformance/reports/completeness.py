"""Completeness of a run: of each operation and level, the success, effect and refusals seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from oneself_conformance.levels import Level
from oneself_conformance.outcomes import Outcome, Verdict

__all__ = ["OperationSeen", "Seen", "find_incomplete", "summarize"]

#: How the reasons begin that only an operator can do away with.
_BEYOND_HTTP = ("it needs an operator", "it needs access to email")


@dataclass(frozen=True)
class Seen:
    """The outcomes of successes, of effects, and of refusals by status; None if there are none."""

    success: Verdict | None
    effect: Verdict | None
    refusals: Mapping[int, Verdict]


@dataclass(frozen=True)
class OperationSeen(Seen):
    """The outcomes of an operation at all levels, and at each that demands something of it.

    `levels` are named by their titles. `missing` has `success` if none was seen at any level, and
    `effect` if rows of the published page have one and none was seen; neither if nothing that the
    tester can set would show it.
    """

    operation: str
    levels: Mapping[str, Seen]
    missing: tuple[str, ...]


def summarize(outcomes: Sequence[Outcome], operations: Iterable[str]) -> list[OperationSeen]:
    """Return what was seen of each operation, in order."""
    rows = [each for each in outcomes if each.suite == "rows"]
    return [_summary(operation, rows) for operation in operations]


def find_incomplete(summary: Iterable[OperationSeen]) -> list[OperationSeen]:
    """Return the operations of which something is missing."""
    return [each for each in summary if each.missing]


def _summary(operation: str, rows: Sequence[Outcome]) -> OperationSeen:
    own = [each for each in rows if each.operation == operation]
    effects = [each for each in rows if each.effect_of == operation]
    levels = {
        level.title: _seen(own, effects, level)
        for level in Level
        if any(level.title in each.levels for each in (*own, *effects))
    }
    missing = {
        "success": [each for each in own if each.status < HTTPStatus.BAD_REQUEST],
        "effect": [each for each in effects if Level.PUBLISHED.title in each.levels],
    }
    return OperationSeen(
        **vars(_seen(own, effects)),
        operation=operation,
        levels=levels,
        missing=tuple(
            name
            for name, shown in missing.items()
            # A page need not have an effect; without a success nothing is known of an operation.
            if (shown or name == "success") and not _is_seen_or_excused(shown)
        ),
    )


def _seen(own: Iterable[Outcome], effects: Iterable[Outcome], level: Level | None = None) -> Seen:
    """Return what was seen of an operation at one level, or at all."""
    asked = [each for each in own if level is None or level.title in each.levels]
    statuses = sorted({each.status for each in asked if each.status >= HTTPStatus.BAD_REQUEST})
    refusals = {
        status: _worst([each for each in asked if each.status == status], level)
        for status in statuses
    }
    return Seen(
        _worst([each for each in asked if each.status < HTTPStatus.BAD_REQUEST], level),
        _worst(effects, level),
        {status: verdict for status, verdict in refusals.items() if verdict},
    )


def _is_seen_or_excused(outcomes: Sequence[Outcome]) -> bool:
    """Return whether one passed, or only an operator or the owner of a mailbox could see one."""
    return any(each.verdict is Verdict.PASSED for each in outcomes) or (
        bool(outcomes)
        and all(
            each.verdict is Verdict.SKIPPED
            and all(reason.startswith(_BEYOND_HTTP) for reason in each.reasons)
            for each in outcomes
        )
    )


def _worst(outcomes: Iterable[Outcome], level: Level | None = None) -> Verdict | None:
    """Return failed if one failed, else passed if one passed, else skipped; None without any."""
    verdicts = {
        each.verdict if level is None else each.levels.get(level.title) for each in outcomes
    }
    for verdict in (Verdict.FAILED, Verdict.PASSED, Verdict.SKIPPED):
        if verdict in verdicts:
            return verdict
    return None
