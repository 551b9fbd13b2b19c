"""The result of one check of an installation."""

from dataclasses import dataclass

__all__ = ["CheckResult", "ok", "problem"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; `to_do` says how to fix it, unless `found` does already."""

    ok: bool
    found: str
    to_do: str | None = None
    #: The check was not run, because an earlier one found a problem; then `ok` is false.
    skipped: bool = False

    def __str__(self) -> str:
        label = "" if self.skipped else "ok: " if self.ok else "PROBLEM: "
        text = f"{label}{self.found}"
        return text if self.to_do is None else f"{text}\n{self.to_do}"


def ok(found: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(ok=True, found=found)


def problem(found: str, to_do: str | None = None) -> CheckResult:
    """Return the result of a check that failed, with what to do about it."""
    return CheckResult(ok=False, found=found, to_do=to_do)
