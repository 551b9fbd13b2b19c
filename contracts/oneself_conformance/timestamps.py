"""Times relative to the start of a test, as rows write them."""

import re
from datetime import datetime, timedelta

_SPAN = re.compile(r"([+-]?)(\d+)([smhdy])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_span(now: datetime, span: str) -> datetime:
    """Add a span such as `now`, `+30d` or `1y` to a time; a year is a calendar year."""
    if span == "now":
        return now
    parts = _SPAN.fullmatch(span)
    if parts is None:
        raise ValueError(f"{span!r} is not a span such as +30d")
    sign, number, unit = -1 if parts[1] == "-" else 1, int(parts[2]), parts[3]
    if unit == "y":
        year = now.year + sign * number
        leap_day = (now.month, now.day) == (2, 29)
        return now.replace(year=year, day=28) if leap_day else now.replace(year=year)
    return now + sign * number * timedelta(seconds=_SECONDS[unit])


def format_timestamp(time: datetime) -> str:
    """Format a time as the dialects do."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
