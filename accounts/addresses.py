"""E-mail addresses: as they were entered, and as they are compared."""

import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from accounts.errors import InvalidRequest

__all__ = ["Address", "canonical", "parse_address"]

_MOST_CHARACTERS = 254


@dataclass(frozen=True, slots=True)
class Address:
    """`entered` is what mail is sent to; `canonical` is the key that is unique, made in Python
    because neither database folds Unicode (UN-01)."""

    entered: str
    canonical: str


def parse_address(value: str, field: str = "email") -> Address:
    """Read an address.

    The local part is ASCII (EM-21), the domain may be international; no lookup is made.

    Raises:
        InvalidRequest: It is not an address.
    """
    # Measured first: what comes next is not linear in the length.
    if len(value) > _MOST_CHARACTERS:
        raise _refused(field)
    try:
        parsed = validate_email(
            value,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            check_deliverability=False,
        )
    except EmailNotValidError as error:
        raise _refused(field) from error
    local = unicodedata.normalize("NFKC", parsed.local_part).casefold()
    return Address(parsed.normalized, f"{local}@{parsed.ascii_domain.lower()}")


def canonical(value: str) -> str | None:
    """The key of an address, or None for what cannot be one; for looking up, so never a refusal."""
    try:
        return parse_address(value).canonical
    except InvalidRequest:
        return None


def _refused(field: str) -> InvalidRequest:
    return InvalidRequest.of(field, "must be an e-mail address")
