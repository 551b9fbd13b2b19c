"""Random public identifiers of rows."""

import re
import secrets
import string
import threading
import time

_ALPHANUMERICS = string.digits + string.ascii_letters
_EXTERNAL_LENGTH = 10
_ID_TAIL = re.compile(r"[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def new_id(prefix: str) -> str:
    """Return `prefix` (`usr_`, `tnt_`, `key_`, `ses_`, `cli_`, `msg_`) and 12 hex digits."""
    return prefix + secrets.token_hex(6)


def is_id(value: str, prefix: str) -> bool:
    """Return whether `new_id(prefix)` could have made the value."""
    return value.startswith(prefix) and _ID_TAIL.fullmatch(value, len(prefix)) is not None


def new_external_id() -> str:
    """Return 10 random ASCII letters and digits."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(_EXTERNAL_LENGTH))


class _Sequence:
    """Increasing numbers: Unix milliseconds with a counter of 12 bits below them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self) -> int:
        with self._lock:
            # Each millisecond starts at random in the lower half of the counter, which leaves room.
            current = time.time_ns() // 1_000_000 << 12 | secrets.randbits(11)
            self._last = max(current, self._last + 1)
            return self._last


_sequence = _Sequence()


def new_uuid() -> str:
    """Return a UUID version 7 in lower case that sorts after all others of this process.

    48 bits of Unix milliseconds, a counter of 12 bits, then 62 random bits: two events of one act
    have the same time, and must still sort in order. Source: RFC 9562 sections 5.7 and 6.2 (method
    1). The standard library has `uuid.uuid7` from Python 3.14 on.
    """
    milliseconds, count = divmod(_sequence.take(), 1 << 12)
    tail = secrets.randbits(62)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | tail
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def canonical_uuid(value: str) -> str | None:
    """Return a UUID of any version in lower case, or None for all but 8-4-4-4-12 hex digits."""
    # `uuid.UUID` also accepts braces, `urn:uuid:` and hyphens anywhere: many names for one row.
    return value.lower() if _UUID.fullmatch(value) else None
