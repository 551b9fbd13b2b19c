import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.errors import InvalidRequest
from accounts.values.phone_number import parse_phone


@pytest.mark.parametrize(
    ("entered", "number"),
    [
        ("+1234567890", "+1234567890"),
        ("+15550100", "+15550100"),
        ("+12025550123", "+12025550123"),
        ("+1 (202) 555-0123", "+12025550123"),
        ("+49 (0) 151 12345678", "+4915112345678"),
        ("+49.151/12345678", "+4915112345678"),
        ("+390612345678", "+390612345678"),
        ("+800 1234 5678", "+80012345678"),
    ],
)
def test_international_number_becomes_e164(entered, number):
    """UN-06: stored in one form, including the published example +1234567890."""
    assert parse_phone(entered) == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        "+",
        "+0",
        "+49",
        "+49 12",
        "2025550123",
        "0049 151 12345678",
        "++12025550123",
        " +12025550123",
        "+12025550123\n",
        "+12025550123 ext. 5",
        "+12025550123x5",
        "+12025550123;ext=5",
        "+12025550123,,5",
        "+12025550123#5",
        "tel:+12025550123",
        "+12025550123;phone-context=example.com",
        "+1-800-FLOWERS",
        "+1202555O123",
        "+\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff12\uff13",
        "+99999999",
        "+1202555012345678",
        "+1 2 0 2 5 5 5 0 1 2 3 - - - - - - -",
        "+" + "1" * 1_000_000,
        "+1202555\x000123",
        "+1202555\ud8000123",
    ],
)
def test_malformed_number_is_rejected(value):
    """UN-06: letters, extensions, foreign digits and overlong texts are rejected."""
    with pytest.raises(InvalidRequest) as caught:
        parse_phone(value, "mobile")
    (violation,) = caught.value.violations
    assert violation.field == ("mobile",)


@given(st.text(st.sampled_from("0123456789 ()-./"), max_size=31).map("+{}".format))
@example("+44002079460000")
@example("+39000612345")
def test_canonical_number_is_stable(text):
    """UN-06: a returned number can be sent back unchanged."""
    try:
        number = parse_phone(text)
    except InvalidRequest:
        return
    assert parse_phone(number) == number
    assert 8 <= len(number) <= 16
