"""The dates of examples, which are moved so that the examples never expire.

All examples of the document happen on one day. What is served from them happens today.
"""

import re
from collections.abc import Callable
from datetime import date, datetime

#: The day of the examples in openapi/openapi.yaml.
STORY_DAY = date(2026, 4, 5)

_DAY = re.compile(rb"\b\d{4}-\d\d-\d\d(?=T\d\d:\d\d:\d\dZ)")
#: Seconds since 1970, in years that an example may have. The document has no other such numbers.
_SECOND = re.compile(rb"(?<=[: ])1[7-9]\d{8}(?=[,}\s])")


class DailyContent:
    """Bytes with examples that happen today. They are the same all day, for caches."""

    def __init__(self, make: Callable[[], bytes], *, clock: Callable[[], datetime]) -> None:
        """Make the content when it is first read on a day."""
        self._make = make
        self._clock = clock
        self._made: tuple[date, bytes] | None = None

    def read(self) -> bytes:
        """Return the content of today."""
        day = self._clock().date()
        made = self._made
        if made is None or made[0] != day:
            self._made = made = (day, move_dates(self._make(), day))
        return made[1]


def move_dates(content: bytes, day: date) -> bytes:
    """Move all timestamps in a text by whole days, so that the day of the examples is `day`."""
    days = day - STORY_DAY

    def move_day(match: re.Match[bytes]) -> bytes:
        return (date.fromisoformat(match[0].decode()) + days).isoformat().encode()

    def move_second(match: re.Match[bytes]) -> bytes:
        return str(int(match[0]) + int(days.total_seconds())).encode()

    return _SECOND.sub(move_second, _DAY.sub(move_day, content))
