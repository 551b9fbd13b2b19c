"""What a clock leaves behind that was hours ahead and was put right (OP-10).

What expires is compared with the clock of the process: while it is ahead, what is still good is
refused, and nothing is deleted that would make something good again. What was noted then for later
must not keep anybody waiting until the time that it was.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_

__all__ = ["APART", "KEPT_BEYOND", "has_come"]

#: No two clocks that somebody looks after are further apart.
APART = timedelta(minutes=10)

#: How long what refuses something is kept beyond its time.
KEPT_BEYOND = timedelta(days=1)


def has_come(moment: Any, now: datetime, furthest: timedelta) -> ColumnElement[bool]:
    """Whether a stored moment is past, or later than any that is noted now, at most so far off."""
    return or_(moment <= now, moment > now + furthest + APART)
