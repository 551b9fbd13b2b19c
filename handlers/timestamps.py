"""Timestamps as the dialects write them: RFC 3339, UTC, whole seconds."""

from datetime import UTC, datetime

from accounts.errors import InvalidRequest

_WITHOUT_OFFSET = len("2026-04-05T10:00:00")


def format_timestamp(time: datetime) -> str:
    """Format a time in UTC as `2026-04-05T10:00:00Z`."""
    # As `strftime`, in a tenth of its time.
    return f"{time.isoformat(timespec='seconds')[:_WITHOUT_OFFSET]}Z"


def format_optional_timestamp(time: datetime | None) -> str | None:
    """Format a time, or return None for None."""
    return None if time is None else format_timestamp(time)


def parse_timestamp(text: str, field: str) -> datetime:
    """Parse a `date-time` that the document's validator accepted, and convert it to UTC.

    Raises:
        InvalidRequest: RFC 3339 allows it and Python does not, such as a leap second.
    """
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest.of(field, "must be an RFC 3339 date and time") from error


def parse_optional_timestamp(text: str | None, field: str) -> datetime | None:
    """Parse a `date-time` as `parse_timestamp` does; None stays None."""
    return None if text is None else parse_timestamp(text, field)
