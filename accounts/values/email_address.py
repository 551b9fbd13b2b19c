"""Email addresses: validation, and the canonical form for comparison."""

import re
import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from accounts.errors import InvalidRequest

# RFC 5321 section 4.5.3.1.3, less the angle brackets.
_MAX_LENGTH = 254

# The full stops that IDNA reads as dots (RFC 3490 section 3.1).
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_TOP_LEVEL = re.compile("[A-Za-z]{2,8}")


@dataclass(frozen=True, slots=True)
class Address:
    """An email address as entered (in NFC), and the unique key that it is compared by."""

    entered: str
    canonical: str

    @property
    def mailbox(self) -> str:
        """Return the address for SMTP: the local part as entered, the domain in ASCII."""
        return f"{self.entered.rpartition('@')[0]}@{self.canonical.rpartition('@')[2]}"


def parse_address(value: str, field: str = "email") -> Address:
    """Parse an address of at most 254 characters with an ASCII local part (EM-21).

    Raises:
        InvalidRequest: The address is malformed.
    """
    address = _read(value)
    if address is None:
        raise InvalidRequest.of(field, "must be an e-mail address")
    return address


def canonical(value: str) -> str | None:
    """Return the key to look an address up by, or None if no account can have this address."""
    address = _read(value)
    return None if address is None else address.canonical


def mask(address: str) -> str:
    """Mask an address so that its owner recognises it, and it can carry no text to a stranger.

    Its top-level domain is shown if it is a short word: the domain need not exist.
    """
    local, _, domain = address.rpartition("@")
    top = _DOTS.split(domain)[-1]
    if _TOP_LEVEL.fullmatch(top) is None:
        top = f"{top[:1]}…"
    return f"{local[:1]}…@{domain[:1]}….{top}"


def _read(value: str) -> Address | None:
    # Before parsing, since the parser's work grows with the length.
    if len(value) > _MAX_LENGTH:
        return None
    try:
        # `strict` limits the local part to 64 octets, and does nothing else.
        parts = validate_email(value, allow_smtputf8=False, check_deliverability=False, strict=True)
    except EmailNotValidError:
        return None
    # The key is made here and not by the database, whose case folding is its locale's
    # (CVE-2019-19844). The local part is ASCII already, where NFKC changes nothing; the domain is
    # the A-label form of UTS 46, which is lower case.
    key = f"{parts.local_part.casefold()}@{parts.ascii_domain}"
    return Address(entered=unicodedata.normalize("NFC", value), canonical=key)
