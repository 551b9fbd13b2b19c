"""Reads percent-encoded name=value pairs: queries, and the form bodies that OAuth uses."""

from urllib.parse import parse_qsl

from accounts.errors import InvalidRequest
from handlers.dialect import Place, PlacedViolation

FORM = "application/x-www-form-urlencoded"

_MOST_FIELDS = 50
NOT_PAIRS = "must be name=value pairs in percent-encoded UTF-8"


def parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form; an empty field counts as absent (RFC 6749 section 3.2).

    Raises:
        InvalidRequest: The form is not percent-encoded UTF-8, has more than 50 fields, or repeats
            one (RFC 6749 section 3.2).
    """
    pairs = parse_pairs(body, "body", most=_MOST_FIELDS)
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest([PlacedViolation((), "must not have a field twice", "body")])
    return {name: value for name, value in fields.items() if value}


def parse_pairs(content: bytes, place: Place, *, most: int) -> list[tuple[str, str]]:
    """Return names and values, empty ones included.

    Raises:
        InvalidRequest: They are not percent-encoded UTF-8, or more than `most`.
    """
    try:
        return parse_qsl(
            content.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(content),
            errors="strict",
            max_num_fields=most,
        )
    except ValueError as error:
        raise InvalidRequest([PlacedViolation((), NOT_PAIRS, place)]) from error
