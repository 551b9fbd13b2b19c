import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import InvalidRequest
from accounts.values.names import clean_name


def broken(value, **limits):
    with pytest.raises(InvalidRequest) as refused:
        clean_name(value, "display_name", **limits)
    (violation,) = refused.value.violations
    assert violation.field == ("display_name",)
    return violation.rule


@pytest.mark.parametrize(
    "name", ["Alice", "Zoë", "O'Neil", "李", "Ana María", "می‌خواهم", "👩‍🚀", "a", "x" * 200]
)
def test_a_name_of_visible_characters_is_kept_as_entered(name):
    """UN-03: names of every script pass, with the joiners that some are written with."""
    assert clean_name(name, "display_name") == unicodedata.normalize("NFC", name)


def test_a_decomposed_name_becomes_the_composed_one():
    """UN-01: one name has one spelling in the database."""
    assert clean_name("Zoe\u0308", "display_name") == "Zo\u00eb"


@pytest.mark.parametrize(
    "hidden",
    [*"\x00\t\n\r\x1f\x7f\x80\x85\x9f\u2028\u2029\u061c\u200e\u200f\u2066\u2069\u202a\u202e\ud800"],
)
def test_a_name_with_a_hidden_character_is_refused(hidden):
    """UN-03: what a reader cannot see cannot be in a name."""
    assert "control characters" in broken(f"Al{hidden}ice")


@pytest.mark.parametrize("empty", ["", " ", "\u3000\u00a0", "\u200b", "\u200d", "\u0308"])
def test_a_name_with_nothing_to_see_is_refused(empty):
    """UN-03: nobody is called by white space, or by a mark on nothing."""
    assert "visible" in broken(empty)


@pytest.mark.parametrize("padded", [" Alice", "Alice ", "\u00a0Alice", "Alice\u3000"])
def test_white_space_at_an_end_is_refused_and_not_cut(padded):
    """UN-01: a name is never changed silently."""
    assert "white space" in broken(padded)


def test_the_length_is_counted_after_normalising():
    """UN-01: U+1D160 is one character as it comes, and three in NFC."""
    assert clean_name("e\u0308" * 3, "name", max_length=3) == "\u00eb" * 3
    assert "at most 2 characters" in broken("\U0001d160", max_length=2)


def test_the_refusal_does_not_repeat_the_value():
    """UN-03: a refusal says which field broke which rule, and no more."""
    assert "ice" not in broken("Al\x00ice")


@given(st.text(max_size=30))
def test_a_cleaned_name_is_clean(text):
    """UN-01: cleaning what was cleaned changes nothing."""
    try:
        name = clean_name(text, "name")
    except InvalidRequest:
        return
    assert clean_name(name, "name") == name
