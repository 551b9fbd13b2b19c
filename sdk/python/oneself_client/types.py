"""Types in the signatures of the operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

__all__ = ["UNSET", "Reply", "Unset", "hidden"]

T = TypeVar("T")


class Unset:
    """The type of `UNSET`, the default of optional arguments, which differs from `None`."""

    def __bool__(self) -> Literal[False]:
        """Be false, so that `value or default` works."""
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


def hidden(value: object) -> str:
    """Return the `repr` of a field that is a secret."""
    return repr(value) if value is None or isinstance(value, Unset) else "<hidden>"


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """A whole response: its value, status and headers."""

    value: T
    status: int
    #: Hidden from the `repr`, since they can contain a session cookie.
    headers: Mapping[str, str] = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The id of the request in the service's log."""
        return self.headers.get("X-Request-Id")
