"""Response headers of deprecated operations (RFC 9745, RFC 8594)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

#: The minimum notice that CONTRIBUTING.md promises to clients.
_MIN_NOTICE = timedelta(days=180)


class BadDeprecation(ValueError):
    """The document deprecates an operation, but not as CONTRIBUTING.md requires."""

    def __init__(self, operation: Mapping[str, Any], problem: str) -> None:
        super().__init__(f"{operation['operationId']}: {problem}")


def headers_of_deprecation(operation: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the headers of an operation; none if it is not deprecated.

    Raises:
        BadDeprecation: `deprecated` and `x-deprecation` do not go together, or a date is wrong.
    """
    deprecation = operation.get("x-deprecation")
    if (deprecation is not None) != bool(operation.get("deprecated", False)):
        raise BadDeprecation(operation, "deprecated: true and x-deprecation go together")
    if deprecation is None:
        return {}
    try:
        since, sunset = (
            datetime.strptime(deprecation[name], "%Y-%m-%d").replace(tzinfo=UTC)
            for name in ("since", "sunset")
        )
    except (KeyError, TypeError, ValueError) as error:
        problem = 'x-deprecation needs since and sunset, each a date such as "2026-04-05"'
        raise BadDeprecation(operation, problem) from error
    if sunset - since < _MIN_NOTICE:
        problem = f"its sunset is less than {_MIN_NOTICE.days} days after its deprecation"
        raise BadDeprecation(operation, problem)
    headers = {
        # A structured date (RFC 9745 section 2.1), where the older header has an HTTP date.
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": format_datetime(sunset, usegmt=True),
    }
    if "link" in deprecation:
        # A page that describes the replacement (RFC 9745 section 3).
        headers["Link"] = f'<{deprecation["link"]}>; rel="deprecation"'
    return headers
