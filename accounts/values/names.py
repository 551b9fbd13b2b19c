"""Validation of names and labels that users choose."""

import re
import unicodedata
from itertools import pairwise

import idna

from accounts.errors import InvalidRequest

# Control characters, lone surrogates, line and paragraph separators.
_REJECTED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# They reorder the text around a name in a list or an email (CVE-2021-42574).
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

#: Default_Ignorable_Code_Point of Unicode 17 (DerivedCoreProperties.txt), interlinear annotations,
#: and letters and symbols that look blank. They hide text, and make two names look equal.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013441\U00013442"
    "\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u27bf\u2900-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff][\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?"
)

#: Sequences that need characters that are invisible elsewhere.
_SEQUENCES = re.compile(
    # Flags of subdivisions: a region, its subdivision, the end (UTS 51 section C.1).
    "\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}"
    "\U000e007f"
    f"|{_EMOJI}(?:\u200d{_EMOJI})*"
    "|[0-9#*]\ufe0f\u20e3"
    # Variants of Han and Mongolian letters, which names are written with.
    "|[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][\ufe00-\ufe02\U000e0100-\U000e01ef]"
    "|[\u1820-\u18aa](?:[\u180b-\u180d\u180f]|\u180e(?=[\u1820\u1821]))"
)

_JOINERS = frozenset("\u200c\u200d")
_MAX_MARKS = 4
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
    if _has_invisible_characters(name):
        raise InvalidRequest.of(field, "must not have invisible characters")
    if _has_stacked_marks(name):
        raise InvalidRequest.of(
            field, f"must not have more than {_MAX_MARKS} combining marks in a row, or one twice"
        )
    if name != name.strip():
        raise InvalidRequest.of(field, "must not begin or end with white space")
    return name


def _has_invisible_characters(name: str) -> bool:
    """Return whether a name has an invisible character that its script does not need."""
    needed = {index for match in _SEQUENCES.finditer(name) for index in range(*match.span())}
    return any(
        match.start() not in needed and not _is_needed_joiner(name, match.start())
        for match in _INVISIBLE.finditer(name)
    )


def _is_needed_joiner(name: str, index: int) -> bool:
    """Return whether a character joins or separates letters as RFC 5892 appendix A.1 allows."""
    if name[index] not in _JOINERS:
        return False
    try:
        return idna.valid_contextj(name, index)
    except ValueError:  # the letter before it is newer than Python's Unicode
        return False


def _has_stacked_marks(name: str) -> bool:
    """Return whether nonspacing marks pile up on a character (UTS 39 section 5.4)."""
    run = 0
    for before, character in pairwise("a" + unicodedata.normalize("NFD", name)):
        is_mark = unicodedata.category(character) in {"Mn", "Me"}
        run = run + 1 if is_mark else 0
        if run > _MAX_MARKS or (is_mark and character == before):
            return True
    return False
