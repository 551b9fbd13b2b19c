"""Test outcomes: passed, failed or skipped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of a test; a skipped one could not be run."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test.

    `suite` is `rows`, `fuzz` or `probes`. `promise` is the title of the test. `source` documents
    it: a page and its section, a standard, or the document. `reasons` say why it failed or was
    skipped. A failed test has `request`, `repeat` (a shell command) and `answer`. `failed_step`
    is the operation that failed before the test's own request. `levels` has the verdict at each
    level that demands something. A row has its `operation` and the expected `status`;
    `effect_of` is the operation whose effect it shows. A test is skipped as `overloaded` if the
    deployment is too slow for it, or its rate limits are too low.
    """

    suite: str
    dialect: str
    promise: str
    source: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    request: str = ""
    repeat: str = ""
    answer: str = ""
    failed_step: str | None = None
    operation: str = ""
    status: int = 0
    effect_of: str = ""
    overloaded: bool = False
    levels: Mapping[str, Verdict] = field(default_factory=dict)

    def as_text(self) -> str:
        """Format the outcome, one line for each part."""
        parts = {"request: ": self.request, "repeat:  ": self.repeat, "answer:  ": self.answer}
        shown = [f"{label}{text}" for label, text in parts.items() if text]
        reasons = [f"{self.verdict}: {reason}" for reason in self.reasons]
        return "\n".join([self.promise, f"source:  {self.source}", *shown, *reasons])
