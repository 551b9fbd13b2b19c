"""Locales, as BCP 47 language tags that CLDR knows."""

import re

from babel import Locale, UnknownLocaleError

from accounts.errors import InvalidRequest

__all__ = ["parse_locale"]

# RFC 5646 section 4.4.1: the least that a tag may need. Long ones have cost servers dear
# (CVE-2024-39614).
_MAX_LENGTH = 35

# A language of two or three letters first: CLDR's `root` has the shape of none.
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SCRIPT_LENGTH = 4
_REGION_LENGTH = 2


def parse_locale(value: str, field: str = "locale") -> str:
    """Give the tag in the case that RFC 5646 section 2.1.1 has it: `de-DE`, `zh-Hant-TW`.

    Raises:
        InvalidRequest: It is longer than 35 characters, or no locale of CLDR.

    """
    if len(value) > _MAX_LENGTH or _TAG.fullmatch(value) is None or not _known(value):
        raise InvalidRequest.of(field, "must be a known locale as a BCP 47 language tag")
    language, *rest = value.lower().split("-")
    return "-".join([language, *map(_cased, rest)])


def _known(tag: str) -> bool:
    try:
        locale = Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return False
    # Babel falls back to the nearest locale and leaves out what it does not know: `und` becomes
    # en-US and de-Cyrl becomes de. An allow-list does not guess.
    found = {locale.language, locale.script, locale.territory, locale.variant}
    kept = {subtag.lower() for subtag in found if subtag}
    return kept.issuperset(tag.lower().split("-"))


def _cased(subtag: str) -> str:
    if len(subtag) == _SCRIPT_LENGTH:
        return subtag.title()
    return subtag.upper() if len(subtag) == _REGION_LENGTH else subtag
