"""The network of a client address, as people think of a place: a home, an office, a provider."""

import ipaddress

_PREFIXES = {4: 24, 6: 48}


def network_of(address: str) -> str:
    """Return the network of an IP address: a /24 for IPv4, a /48 for IPv6.

    The address of one home or phone changes within it from day to day.
    """
    parsed = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((parsed, _PREFIXES[parsed.version]), strict=False))
