import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import InvalidRequest
from accounts.values.names import normalize_name


def broken_rules(value, **limits):
    with pytest.raises(InvalidRequest) as caught:
        normalize_name(value, "display_name", **limits)
    (violation,) = caught.value.violations
    assert violation.field == ("display_name",)
    return violation.rule


@pytest.mark.parametrize(
    "name", ["Alice", "Zoë", "O'Neil", "李", "Ana María", "می‌خواهم", "👩‍🚀", "a", "x" * 200]
)
def test_visible_name_is_kept(name):
    """UN-03: names of every script are accepted, with the joiners that some need."""
    assert normalize_name(name, "display_name") == unicodedata.normalize("NFC", name)


def test_decomposed_name_is_composed():
    """UN-01: a name has one spelling in the database."""
    assert normalize_name("Zoe\u0308", "display_name") == "Zo\u00eb"


@pytest.mark.parametrize(
    "hidden",
    [*"\x00\t\n\r\x1f\x7f\x80\x85\x9f\u2028\u2029\u061c\u200e\u200f\u2066\u2069\u202a\u202e\ud800"],
)
def test_name_with_a_hidden_character_is_rejected(hidden):
    """UN-03: names have no invisible characters."""
    assert "control characters" in broken_rules(f"Al{hidden}ice")


@pytest.mark.parametrize("empty", ["", " ", "\u3000\u00a0", "\u200b", "\u200d", "\u0308"])
def test_invisible_name_is_rejected(empty):
    """UN-03: neither white space nor a mark alone is a name."""
    assert "visible" in broken_rules(empty)


@pytest.mark.parametrize("padded", [" Alice", "Alice ", "\u00a0Alice", "Alice\u3000"])
def test_surrounding_white_space_is_rejected(padded):
    """UN-01: a name is never changed silently."""
    assert "white space" in broken_rules(padded)


def test_length_is_counted_after_normalising():
    """UN-01: U+1D160 is one character as entered, and three in NFC."""
    assert normalize_name("e\u0308" * 3, "name", max_length=3) == "\u00eb" * 3
    assert "at most 2 characters" in broken_rules("\U0001d160", max_length=2)


def test_refusal_does_not_repeat_the_value():
    """UN-03: a refusal names the field and the rule only."""
    assert "ice" not in broken_rules("Al\x00ice")


@given(st.text(max_size=30))
def test_cleaned_name_is_stable(text):
    """UN-01: cleaning is idempotent."""
    try:
        name = normalize_name(text, "name")
    except InvalidRequest:
        return
    assert normalize_name(name, "name") == name
