"""The address and the user agent of a client."""

import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache

from starlette.types import Scope

from accounts.origin import Origin
from oneself.settings_parsers import Network

_log = logging.getLogger(__name__)

_MOST_HOPS = 32
#: An address with the port of the connection, as Azure and IIS write it; IPv6 is in brackets.
_HOP = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}")
#: Parsed addresses to cache; one peer sends many requests.
_MOST_KEPT = 1024


def origin_of(
    scope: Scope, headers: Mapping[bytes, bytes], request_id: str, proxies: Sequence[Network]
) -> Origin:
    """Return the origin of a request, without its credential."""
    # Not `user_agent_of`, which few of the requests need.
    user_agent = headers.get(b"user-agent", b"").decode("latin-1")
    return Origin(request_id, client_address_of(scope, proxies), user_agent=user_agent)


def client_address_of(scope: Scope, proxies: Sequence[Network]) -> str | None:
    """Return the client's IP address, as `client_address` reads it from a request."""
    peer = scope["client"][0] if scope.get("client") else None
    return client_address(peer, scope["headers"], proxies)


def user_agent_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the `User-Agent` as printable text of at most 200 characters."""
    text = headers.get(b"user-agent", b"").decode("latin-1")
    return "".join(character for character in text if character.isprintable())[:200] or None


def client_address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]
) -> str | None:
    """Return the client's IP address in its shortest form; None if the peer has none.

    `X-Forwarded-For` is read from its right end, where the nearest proxy wrote, and only as far as
    the addresses are in `proxies`. Clients can forge everything before that (LG-11).
    """
    if not proxies:
        return _shortest(peer or "")
    address = _parse(peer or "")
    if address is None:
        return None
    hops = [
        hop
        for name, value in headers
        if name == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ]
    for hop in reversed(hops[-_MOST_HOPS:]):
        if not any(address in network for network in proxies):
            break
        previous = _parse_hop(hop.strip())
        if previous is None:
            _warn_of_unreadable_hop()
            break
        address = previous
    return str(address)


@lru_cache(maxsize=_MOST_KEPT)
def _shortest(text: str) -> str | None:
    address = _parse(text)
    return None if address is None else str(address)


@cache
def _warn_of_unreadable_hop() -> None:
    """Log, once in each process, that clients share the address and the limits of their proxy."""
    _log.warning(
        "a trusted proxy sent an X-Forwarded-For header whose last entry is not an IP address:"
        " all clients behind it share one rate limit"
    )


def _parse_hop(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an entry of `X-Forwarded-For`: an address, or one with a port."""
    match = _HOP.fullmatch(text)
    return _parse(text if match is None else match[1] or match[2])


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # An IPv4 client on an IPv6 socket is an IPv4 client (LG-10).
    return getattr(address, "ipv4_mapped", None) or address
