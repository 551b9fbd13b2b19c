"""Locales."""

import re

from babel import Locale, UnknownLocaleError

from accounts.errors import InvalidRequest

__all__ = ["parse_locale"]

_PLAIN = re.compile(r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,3}")


def parse_locale(value: str, field: str = "locale") -> str:
    """A locale in BCP 47 with the case of its parts put right, such as `de-DE`.

    Raises:
        InvalidRequest: It is not one that CLDR knows (UN-05).
    """
    refused = InvalidRequest.of(field, "must be a BCP 47 locale, such as de-DE")
    # Babel looks locales up by file name; nothing gets to it that could be a path.
    if not _PLAIN.fullmatch(value):
        raise refused
    try:
        locale = Locale.parse(value, sep="-")
    except (ValueError, UnknownLocaleError) as error:
        raise refused from error
    parts = (locale.language, locale.script, locale.territory, locale.variant)
    return "-".join(part for part in parts if part)
