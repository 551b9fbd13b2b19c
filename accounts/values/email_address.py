"""E-mail addresses: what is one, and when two are the same."""

import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from accounts.errors import InvalidRequest

__all__ = ["Address", "canonical", "parse_address"]

# RFC 5321 section 4.5.3.1.3, less the angle brackets.
_MAX_LENGTH = 254


@dataclass(frozen=True, slots=True)
class Address:
    """One e-mail address, as it was entered (NFC) and as the unique key it is compared by."""

    entered: str
    canonical: str

    @property
    def mailbox(self) -> str:
        """The address that SMTP is given: the local part as entered, the domain in ASCII."""
        return f"{self.entered.rpartition('@')[0]}@{self.canonical.rpartition('@')[2]}"


def parse_address(value: str, field: str = "email") -> Address:
    """Read an address of at most 254 characters, with an ASCII local part (EM-21).

    Raises:
        InvalidRequest: It is none.

    """
    address = _read(value)
    if address is None:
        raise InvalidRequest.of(field, "must be an e-mail address")
    return address


def canonical(value: str) -> str | None:
    """Give the key to look an address up by, or None for what no account can have."""
    address = _read(value)
    return None if address is None else address.canonical


def _read(value: str) -> Address | None:
    # Before parsing: the parser's work grows with what it is given.
    if len(value) > _MAX_LENGTH:
        return None
    try:
        # `strict` is what holds the local part to 64 octets, and has nothing else to it.
        parts = validate_email(value, allow_smtputf8=False, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return None
    # The key is made here and not by the database, whose case folding is its locale's
    # (CVE-2019-19844). The local part is ASCII already, where NFKC changes nothing; the domain is
    # the A-label form of UTS 46, which is lower case.
    key = f"{parts.local_part.casefold()}@{parts.ascii_domain}"
    return Address(entered=unicodedata.normalize("NFC", value), canonical=key)
