"""Opaque tokens: 256 random bits in base62 behind a prefix, with a checksum."""

import re
import secrets
import zlib
from functools import cache
from typing import NamedTuple

__all__ = ["ApiKeyParts", "api_key_prefix", "mint", "mint_api_key", "well_formed"]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_PREFIX_LENGTH = 12


class ApiKeyParts(NamedTuple):
    """A new API key, and the public prefix that it is found by."""

    key: str
    prefix: str


def mint(prefix: str) -> str:
    """A new token: the prefix, 43 digits of secret, 6 of CRC-32 over all before them."""
    return _with_checksum(prefix + _base62(secrets.randbits(256), _SECRET_LENGTH))


def well_formed(token: str, prefix: str) -> bool:
    """Whether a token has the form and the checksum of one of ours (TK-01).

    The checksum is no secret. It spares the database a typing error, and lets a scanner recognise
    a leaked token.
    """
    return _pattern(prefix).fullmatch(token) is not None and _checksum_is_right(token)


def mint_api_key(brand: str) -> ApiKeyParts:
    """A new API key, `{brand}_{prefix}_{secret}` with the checksum at its end."""
    prefix = "".join(secrets.choice(_BASE62) for _ in range(_PREFIX_LENGTH))
    key = f"{brand}_{prefix}_{_base62(secrets.randbits(256), _SECRET_LENGTH)}"
    return ApiKeyParts(_with_checksum(key), prefix)


def api_key_prefix(key: str, brand: str) -> str | None:
    """The public prefix of a key that has the form and the checksum of one of ours, else None."""
    matched = _api_key_pattern(brand).fullmatch(key)
    return matched["prefix"] if matched and _checksum_is_right(key) else None


@cache
def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(prefix)}[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}")


@cache
def _api_key_pattern(brand: str) -> re.Pattern[str]:
    prefix = rf"(?P<prefix>[0-9A-Za-z]{{{_PREFIX_LENGTH}}})"
    secret = rf"[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
    return re.compile(rf"{re.escape(brand)}_{prefix}_{secret}")


def _with_checksum(text: str) -> str:
    return text + _base62(zlib.crc32(text.encode()), _CHECKSUM_LENGTH)


def _checksum_is_right(token: str) -> bool:
    return _with_checksum(token[:-_CHECKSUM_LENGTH]) == token


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
