"""Data URIs with content in base64."""

import pytest

from accounts.errors import InvalidRequest
from accounts.values.data_uris import format_data_uri, parse_data_uri


def test_content_survives_a_data_uri():
    content = bytes(range(256))
    assert parse_data_uri(format_data_uri("image/webp", content), "avatar") == content


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AAAA",
        "data:image/png,AAAA",
        "image/png;base64,AAAA",
        "data:image/png;base64",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AA=A",
        "data:image/png;base64,AA-_",
        "data:image/png;base64,AA AA",
        "data:image/png;base64,ÄÄÄÄ",
    ],
)
def test_other_text_is_rejected(value):
    """RFC 2397; RFC 4648 section 3.3: characters outside the alphabet are not skipped."""
    with pytest.raises(InvalidRequest) as caught:
        parse_data_uri(value, "avatar")
    assert [violation.field for violation in caught.value.violations] == [("avatar",)]
