"""What a check of an installation finds."""

from dataclasses import dataclass

__all__ = ["CheckResult", "ok", "problem"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found; `to_do` says how to put it right, unless `found` does already."""

    ok: bool
    found: str
    to_do: str | None = None

    def __str__(self) -> str:
        said = f"ok: {self.found}" if self.ok else f"PROBLEM: {self.found}"
        return said if self.to_do is None else f"{said}\n{self.to_do}"


def ok(found: str) -> CheckResult:
    """All is well."""
    return CheckResult(ok=True, found=found)


def problem(found: str, to_do: str | None = None) -> CheckResult:
    """Something is not, and what to do about it."""
    return CheckResult(ok=False, found=found, to_do=to_do)
