"""What an operation that is on its way out says of itself, on each of its answers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

__all__ = ["BadDeprecation", "headers_of_deprecation"]


#: The notice that CONTRIBUTING.md promises to whoever uses an operation.
_LEAST_NOTICE = timedelta(days=180)


class BadDeprecation(ValueError):
    """The document deprecates an operation, and not as CONTRIBUTING.md has it."""


def headers_of_deprecation(operation: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers of an operation of the document; none for one that stays.

    Raises:
        BadDeprecation: `deprecated` and `x-deprecation` do not go together, or its days do not.
    """
    said = operation.get("x-deprecation")
    if (said is not None) != bool(operation.get("deprecated", False)):
        problem = "deprecated: true and x-deprecation go together"
        raise BadDeprecation(f"{operation['operationId']}: {problem}")
    if said is None:
        return {}
    try:
        since, sunset = (
            datetime.strptime(said[name], "%Y-%m-%d").replace(tzinfo=UTC)
            for name in ("since", "sunset")
        )
    except (KeyError, TypeError, ValueError) as error:
        problem = 'x-deprecation has since and sunset, each a day such as "2026-04-05"'
        raise BadDeprecation(f"{operation['operationId']}: {problem}") from error
    if sunset - since < _LEAST_NOTICE:
        problem = f"its sunset is less than {_LEAST_NOTICE.days} days after its deprecation"
        raise BadDeprecation(f"{operation['operationId']}: {problem}")
    headers = {
        # A structured date (RFC 9745 section 2.1), where the older header has an HTTP date.
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": format_datetime(sunset, usegmt=True),
    }
    if "link" in said:
        # Where what to use instead is described (RFC 9745 section 3).
        headers["Link"] = f'<{said["link"]}>; rel="deprecation"'
    return headers
