"""Time zones, as names of the IANA database."""

from functools import cache
from importlib.resources import files

from accounts.errors import InvalidRequest

# Entries of the machine or without a place, which some builds of the database list too.
_NOT_PLACES = frozenset({"Factory", "localtime", "posixrules"})


def parse_timezone(value: str, field: str = "timezone") -> str:
    """Return the name unchanged if the tzdata package lists it; letter case matters.

    Raises:
        InvalidRequest: The name is not listed.
    """
    # Never `ZoneInfo(value)`: it opens a file of that name, and `available_timezones()` differs
    # between machines.
    if value not in _names():
        raise InvalidRequest.of(field, "must be the name of a time zone in the IANA database")
    return value


@cache
def _names() -> frozenset[str]:
    names = files("tzdata").joinpath("zones").read_text(encoding="ascii")
    return frozenset(names.split()) - _NOT_PLACES
