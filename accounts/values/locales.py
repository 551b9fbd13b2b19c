"""Locales as BCP 47 language tags that CLDR knows."""

import re

from babel import Locale, UnknownLocaleError

from accounts.errors import InvalidRequest

# RFC 5646 section 4.4.1: the least length that a tag may need. Long tags have been used for denial
# of service (CVE-2024-39614).
_MAX_LENGTH = 35

# A language of two or three letters comes first, which excludes CLDR's `root`.
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SCRIPT_LENGTH = 4
_REGION_LENGTH = 2


def parse_locale(value: str, field: str = "locale") -> str:
    """Return the tag in the case of RFC 5646 section 2.1.1: `de-DE`, `zh-Hant-TW`.

    Raises:
        InvalidRequest: The tag is longer than 35 characters, or not a locale of CLDR.
    """
    if len(value) > _MAX_LENGTH or _TAG.fullmatch(value) is None or not _is_known(value):
        raise InvalidRequest.of(field, "must be a known locale as a BCP 47 language tag")
    language, *rest = value.lower().split("-")
    return "-".join([language, *map(_format_subtag, rest)])


def _is_known(tag: str) -> bool:
    try:
        locale = Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return False
    # Babel falls back to the nearest locale and drops unknown subtags: `und` becomes en-US, and
    # de-Cyrl becomes de. An allow-list must not guess.
    subtags = {locale.language, locale.script, locale.territory, locale.variant}
    known_subtags = {subtag.lower() for subtag in subtags if subtag}
    return known_subtags.issuperset(tag.lower().split("-"))


def _format_subtag(subtag: str) -> str:
    if len(subtag) == _SCRIPT_LENGTH:
        return subtag.title()
    return subtag.upper() if len(subtag) == _REGION_LENGTH else subtag
