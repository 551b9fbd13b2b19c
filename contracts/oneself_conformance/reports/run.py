"""The content of all reports: outcomes without secrets, and what they come to."""

import signal
from collections.abc import Iterable
from dataclasses import replace

from oneself_conformance.cases.published import pages
from oneself_conformance.levels import Level
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.completeness import OperationSeen, find_incomplete, summarize
from oneself_conformance.reports.facts import RunFacts
from oneself_conformance.suite import Step, Suite
from oneself_conformance.traffic import Exchange

__all__ = ["FAILED", "INCOMPLETE", "RunReport", "counts"]

FAILED, INCOMPLETE = 1, 3
#: A shell adds the number of the signal to this.
_SIGNALLED = 128


def counts(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """Count the passed, failed and skipped tests of each suite."""
    counts_by_suite: dict[str, dict[str, int]] = {}
    for each in outcomes:
        of_suite = counts_by_suite.setdefault(each.suite, {verdict.value: 0 for verdict in Verdict})
        of_suite[each.verdict.value] += 1
    return counts_by_suite


class RunReport:
    """The outcomes of a run.

    `ended_by` says what ended it early, and `signal` is the signal that did.
    """

    def __init__(self, run: Suite) -> None:
        self.url = run.deployment.url
        self.facts = RunFacts.of(run)
        self.is_own = not run.deployment.is_foreign
        self.outcomes: list[Outcome] = []
        self.ended_by: str | None = None
        self.signal: signal.Signals | None = None
        self._run = run
        self.mask = run.deployment.mask
        self._remaining = 0

    @property
    def properties(self) -> dict[str, str]:
        """The facts of the run and what ended it early, as texts."""
        return {**self.facts.properties, "ended_by": self.ended_by or ""}

    @property
    def exchanges(self) -> list[Exchange]:
        """The requests and responses of the rows, with their secrets, if they were recorded."""
        return self._run.recorder.exchanges if self._run.recorder else []

    def add(self, step: Step) -> None:
        """Add the outcomes of a step."""
        self.outcomes += map(self._without_secrets, step.outcomes)
        self._remaining = step.count - step.number

    def mask_again(self) -> None:
        """Hide also the secrets that became known after the outcomes that have them."""
        self.outcomes = [self._without_secrets(each) for each in self.outcomes]

    def _without_secrets(self, outcome: Outcome) -> Outcome:
        apply = self.mask.apply
        hide_in_command = self.mask.apply_to_command if outcome.suite == "rows" else apply
        return replace(
            outcome,
            reasons=tuple(map(apply, outcome.reasons)),
            request=apply(outcome.request),
            # A probe's command has a variable for its credential already.
            repeat=hide_in_command(outcome.repeat) if outcome.repeat else "",
            answer=apply(outcome.answer),
        )

    @property
    def operations(self) -> list[OperationSeen]:
        """The operations under test, with what was seen of each."""
        if "rows" not in self._run.suites or self._run.promise is not None:
            return []
        named = pages() if self._run.deployment.is_foreign else OPERATIONS
        selected = [
            each
            for each in named
            if each in OPERATIONS
            and self._run.dialect in {None, OPERATIONS[each].dialect}
            and (self._run.operations is None or each in self._run.operations)
        ]
        return summarize(self.outcomes, selected)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.signal is not None:
            return _SIGNALLED + self.signal
        if any(each.verdict is Verdict.FAILED for each in self.outcomes):
            return FAILED
        return INCOMPLETE if self._is_incomplete else 0

    @property
    def _is_incomplete(self) -> bool:
        # Success without a single test would be misleading.
        is_empty = all(each.verdict is Verdict.SKIPPED for each in self.outcomes)
        return is_empty or self.is_overloaded or bool(find_incomplete(self.operations))

    @property
    def is_overloaded(self) -> bool:
        """True if tests were skipped because of rate limits or slow answers."""
        return any(each.overloaded for each in self.outcomes)

    @property
    def verdict(self) -> str:
        """The result in one or two sentences."""
        failed = sum(each.verdict is Verdict.FAILED for each in self.outcomes)
        sentences = []
        if self.ended_by:
            sentences.append(f"Ended by {self.ended_by}; {self._remaining} tests were not run.")
        if failed:
            sentences.append(f"{failed} of {len(self.outcomes)} tests failed.")
        elif self._is_incomplete:
            sentences.append(self._incompleteness())
        else:
            passed = sum(each.verdict is Verdict.PASSED for each in self.outcomes)
            sentences.append(f"Passed: {passed} tests.")
        return " ".join(sentences)

    def _incompleteness(self) -> str:
        operations, overloaded = self.operations, sum(each.overloaded for each in self.outcomes)
        if overloaded:
            return f"Incomplete: {overloaded} tests met a rate limit, or a deployment too slow."
        if not operations:
            return "Incomplete: all tests were skipped."
        missing = [each.missing for each in find_incomplete(operations)]
        succeeded = len(operations) - sum("success" in each for each in missing)
        ineffective = sum("effect" in each for each in missing)
        sentence = f"Incomplete: {succeeded} of {len(operations)} operations were seen to succeed"
        return (
            f"{sentence}, and {ineffective} without their effect."
            if ineffective
            else f"{sentence}."
        )

    def count_table(self) -> list[list[str]]:
        """Return a row for each suite and a column for each level: passed/failed/skipped."""
        table = [["suite", *(level.title for level in Level)]]
        for suite in dict.fromkeys(each.suite for each in self.outcomes):
            of_suite = [each for each in self.outcomes if each.suite == suite]
            table.append([suite, *(_count(of_suite, level) for level in Level)])
        return table

    def operation_table(self) -> list[list[str]]:
        """Return a row for each operation: its success, its effect, and its refusals."""
        table = [["operation", "success", "effect", "refusals"]]
        for each in self.operations:
            refusals = " ".join(
                f"{status}{'' if verdict is Verdict.PASSED else f' {verdict}'}"
                for status, verdict in each.refusals.items()
            )
            table.append([each.operation, each.success or "-", each.effect or "-", refusals])
        return table if len(table) > 1 else []


def _count(outcomes: list[Outcome], level: Level) -> str:
    verdicts = [each.levels[level.title] for each in outcomes if level.title in each.levels]
    if not verdicts:
        return "-"
    return "/".join(str(sum(each is verdict for each in verdicts)) for verdict in Verdict)
