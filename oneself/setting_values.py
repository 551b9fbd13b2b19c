"""What the texts of settings mean."""

import ipaddress
import unicodedata
from functools import cache
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from accounts.rules import Budget

__all__ = [
    "Network",
    "database_name",
    "is_loopback",
    "parse_budget",
    "parse_listener",
    "parse_networks",
    "read_passwords",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@cache
def read_passwords(path: Path | None) -> frozenset[str]:
    """The lines of a file in lower case; a list that cannot be read is no empty list (PW-10)."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = "must be a text file in UTF-8 that can be read"
        raise ValueError(message) from error
    found = frozenset(unicodedata.normalize("NFC", line).casefold() for line in lines if line)
    if not found:
        message = "must have a password in it"
        raise ValueError(message)
    return found


def parse_listener(text: str) -> tuple[str, int]:
    """Address and port; 0 for what is no port."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else 0


def database_name(url: str) -> str | None:
    """The name of the database in a URL, if that can be read and has one."""
    try:
        return make_url(url).database
    except (ArgumentError, ValueError):  # as for a port that is no number
        return None


def parse_budget(text: str) -> Budget:
    """So many attempts in so many seconds."""
    attempts, _, seconds = text.partition("/")
    return Budget(int(attempts), int(seconds))


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks between commas.

    Raises:
        ValueError: One is neither.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
