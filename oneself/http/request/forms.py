"""Reads form bodies, which OAuth uses."""

from urllib.parse import parse_qsl

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation

__all__ = ["FORM", "parse_form"]

FORM = "application/x-www-form-urlencoded"

_MOST_FIELDS = 50


def parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form; an empty field counts as absent (RFC 6749 section 3.2).

    Raises:
        InvalidRequest: The form is not percent-encoded UTF-8, has more than 50 fields, or repeats
            one (RFC 6749 section 3.2).
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        rule = "must be name=value pairs in percent-encoded UTF-8"
        raise InvalidRequest([PlacedViolation((), rule, "body")]) from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest([PlacedViolation((), "must not have a field twice", "body")])
    return {name: value for name, value in fields.items() if value}
