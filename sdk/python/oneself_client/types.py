"""What the signatures of the operations speak of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

__all__ = ["UNSET", "Reply", "Unset"]

T = TypeVar("T")


class Unset:
    """The type of `UNSET`: not given, which is not the same as `None`."""

    def __bool__(self) -> Literal[False]:
        """Be false, so that `value or default` works."""
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer whole: what it says, and the status and headers that it came with."""

    value: T
    status: int
    headers: Mapping[str, str]

    @property
    def request_id(self) -> str | None:
        """Names the request in the service's log."""
        return self.headers.get("X-Request-Id")
