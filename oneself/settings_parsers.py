"""Parsers of settings whose text has a structure."""

import ipaddress
import unicodedata
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl

from accounts.limits import RateLimit
from accounts.values.email_address import canonical, parse_address

#: Pattern of a rate limit: attempts, a slash, seconds.
RATE_LIMIT = "^[1-9][0-9]{0,6}/[1-9][0-9]{0,6}$"

_CHECKOUT = Path(__file__).parent.parent

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Shortest prefix of a proxy network; a shorter one is a mistake, or all addresses.
_SHORTEST_PREFIX = 8

_PORTS = range(1, 65_536)


@cache
def read_passwords(path: Path | None) -> frozenset[str]:
    """Return the lines of a file, normalized and in lower case; none without a file (PW-10).

    Raises:
        ValueError: The file cannot be read, or is empty: that is a mistake, not an empty blocklist.
    """
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("must be a text file in UTF-8 that can be read") from error
    passwords = frozenset(unicodedata.normalize("NFC", line).casefold() for line in lines if line)
    if not passwords:
        raise ValueError("must have a password in it")
    return passwords


def require_passwords(path: Path | None) -> Path | None:
    """Return the path, after `read_passwords` has read it."""
    read_passwords(path)
    return path


def require_origin(url: AnyHttpUrl) -> AnyHttpUrl:
    """Return the public URL, if it has nothing but an origin.

    It is published in metadata, JWTs and mail: a password in it would be published too, and a path
    would be missing from all of them.

    Raises:
        ValueError: It has more.
    """
    extra = (url.username, url.password, url.query, url.fragment)
    if url.path not in {None, "/"} or any(part is not None for part in extra):
        raise ValueError(
            "must have a scheme, a host and a port at most, as in https://me.example.com"
        )
    return url


#: The type of the setting.
PublicUrl = Annotated[AnyHttpUrl, AfterValidator(require_origin)]


def parse_sender(text: str) -> str:
    """Return the address that mail is sent from, with its domain in ASCII; empty if it is unset.

    Raises:
        ValueError: It is not an email address.
    """
    if text and canonical(text) is None:
        raise ValueError("must be an email address")
    return parse_address(text).mailbox if text else text


def resolve_in_checkout(path: Path) -> Path:
    """Return a path, which is relative to the checkout unless it is absolute."""
    return _CHECKOUT / path


def parse_listener(text: str) -> tuple[str, int]:
    """Split `host:port`; the host is empty or the port 0 if malformed."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else 0


def parse_rate_limit(text: str) -> RateLimit:
    """Parse a rate limit that matches `RATE_LIMIT`."""
    attempts, _, seconds = text.partition("/")
    return RateLimit(int(attempts), int(seconds))


def parse_networks(text: str, *, strict: bool = True) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas.

    `strict` rejects networks that are not named by their first address.

    Raises:
        ValueError: A part is neither an address nor a network.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part, strict=strict) for part in parts if part)


def require_networks(text: str) -> str:
    """Return the text, after a check of the networks of proxies in it.

    Raises:
        ValueError: They are malformed, too large, or not named by their first address.
    """
    try:
        networks = parse_networks(text, strict=False)
    except ValueError:
        message = "must be addresses or networks, separated by commas, and never all of them"
        raise ValueError(message) from None
    if any(network.prefixlen < _SHORTEST_PREFIX for network in networks):
        # If all clients are trusted, each can choose the address that its rate limit is counted
        # under (LG-11).
        raise ValueError(
            f"must be addresses or networks of /{_SHORTEST_PREFIX} and narrower, never all of them"
        )
    try:
        parse_networks(text)
    except ValueError:
        # Either one address was meant, or the prefix is too short: many would be trusted for one.
        message = "must be networks by their first address, as in 10.0.0.0/8 and not 10.0.0.1/8"
        raise ValueError(message) from None
    return text


def require_listener(text: str, *, remote: bool) -> None:
    """Check an address and port to listen on; `remote` allows other addresses than loopback.

    Raises:
        ValueError: It is malformed, or not a loopback address.
    """
    host, port = parse_listener(text)
    if not host or port not in _PORTS:
        raise ValueError("must be an address and a port, as in 127.0.0.1:9464")
    if not (is_loopback(host) or remote):
        raise ValueError("must be a loopback address, unless ONESELF_METRICS_REMOTE is set")


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
