"""New identifiers, in the forms that the dialects publish."""

import re
import secrets
import time
import uuid

__all__ = ["canonical_uuid", "new_external_id", "new_id", "new_uuid"]

_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def new_id(prefix: str) -> str:
    """A prefix such as `usr_` with 12 hexadecimal digits, 48 random bits."""
    return prefix + secrets.token_hex(6)


def new_external_id() -> str:
    """Ten letters and digits, 59 random bits, as Hyperclast has it."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(10))


def new_uuid() -> str:
    """A UUID of version 7 (RFC 9562), so that new rows lie beside each other in an index.

    Our own, because the standard library has it from Python 3.14 on only.
    """
    bits = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=bits))


def canonical_uuid(value: str) -> str | None:
    """A UUID in lower case, or None for anything but 8-4-4-4-12 hexadecimal digits.

    Python's own reader would take braces, `urn:uuid:` and missing hyphens.
    """
    return value.lower() if _UUID.fullmatch(value) else None
