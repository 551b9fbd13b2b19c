"""Validation of names and labels that users choose."""

import unicodedata

from accounts.errors import InvalidRequest

# Control characters, lone surrogates, line and paragraph separators.
_REJECTED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# They reorder the text around a name in a list or an email (CVE-2021-42574). The joiners U+200C
# and U+200D have the same category (Cf) and are allowed: Persian and emoji need them.
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

_VISIBLE = frozenset("LNPS")


def normalize_name(value: str, field: str, max_length: int = 200) -> str:
    """Return the NFC form of a name or label; `max_length` is in code points of that form.

    White space at either end is rejected, not cut: a name is stored as entered, or not at all.

    Raises:
        InvalidRequest: The name is too long, has hidden characters, or nothing visible.
    """
    name = unicodedata.normalize("NFC", value)
    # NFC can lengthen a text, so the limit of the document is not enough.
    if len(name) > max_length:
        raise InvalidRequest.of(field, f"must have at most {max_length} characters")
    categories = {unicodedata.category(character) for character in name}
    if categories & _REJECTED_CATEGORIES or not _BIDIRECTIONAL.isdisjoint(name):
        raise InvalidRequest.of(
            field, "must not have control characters, line breaks or directional marks"
        )
    if not any(category[0] in _VISIBLE for category in categories):
        raise InvalidRequest.of(field, "must have at least one visible character")
    if name != name.strip():
        raise InvalidRequest.of(field, "must not begin or end with white space")
    return name
