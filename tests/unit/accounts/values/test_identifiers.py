import re
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.values.identifiers import canonical_uuid, is_id, new_external_id, new_id, new_uuid


@pytest.mark.parametrize("prefix", ["usr_", "tnt_", "key_", "ses_", "req_", "cli_", "msg_"])
def test_id_is_its_prefix_and_12_hex_digits(prefix):
    """UN-01: ids are ASCII in lower case, so no database confuses two of them."""
    value = new_id(prefix)
    assert re.fullmatch(prefix + "[0-9a-f]{12}", value)
    assert is_id(value, prefix)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "cli_",
        "usr_0a1b2c3d4e5f",
        "0a1b2c3d4e5f",
        "cli_0a1b2c3d4e5",
        "cli_0a1b2c3d4e5f6",
        "cli_0A1B2C3D4E5F",
        "cli_0a1b2c3d4e5\0",
        "cli_0a1b2c3d4e5f\n",
        " cli_0a1b2c3d4e5f",
    ],
)
def test_malformed_id_is_detected(value):
    """UN-01: every character counts."""
    assert not is_id(value, "cli_")


def test_external_id_is_10_letters_and_digits():
    """UN-01: an external id is ASCII."""
    assert re.fullmatch("[0-9A-Za-z]{10}", new_external_id())


def test_ids_are_unique():
    """UN-01: a thousand ids of each kind have a thousand values."""
    for make in (lambda: new_id("usr_"), new_external_id, new_uuid):
        assert len({make() for _ in range(1000)}) == 1000


def test_uuid_has_version_7_and_the_time():
    """UN-01: it has the version and variant of RFC 9562, and sorts by the millisecond."""
    before = time.time_ns() // 1_000_000
    value = uuid.UUID(text := new_uuid())
    after = time.time_ns() // 1_000_000
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert before <= value.int >> 80 <= after
    assert str(value) == text
    assert canonical_uuid(text) == text


@given(st.uuids())
def test_uuid_is_case_insensitive(value):
    """UN-01: only the case of the digits may differ."""
    assert canonical_uuid(str(value)) == str(value)
    assert canonical_uuid(str(value).upper()) == str(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0189d3a0c0de7abc8def0123456789ab",
        "{0189d3a0-c0de-7abc-8def-0123456789ab}",
        "urn:uuid:0189d3a0-c0de-7abc-8def-0123456789ab",
        "0189d3a0-c0de-7abc-8def-0123456789a",
        "0189d3a0-c0de-7abc-8def-0123456789abc",
        "0189d3a0-c0de-7abc-8def-0123456789ab\n",
        " 0189d3a0-c0de-7abc-8def-0123456789ab",
        "0189d3a0c-0de-7abc-8def-0123456789ab",
        "g189d3a0-c0de-7abc-8def-0123456789ab",
        "\uff10189d3a0-c0de-7abc-8def-0123456789ab",
        "\ud800189d3a0-c0de-7abc-8def-0123456789ab",
    ],
)
def test_other_spellings_of_a_uuid_are_rejected(value):
    """UN-01: other forms that `uuid.UUID` reads are not names of the row."""
    assert canonical_uuid(value) is None
