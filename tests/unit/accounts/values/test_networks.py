"""Networks of client addresses."""

import pytest

from accounts.values.networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("203.0.113.255", "203.0.113.0/24"),
        ("203.0.114.9", "203.0.114.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::3", "2001:db8:1::/48"),
        ("2001:db8:2::3", "2001:db8:2::/48"),
    ],
)
def test_network_of_an_address(address, network):
    """LG-10: a home keeps its network while its address changes."""
    assert network_of(address) == network
