"""Time zones, as names of the IANA database."""

from functools import cache
from importlib.resources import files

from accounts.errors import InvalidRequest

__all__ = ["parse_timezone"]

# Names of the machine or of nothing, which some builds of the database list beside the places.
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})


def parse_timezone(value: str, field: str = "timezone") -> str:
    """Give the name back if the tzdata package lists it, letter case included.

    Raises:
        InvalidRequest: It does not.

    """
    # Never `ZoneInfo(value)`: it opens a file by that name, and `available_timezones()` differs
    # from machine to machine.
    if value not in _names():
        raise InvalidRequest.of(field, "must be the name of a time zone in the IANA database")
    return value


@cache
def _names() -> frozenset[str]:
    listed = files("tzdata").joinpath("zones").read_text(encoding="ascii")
    return frozenset(listed.split()) - _NO_PLACES
