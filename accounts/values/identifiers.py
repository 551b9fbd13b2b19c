"""Names for rows: made at random, shown to anybody, never a secret."""

import re
import secrets
import string
import threading
import time

__all__ = ["canonical_uuid", "is_id", "new_external_id", "new_id", "new_uuid"]

_ALPHANUMERICS = string.digits + string.ascii_letters
_EXTERNAL_LENGTH = 10
_ID_TAIL = re.compile(r"[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def new_id(prefix: str) -> str:
    """Make `prefix` (`usr_`, `tnt_`, `key_`, `ses_`, `cli_`, `msg_`) and 12 hex digits."""
    return prefix + secrets.token_hex(6)


def is_id(value: str, prefix: str) -> bool:
    """Tell whether `new_id(prefix)` could have made it."""
    return value.startswith(prefix) and _ID_TAIL.fullmatch(value, len(prefix)) is not None


def new_external_id() -> str:
    """Make 10 letters and digits of ASCII."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(_EXTERNAL_LENGTH))


class _Sequence:
    """Unix milliseconds with a count of 12 bits below them, each larger than the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self) -> int:
        with self._lock:
            # Begins anew at random in each millisecond, in the lower half, so that there is room.
            present = time.time_ns() // 1_000_000 << 12 | secrets.randbits(11)
            self._last = max(present, self._last + 1)
            return self._last


_sequence = _Sequence()


def new_uuid() -> str:
    """Make a UUID of version 7 in lower case, which sorts after all that this process has made.

    48 bits of Unix milliseconds, a count of 12 bits, then 62 random ones: two events of one act
    are of the same moment, and yet one came first. Source: RFC 9562 sections 5.7 and 6.2 (method
    1). The standard library's `uuid.uuid7` begins with Python 3.14.
    """
    milliseconds, count = divmod(_sequence.take(), 1 << 12)
    tail = secrets.randbits(62)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | tail
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def canonical_uuid(value: str) -> str | None:
    """Give a UUID of any version in lower case, or None for what is not 8-4-4-4-12 hex digits."""
    # `uuid.UUID` also reads braces, `urn:uuid:` and hyphens anywhere: many names for one row.
    return value.lower() if _UUID.fullmatch(value) else None
