"""Telephone numbers."""

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from accounts.errors import InvalidRequest

__all__ = ["parse_phone"]

_MOST_CHARACTERS = 32
_DIGITS = range(7, 16)


def parse_phone(value: str, field: str = "phone") -> str:
    """A telephone number in E.164: a country code that exists, and 7 to 15 digits in all.

    No more is asked: the Hantera page's own example, +1234567890, is no number that could be
    dialled, and what can be changes faster than any table of it.

    Raises:
        InvalidRequest: It has no plus and country code, too few or many digits, or an extension.
    """
    refused = InvalidRequest.of(field, "must be a telephone number with a plus and country code")
    if len(value) > _MOST_CHARACTERS or not value.startswith("+") or not value.isascii():
        raise refused
    try:
        number = phonenumbers.parse(value)
    except NumberParseException as error:
        raise refused from error
    written = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if number.extension or len(written) - 1 not in _DIGITS:
        raise refused
    return written
