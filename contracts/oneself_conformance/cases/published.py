"""What the published pages say of each operation."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from oneself_conformance.document import DATA

__all__ = ["Page", "fits_status", "member_violations", "pages"]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "boolean": bool, "array": list, "object": dict,
}  # fmt: skip


class Page:
    """The section of an operation, and its answers by status or class of statuses."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.section: str = raw["section"]
        self._answers = {str(status): body for status, body in raw["answers"].items()}

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses, or classes of them."""
        return tuple(self._answers)

    def printed(self, status: int) -> str:
        """Return a status as the page prints it: itself, or its class if that is all."""
        return f"{status // 100}xx" if f"{status // 100}xx" in self._answers else str(status)

    def members(self, status: int) -> Mapping[str, Any] | None:
        """Return the members that the page shows of an answer; None if it shows no such answer."""
        return self._answers.get(self.printed(status))


@cache
def pages() -> Mapping[str, Page]:
    """Return the page of each operation that has one."""
    raw = yaml.safe_load((DATA / "published.yaml").read_bytes())
    return {operation_id: Page(each) for operation_id, each in raw.items()}


def fits_status(status: int, printed: str) -> bool:
    """Return whether a status is the printed one, or of the printed class."""
    return printed in {str(status), f"{status // 100}xx"}


def member_violations(members: Mapping[str, Any], found: Any, where: str = "body") -> Iterator[str]:
    """Yield each member that a page shows and a body lacks, or has with another type."""
    if not isinstance(found, Mapping):
        yield f"{where}: is not an object"
        return
    for name, shown in members.items():
        if name not in found:
            yield f"{where}/{name}: is missing"
        elif isinstance(shown, Mapping):
            yield from member_violations(shown, found[name], f"{where}/{name}")
        elif not isinstance(found[name], _TYPES[shown]):
            yield f"{where}/{name}: is not of the type {shown}"
