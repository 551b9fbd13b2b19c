"""Names and labels that people give: what they may be made of."""

import unicodedata

from accounts.errors import InvalidRequest

__all__ = ["clean_name"]

# Control characters, lone surrogates, line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# They reorder what stands around a name in a list or a mail (CVE-2021-42574). The joiners U+200C
# and U+200D have the same category (Cf), and stay: Persian and emoji are written with them.
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

_VISIBLE = frozenset("LNPS")


def clean_name(value: str, field: str, max_length: int = 200) -> str:
    """Give the NFC form of a name or label; `max_length` is in code points of that form.

    White space at either end is refused, not cut: a name is stored as entered, or not at all.

    Raises:
        InvalidRequest: It is too long, has hidden characters, or has nothing to see.

    """
    name = unicodedata.normalize("NFC", value)
    # NFC can lengthen a text, so the limit in the document does not settle this one.
    if len(name) > max_length:
        raise InvalidRequest.of(field, f"must have at most {max_length} characters")
    categories = {unicodedata.category(character) for character in name}
    if categories & _REFUSED_CATEGORIES or not _BIDIRECTIONAL.isdisjoint(name):
        raise InvalidRequest.of(
            field, "must not have control characters, line breaks or directional marks"
        )
    if not any(category[0] in _VISIBLE for category in categories):
        raise InvalidRequest.of(field, "must have at least one visible character")
    if name != name.strip():
        raise InvalidRequest.of(field, "must not begin or end with white space")
    return name
