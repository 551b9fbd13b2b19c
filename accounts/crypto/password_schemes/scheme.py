"""One scheme of password hashes of another system, and a hash that was made by it."""

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

#: The longest salt, so that a record has at most 200 characters.
MAX_SALT_BYTES = 48
#: The digest lengths that are accepted: below, passwords collide; no system has longer ones.
MIN_DIGEST_BYTES, MAX_DIGEST_BYTES = 16, 64

Parameters = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to hash passwords, with parameters such as its cost.

    `name` is stored in records and never changes. `derive` returns the digest of a password for
    parameters and a salt. `rounds` estimates its work in units of bcrypt's, of which cost 12 takes
    2 ** 12. `bounds` are the least and the greatest value of each parameter, and `kib` is the
    memory that it takes. `clock` measures its time: lanes of argon2 run on threads of their own.
    """

    name: str
    derive: Callable[[bytes, Parameters, bytes], bytes]
    rounds: Callable[[Parameters], float]
    bounds: tuple[tuple[int, int], ...]
    kib: Callable[[Parameters], int] = lambda _: 0
    clock: Callable[[], float] = time.thread_time


class ForeignHash(NamedTuple):
    """The hash of a password alone, as another system has stored it."""

    scheme: Scheme
    parameters: Parameters
    salt: bytes
    digest: bytes


def decode(text: str) -> bytes:
    """Decode base64 with or without padding, in the alphabets of RFC 4648 and of passlib.

    Raises:
        ValueError: The text is something else.
    """
    standard = text.rstrip("=").replace(".", "+").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
