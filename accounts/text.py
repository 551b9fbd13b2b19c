"""Names: text that people write and others read."""

import unicodedata

from accounts.errors import InvalidRequest

__all__ = ["clean_name"]

#: Marks and overrides that make a name read otherwise than it is written (UAX #9).
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Control characters, surrogates, and separators of lines and paragraphs.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def clean_name(value: str, field: str, *, max_length: int = 200) -> str:
    """A name in Unicode's form NFC.

    Raises:
        InvalidRequest: It is empty, too long, has white space at an end, or something hidden in
            it: a control character, a bidirectional mark, a lone surrogate (HT-06).
    """
    if any(_is_hidden(character) for character in value):
        rule = "must not have control characters or bidirectional marks"
        raise InvalidRequest.of(field, rule)
    name = unicodedata.normalize("NFC", value)
    if not name or name != name.strip():
        raise InvalidRequest.of(field, "must not be empty or have white space at its ends")
    if len(name) > max_length:
        raise InvalidRequest.of(field, f"must have at most {max_length} characters")
    return name


def _is_hidden(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in _HIDDEN_CATEGORIES
