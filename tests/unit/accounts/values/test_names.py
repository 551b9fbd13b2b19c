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


SMUGGLED = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules")
INVISIBLE = {
    "zero width space": "Admin\u200b",
    "soft hyphen": "Ad\u00admin",
    "word joiner": "Admin\u2060",
    "byte order mark": "\ufeffAdmin",
    "grapheme joiner": "Ad\u034fmin",
    "interlinear annotation": "Ad\ufff9m\ufffai\ufffbn",
    "tag characters": "Admin\U000e0041\U000e0042",
    "text in a flag": f"\U0001f3f4{SMUGGLED}\U000e007f",
    "flag without its end": "\U0001f3f4\U000e0067\U000e0062\U000e0065",
    "Hangul filler alone": "\u3164",
    "Hangul filler": "Admin\u3164",
    "halfwidth filler alone": "\uffa0",
    "choseong and jungseong fillers": "\u115f\u1160",
    "Braille blank alone": "\u2800",
    "Braille blank at the end": "Admin\u2800",
    "invisible plus": "Admin\u2064",
    "musical control": "Admin\U0001d173",
    "blank notehead alone": "\U0001d159",
    "shorthand control": "Admin\U0001bca0",
    "variation selector on a letter": "Admin\ufe0f",
    "variation selector on a digit": "1\ufe0f",
    "variation selector twice": "👩\ufe0f\ufe0f",
    "ideographic selector on a letter": "Admin\U000e0100",
    "Mongolian selector on a letter": "Admin\u180b",
    "Khmer inherent vowel": "\u1780\u17b4",
    "joiner between letters": "Ad\u200dmin",
    "joiner at the end": "👩\u200d",
    "joiner after an emoji": "👩\u200dAdmin",
    "joiner after an unknown letter": "Admin\u0378\u200d",
    "non-joiner between letters": "Ad\u200cmin",
    "non-joiner at the end": "\u0645\u06cc\u200c",
}


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=INVISIBLE.keys())
def test_name_with_an_invisible_character_is_rejected(name):
    """UN-03, attack finding 20."""
    assert broken_rules(name) == "must not have invisible characters"


SEQUENCES = {
    "flag of England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "flag of a country": "Jo 🇩🇪",
    "emoji presentation": "\u2764\ufe0f",
    "text presentation": "\u2615\ufe0e",
    "skin tone and profession": "👩🏽\u200d💻",
    "gender with presentation": "🤦🏻\u200d♂\ufe0f",
    "family": "👨\u200d👩\u200d👧\u200d👦",
    "rainbow flag": "🏳\ufe0f\u200d🌈",
    "keycap": "1\ufe0f\u20e3",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi, joined": "\u0915\u094d\u200d\u0937",
    "Hindi, not joined": "\u0915\u094d\u200c\u0937",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Japanese variant": "葛\U000e0100城",
    "Mongolian variant": "\u1820\u1822\u180b",
    "Mongolian vowel separator": "\u1828\u180e\u1820",
    "Vietnamese": "Nguyễn",
    "Arabic with marks": "\u0642\u064f\u0631\u0651\u064e\u0629",
    "Hebrew with points": "\u05e9\u05c1\u05bc\u05b8",
    "Tibetan": "\u0f67\u0f71\u0f74\u0f82",
}


@pytest.mark.parametrize("name", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_name_with_a_needed_joiner_or_selector_is_kept(name):
    """UN-03, attack finding 20: scripts and emoji keep their joiners (RFC 5892 appendix A.1)."""
    assert normalize_name(name, "display_name") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "marks", ["\u0300\u0301\u0302\u0303\u0304", "\u0301\u0301", "\u0489" * 2, "\u0300\u0316" * 75]
)
def test_name_with_a_pile_of_marks_is_rejected(marks):
    """UN-03, attack finding 20: they cover the lines around the name (UTS 39 section 5.4)."""
    assert "combining marks" in broken_rules(f"A{marks}dmin")


def test_four_different_marks_are_kept():
    """UN-03."""
    name = "\u0416\u0300\u0301\u0302\u0303"
    assert normalize_name(name, "display_name") == name


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
