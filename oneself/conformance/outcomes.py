"""What came of everything that was tried: kept, broken, or not asked at all."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Outcome", "Verdict"]


class Verdict(StrEnum):
    """Whether a promise is kept; what could not be asked says nothing about it."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Outcome:
    """One promise and what came of it.

    `suite` is `rows`, `fuzz` or `probes`. `source` is where the promise stands: a page and its
    section, a standard, or the document. `reasons` say in which ways it is broken, or why it was
    not asked; `request`, `repeat` (a line for a shell) and `answer` are there when it is broken.
    `failed_step` is the operation that did not lead as far as the promise.
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

    def as_text(self) -> str:
        """All of it, a line for each part."""
        return "\n".join(
            [
                self.promise,
                f"source:  {self.source}",
                *(f"request: {self.request}" for _ in range(bool(self.request))),
                *(f"repeat:  {self.repeat}" for _ in range(bool(self.repeat))),
                *(f"answer:  {self.answer}" for _ in range(bool(self.answer))),
                *(f"{self.verdict}: {reason}" for reason in self.reasons),
            ]
        )
