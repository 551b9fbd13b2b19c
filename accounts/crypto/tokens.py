"""Opaque tokens: their format, and a checksum that detects typos without the database."""

import re
import secrets
import string
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple
from zlib import crc32

SESSION = "sess_"
ACCESS_TOKEN = "tok_"  # noqa: S105 - how such a token begins, and none itself
PAT = "pat_"
REFRESH_TOKEN = "ref_"  # noqa: S105 - as above
CLIENT_SECRET = "cls_"  # noqa: S105 - as above
ONE_TIME_SECRET = "ots_"  # noqa: S105 - as above

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PAIRS = ["".join(pair) for pair in product(_ALPHABET, repeat=2)]
_SECRET_BYTES = 32
_SECRET_LENGTH = 43  # 62 ** 43 is the first power of 62 above 2 ** 256
_CHECKSUM_LENGTH = 6  # and 62 ** 6 the first above 2 ** 32
_PREFIX_LENGTH = 12

_TAIL = re.compile(rf"[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}")
_KEY_TAIL = re.compile(rf"([0-9A-Za-z]{{{_PREFIX_LENGTH}}})_{_TAIL.pattern}")


#: The kinds of token by the texts that they begin with; API keys begin with a brand.
_KINDS = {
    SESSION: "session",
    ACCESS_TOKEN: "access token",
    PAT: "personal access token",
    REFRESH_TOKEN: "refresh token",
    CLIENT_SECRET: "client secret",
    ONE_TIME_SECRET: "one-time secret",
}


class FoundToken(NamedTuple):
    """A token in a text, its kind in words, and where it begins."""

    kind: str
    token: str
    start: int


class ApiKeyParts(NamedTuple):
    """A new API key, shown once, and the 12 characters that identify it."""

    key: str
    prefix: str


def mint(prefix: str) -> str:
    """Return `prefix`, 256 random bits in base62, and a CRC-32 of both.

    Source: the token format of GitHub, 2021.
    """
    body = prefix + _base62(secrets.randbits(8 * _SECRET_BYTES), _SECRET_LENGTH)
    return body + _checksum(body)


def is_well_formed(token: str, prefix: str) -> bool:
    """Return whether `mint(prefix)` could have made the token; any single typo is detected."""
    # All of it is matched: a token that is cut short or has a trailing line break is another token
    # (CVE-2026-27840).
    return (
        token.startswith(prefix)
        and _TAIL.fullmatch(token, len(prefix)) is not None
        and _checksum_matches(token)
    )


def mint_api_key(brand: str) -> ApiKeyParts:
    """Return an API key, `{brand}_{prefix}_{secret}{checksum}`."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(_PREFIX_LENGTH))
    return ApiKeyParts(mint(f"{brand}_{prefix}_"), prefix)


def api_key_prefix(key: str, brand: str) -> str | None:
    """Return the prefix of an API key, or None if `mint_api_key(brand)` cannot have made it."""
    start = f"{brand}_"
    if not key.startswith(start):
        return None
    tail = _KEY_TAIL.fullmatch(key, len(start))
    return tail[1] if tail and _checksum_matches(key) else None


def text_pattern(brand: str) -> str:
    """Return the regular expression of all tokens, in the syntax that RE2 shares with Python."""
    prefixes = "|".join(_KINDS)
    return rf"(?:{prefixes}|{brand}_[0-9A-Za-z]{{{_PREFIX_LENGTH}}}_){_TAIL.pattern}"


def find_in_text(text: str, brand: str) -> Iterator[FoundToken]:
    """Yield each token in a text whose checksum is right: others are typos or made up."""
    for match in re.finditer(rf"(?<![0-9A-Za-z]){text_pattern(brand)}(?![0-9A-Za-z])", text):
        if _checksum_matches(match[0]):
            prefix = match[0].partition("_")[0]
            yield FoundToken(_KINDS.get(f"{prefix}_", "API key"), match[0], match.start())


def _checksum_matches(token: str) -> bool:
    # Recomputed and compared as text, since a decoded checksum would have more than one spelling.
    # Not in constant time: a checksum is no secret.
    return token[-_CHECKSUM_LENGTH:] == _checksum(token[:-_CHECKSUM_LENGTH])


def _checksum(body: str) -> str:
    # Two digits at a time, since it is computed for each request.
    rest, last = divmod(crc32(body.encode()), len(_PAIRS))
    first, middle = divmod(rest, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
