"""Time zones."""

from functools import cache
from importlib import resources

from accounts.errors import InvalidRequest

__all__ = ["parse_timezone"]


def parse_timezone(value: str, field: str = "timezone") -> str:
    """The name of a time zone.

    Looked up in a list: `ZoneInfo(value)` would open a file by that name (UN-04).

    Raises:
        InvalidRequest: The IANA database has no zone of this name.
    """
    if value not in _names():
        raise InvalidRequest.of(field, "must be a time zone of the IANA database")
    return value


@cache
def _names() -> frozenset[str]:
    listed = resources.files("tzdata").joinpath("zones").read_text().split()
    return frozenset(listed) - {"Factory", "localtime", "posixrules"}
