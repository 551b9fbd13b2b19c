"""Tolerance for rows written while the system clock was hours ahead (OP-10).

Expiry is compared with the clock of the process. While it is ahead, valid records are rejected, and
no record is deleted whose absence would make another one valid again. Times which were then set
in the future must not delay anything until that time.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_

#: Largest difference between two maintained clocks.
MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)

#: Time to keep a record that rejects something after it has expired.
KEEP_AFTER_EXPIRY = timedelta(days=1)


def is_due(time: Any, now: datetime, furthest: timedelta) -> ColumnElement[bool]:
    """Match times that have passed, or are further ahead than a right clock could have set.

    `furthest` is how far ahead of `now` such times are set at most.
    """
    return or_(time <= now, time > now + furthest + MAX_CLOCK_DIFFERENCE)
