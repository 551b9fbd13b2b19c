"""Telephone numbers in the form of ITU-T E.164."""

import re

import phonenumbers

from accounts.errors import InvalidRequest

_MAX_LENGTH = 32

# The library reads far more: letters, extensions, `tel:` parameters, and digits around a letter
# that it drops. Each of these would turn the entered number into another one.
_INTERNATIONAL = re.compile(r"\+[0-9][0-9 ().\-/]*")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

# Looks wrong because `is_possible_number` exists. Right because it rejects the number in Hantera's
# published example, +1234567890, as one digit too short for its country. Costs that a number with
# a missing digit is accepted; numbers are stored and never dialled.
_ACCEPTED = frozenset(
    {
        phonenumbers.ValidationResult.IS_POSSIBLE,
        phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY,
        phonenumbers.ValidationResult.TOO_SHORT,
    }
)


def parse_phone(value: str, field: str = "phone") -> str:
    """Return the E.164 form of an international number of at most 32 characters, without extension.

    Raises:
        InvalidRequest: The number is malformed.
    """
    number = _read(value)
    # The library removes trunk zeros one at a time. A number that is not yet its own E.164 form
    # would become another number when a client sends it back.
    if number is None or _read(number) != number:
        raise InvalidRequest.of(
            field, "must be an international telephone number: a plus sign, then 7 to 15 digits"
        )
    return number


def _read(value: str) -> str | None:
    if len(value) > _MAX_LENGTH or _INTERNATIONAL.fullmatch(value) is None:
        return None
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) not in _ACCEPTED:
        return None
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return text if _E164.fullmatch(text) else None
