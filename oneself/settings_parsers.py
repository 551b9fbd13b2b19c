"""What the texts of settings mean."""

import ipaddress
import unicodedata
from functools import cache
from pathlib import Path

from accounts.limits import RateLimit

__all__ = [
    "Network",
    "is_loopback",
    "parse_listener",
    "parse_networks",
    "parse_rate_limit",
    "read_passwords",
    "require_listener",
    "require_networks",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A network of proxies that is wider is a mistake, or everybody.
_WIDEST = 8

_PORTS = range(1, 65_536)


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
    """Address and port; nothing for what is no address, 0 for what is no port."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else 0


def parse_rate_limit(text: str) -> RateLimit:
    """So many attempts in so many seconds."""
    attempts, _, seconds = text.partition("/")
    return RateLimit(int(attempts), int(seconds))


def parse_networks(text: str, *, strict: bool = True) -> tuple[Network, ...]:
    """Addresses and networks between commas; strictly, networks are named by their first address.

    Raises:
        ValueError: One is neither.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part, strict=strict) for part in parts if part)


def require_networks(text: str) -> None:
    """Let the networks of proxies pass.

    Raises:
        ValueError: They cannot be read, are too many addresses, or are not what they look like.
    """
    try:
        found = parse_networks(text, strict=False)
    except ValueError:
        message = "must be addresses or networks, separated by commas, and never all of them"
        raise ValueError(message) from None
    if any(network.prefixlen < _WIDEST for network in found):
        # Who trusts everybody lets everybody choose whom they are throttled as (LG-11).
        message = f"must be addresses or networks of /{_WIDEST} and narrower, never all of them"
        raise ValueError(message)
    try:
        parse_networks(text)
    except ValueError:
        # An address of a network, or a prefix that is too short: one would be believed for many.
        message = "must be networks by their first address, as in 10.0.0.0/8 and not 10.0.0.1/8"
        raise ValueError(message) from None


def require_listener(text: str, *, remote: bool) -> None:
    """Let an address and a port pass: those of this machine, or `remote` ones too.

    Raises:
        ValueError: It is neither.
    """
    host, port = parse_listener(text)
    if not host or port not in _PORTS:
        message = "must be an address and a port, as in 127.0.0.1:9464"
        raise ValueError(message)
    if not (is_loopback(host) or remote):
        message = "must be of this machine alone, or ONESELF_METRICS_REMOTE be set"
        raise ValueError(message)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
