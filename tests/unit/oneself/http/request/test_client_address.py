"""Which address a request came from."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from oneself.http.request.client_address import client_address
from oneself.settings import Settings

PROXY, CLIENT, LIE = "10.0.0.1", "192.0.2.7", "203.0.113.99"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ONESELF_")]:
        monkeypatch.delenv(name)


def _address(peer, *forwarded, trusted=PROXY):
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return client_address(peer, headers, Settings(trusted_proxies=trusted).proxies)


@pytest.mark.parametrize("forwarded", [[], [LIE], [LIE, PROXY], ["not-an-ip"]])
def test_where_no_proxy_is_trusted_the_header_is_not_read(forwarded):
    """LG-11: anybody can write it."""
    assert _address(CLIENT, *forwarded, trusted="") == CLIENT
    assert _address("::1", *forwarded, trusted="") == "::1"


@pytest.mark.parametrize("forwarded", [[], [LIE], [f"{LIE}, {PROXY}"], [PROXY]])
def test_who_is_no_trusted_proxy_is_the_client_whatever_they_say(forwarded):
    """LG-11: a client that reaches the service past the proxy is throttled as itself."""
    assert _address(CLIENT, *forwarded) == CLIENT


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], PROXY),
        ([CLIENT], CLIENT),
        ([f"{LIE}, {CLIENT}"], CLIENT),
        ([f"{LIE},{LIE},{CLIENT}"], CLIENT),
        ([f"{PROXY}, {LIE}, {CLIENT}"], CLIENT),
        ([LIE, CLIENT], CLIENT),
        ([f"{LIE}, {LIE}", f"{LIE} ,\t{CLIENT} "], CLIENT),
        ([f"{LIE}, {CLIENT}, {PROXY}"], CLIENT),
        ([PROXY], PROXY),
        ([f"{PROXY}, {PROXY}"], PROXY),
        (["2001:db8:0:0::7"], "2001:db8::7"),
    ],
)
def test_the_client_is_the_last_that_a_trusted_proxy_did_not_write_of_itself(forwarded, address):
    """LG-11: from the right end, in one header or in several; what stands before may be a lie."""
    assert _address(PROXY, *forwarded) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("10.0.0.2", "10.0.0.2"),
        (f"{LIE}, {CLIENT}, 10.200.0.3, 10.0.0.2", CLIENT),
        (f"{LIE}, {CLIENT}, 2001:db8:ff::1, 10.0.0.2", CLIENT),
        (f"{LIE}, 2001:db8:fe::1, 10.0.0.2", "2001:db8:fe::1"),
        (f"{CLIENT}, 10.0.0.2, 11.0.0.1", "11.0.0.1"),
    ],
)
def test_a_chain_of_trusted_networks_is_followed_to_the_first_stranger(forwarded, address):
    """LG-11: each hop is believed as long as whoever wrote it is one of ours."""
    assert _address(PROXY, forwarded, trusted="10.0.0.0/8, 2001:db8:ff::/48") == address


@pytest.mark.parametrize(
    "nonsense",
    [
        "not-an-ip",
        "",
        " ",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.07",
        "0x7f.1",
        "1",
        "192.0.2.7:80",
        "[::1]",
        "unknown",
        "_hidden",
        "for=192.0.2.7",
        "::1::",
        "\xff",
        "1" * 10_240,
        "192.0.2.7/32",
    ],
    ids=range(17),
)
def test_what_is_no_address_is_never_the_client(nonsense):
    """LG-11: then it is the proxy that wrote it, and nothing before it is read."""
    assert _address(PROXY, nonsense) == PROXY
    assert _address(PROXY, f"{LIE}, {nonsense}") == PROXY
    assert _address(PROXY, f"{LIE}, {nonsense}, {CLIENT}") == CLIENT


def test_a_long_chain_is_read_at_its_end_only():
    """LG-11: ten thousand bytes of lies change nothing, and a chain of proxies has its end too."""
    lies = ", ".join([LIE] * 2000)
    assert _address(PROXY, f"{lies}, {CLIENT}") == CLIENT
    assert _address(PROXY, lies, CLIENT) == CLIENT
    assert _address(PROXY, ", ".join([LIE, *[PROXY] * 2000])) == PROXY


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:0207", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("2001:DB8:0000::0001", "2001:db8::1"),
        ("", None),
        (None, None),
        ("/run/oneself.sock", None),
    ],
)
def test_one_client_has_one_spelling(peer, address):
    """LG-10: an IPv4 address stays one over IPv6, and a zone is this machine's own word."""
    assert _address(peer, trusted="") == address
    assert _address(peer) == address
    if address is not None:
        assert _address(PROXY, peer) == address


def test_a_proxy_is_recognised_over_ipv6_too():
    """LG-10: a socket that takes both shows an IPv4 proxy as a mapped address."""
    assert _address(f"::ffff:{PROXY}", CLIENT) == CLIENT


def test_a_peer_that_is_none_brings_no_address():
    """LG-11: a header alone is nobody's word."""
    assert _address(None, CLIENT) is None


def test_another_header_is_not_read():
    """LG-11: nor is a name that begins alike."""
    headers = [(name, LIE.encode()) for name in (b"x-forwarded-fo", b"forwarded", b"x-real-ip")]
    proxies = Settings(trusted_proxies=PROXY).proxies
    assert client_address(PROXY, headers, proxies) == PROXY


@given(st.lists(st.binary(max_size=60), max_size=5))
@example([b"\xb2.0.0.1"])
@example([b"1.1.1.1%\xff"])
def test_whatever_stands_there_the_end_is_the_proxys(values):
    """LG-11: nothing that is sent makes a failure, nor a client other than the last one written."""
    proxies = Settings(trusted_proxies=PROXY).proxies
    headers = [(b"x-forwarded-for", value) for value in values]
    assert (
        client_address(PROXY, [*headers, (b"x-forwarded-for", CLIENT.encode())], proxies) == CLIENT
    )
    assert client_address(PROXY, headers, proxies) is not None


@pytest.mark.parametrize(
    "trusted",
    [
        "*",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1, *",
        "10.0.0.0/8, 0.0.0.0/0",
        "proxy",
        "/",
        "10.0.0.1;10.0.0.2",
        "0/0",
    ],
)
def test_nobody_can_trust_everybody(trusted):
    """LG-11: else everybody chooses whom they are throttled as; and no value is repeated."""
    with pytest.raises(ValidationError) as refused:
        Settings(trusted_proxies=trusted)
    assert "never all of them" in str(refused.value)


@pytest.mark.parametrize(
    ("trusted", "networks"),
    [
        ("", []),
        (" , ", []),
        ("10.0.0.1", ["10.0.0.1/32"]),
        ("10.0.0.0/8,2001:db8::/32 , ::1", ["10.0.0.0/8", "2001:db8::/32", "::1/128"]),
    ],
)
def test_addresses_and_networks_are_told_by_commas(trusted, networks):
    """LG-11: one address is a network of one."""
    assert [str(each) for each in Settings(trusted_proxies=trusted).proxies] == networks


@pytest.mark.parametrize(
    "text", ["5", "5/", "/5", "0/300", "5/0", "-5/300", "5/300s", " 5/300", "5/3e2"]
)
@pytest.mark.parametrize("name", ["account_source", "account", "source", "signup", "mail"])
def test_a_budget_is_attempts_and_seconds(name, text):
    """LG-04: none that lets everything through, or nothing, and none that is guessed at."""
    with pytest.raises(ValidationError):
        Settings(**{f"throttle_{name}": text})


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("account_source", "account_and_source_budget"),
        ("account", "account_budget"),
        ("source", "source_budget"),
        ("signup", "signup_budget"),
        ("mail", "mail_budget"),
    ],
)
def test_each_budget_is_a_rule_of_the_acts(name, rule):
    """LG-04: what is set is what is kept to."""
    limits = Settings(**{f"throttle_{name}": "7/11"}).limits
    assert getattr(limits, rule) == (7, 11)
