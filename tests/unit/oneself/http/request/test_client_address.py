"""Tests of the client address of a request."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from oneself.http.request.client_address import _warn_of_unreadable_hop, client_address, origin_of
from oneself.settings import Settings

PROXY, CLIENT, LIE = "10.0.0.1", "192.0.2.7", "203.0.113.99"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ONESELF_")]:
        monkeypatch.delenv(name)


def _address(peer, *forwarded, trusted=PROXY):
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return client_address(peer, headers, Settings(trusted_proxies=trusted).proxies)


@pytest.mark.parametrize("header", [{}, {b"user-agent": b"Firefox/1 \xff"}])
def test_origin_has_the_address_and_the_user_agent(header):
    """Newcomer F21: alerts tell both."""
    scope = {"client": (CLIENT, 1), "headers": [*header.items()]}
    origin = origin_of(scope, header, "req_1", ())
    assert (origin.request_id, origin.address) == ("req_1", CLIENT)
    assert origin.user_agent == ("Firefox/1 \xff" if header else "")


@pytest.mark.parametrize("forwarded", [[], [LIE], [LIE, PROXY], ["not-an-ip"]])
def test_forwarded_header_is_ignored_without_trusted_proxies(forwarded):
    """LG-11: any client can write it."""
    assert _address(CLIENT, *forwarded, trusted="") == CLIENT
    assert _address("::1", *forwarded, trusted="") == "::1"


@pytest.mark.parametrize("forwarded", [[], [LIE], [f"{LIE}, {PROXY}"], [PROXY]])
def test_untrusted_peer_is_the_client(forwarded):
    """LG-11: clients that bypass the proxy are throttled by their own address."""
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
def test_client_is_the_last_untrusted_hop(forwarded, address):
    """LG-11: from the right end, in one header or several; hops before it may be forged."""
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
def test_trusted_networks_are_followed_to_the_first_untrusted_hop(forwarded, address):
    """LG-11: a hop counts if a trusted proxy wrote it."""
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
        "192.0.2.7:http",
        "192.0.2.7:",
        "192.0.2.7:123456",
        "[::1",
        "[192.0.2.7",
        "[]:80",
        "[::1]:",
        "[[::1]]",
        "2001:db8::g:80",
        "unknown",
        "_hidden",
        "for=192.0.2.7",
        "::1::",
        "\xff",
        "1" * 10_240,
        "192.0.2.7/32",
    ],
    ids=range(24),
)
def test_malformed_hop_is_never_the_client(nonsense):
    """LG-11: the proxy that wrote it is, and nothing before it is read."""
    assert _address(PROXY, nonsense) == PROXY
    assert _address(PROXY, f"{LIE}, {nonsense}") == PROXY
    assert _address(PROXY, f"{LIE}, {nonsense}, {CLIENT}") == CLIENT


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (f"{CLIENT}:4711", CLIENT),
        (f"{CLIENT}:0", CLIENT),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:DB8:0::7]", "2001:db8::7"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        (f"[::ffff:{CLIENT}]:80", CLIENT),
        ("2001:db8::7:443", "2001:db8::7:443"),
    ],
)
def test_hop_may_have_a_port(hop, address):
    """LG-11, attack finding 19: some proxies write the port of the connection."""
    assert _address(PROXY, hop) == address
    assert _address(PROXY, f"{LIE}, {hop}") == address
    assert _address(PROXY, f"{LIE}, {hop}, {PROXY}:80") == address


def test_unreadable_header_of_a_proxy_is_logged_once(caplog):
    """LG-11, attack finding 19: without a part of the header (LO-06)."""
    _warn_of_unreadable_hop.cache_clear()
    _address(CLIENT, "canary")
    _address(PROXY, CLIENT)
    assert caplog.records == []
    for _ in range(3):
        _address(PROXY, "canary")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "X-Forwarded-For" in record.getMessage()
    assert "canary" not in record.getMessage()


def test_long_chain_is_read_at_its_end_only():
    """LG-11: ten thousand bytes of forged hops change nothing, and proxies are bounded too."""
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
def test_address_has_one_spelling(peer, address):
    """LG-10: an IPv4 address stays one over IPv6, and a zone is dropped."""
    assert _address(peer, trusted="") == address
    assert _address(peer) == address
    if address is not None:
        assert _address(PROXY, peer) == address


def test_proxy_is_recognised_over_ipv6():
    """LG-10: a dual-stack socket shows an IPv4 proxy as a mapped address."""
    assert _address(f"::ffff:{PROXY}", CLIENT) == CLIENT


def test_missing_peer_has_no_address():
    """LG-11: a header alone proves nothing."""
    assert _address(None, CLIENT) is None


def test_similar_header_is_ignored():
    """LG-11."""
    headers = [(name, LIE.encode()) for name in (b"x-forwarded-fo", b"forwarded", b"x-real-ip")]
    proxies = Settings(trusted_proxies=PROXY).proxies
    assert client_address(PROXY, headers, proxies) == PROXY


@given(st.lists(st.binary(max_size=60), max_size=5))
@example([b"\xb2.0.0.1"])
@example([b"1.1.1.1%\xff"])
def test_random_headers_never_change_the_last_hop(values):
    """LG-11: no input fails, or yields a client other than the last hop."""
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
def test_trusting_all_addresses_is_rejected(trusted):
    """LG-11: or clients could choose their address; and no value is repeated."""
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
def test_trusted_proxies_are_comma_separated(trusted, networks):
    """LG-11: one address is a network of one."""
    assert [str(each) for each in Settings(trusted_proxies=trusted).proxies] == networks


@pytest.mark.parametrize(
    "text", ["5", "5/", "/5", "0/300", "5/0", "-5/300", "5/300s", " 5/300", "5/3e2"]
)
@pytest.mark.parametrize("name", ["account_source", "account", "source", "signup", "mail", "write"])
def test_malformed_rate_limit_is_rejected(name, text):
    """LG-04: so are those that allow everything or nothing."""
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
        ("write", "write_budget"),
    ],
)
def test_rate_limit_setting_reaches_the_acts(name, rule):
    """LG-04."""
    limits = Settings(**{f"throttle_{name}": "7/11"}).limits
    assert getattr(limits, rule) == (7, 11)
