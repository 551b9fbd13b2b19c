from zoneinfo import ZoneInfo

import pytest

from accounts.errors import InvalidRequest
from accounts.values.timezones import parse_timezone


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "UTC", "US/Eastern"]
)
def test_iana_name_is_accepted_and_loads(name):
    """UN-04: the names of the tzdata package are the allow-list."""
    assert parse_timezone(name) == name
    assert ZoneInfo(name).key == name


@pytest.mark.parametrize(
    "value",
    [
        "",
        "localtime",
        "posixrules",
        "Factory",
        "europe/berlin",
        "Europe/Berlin\n",
        " UTC",
        "Europe/Berlin\x00",
        "\ud800",
        "../../etc/passwd",
        "/etc/passwd",
        "/usr/share/zoneinfo/UTC",
        "Europe",
        "Europe/",
        "tzdata.zi",
        "zone.tab",
        "a" * 1_000_000,
    ],
)
def test_other_text_is_rejected(value):
    """UN-04: names of the machine, paths and control characters never reach the file system."""
    with pytest.raises(InvalidRequest) as caught:
        parse_timezone(value, "time_zone")
    (violation,) = caught.value.violations
    assert violation.field == ("time_zone",)
