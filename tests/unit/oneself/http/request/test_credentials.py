"""Tests of reading the one credential of a request."""

import pytest

from accounts.crypto import tokens
from accounts.errors import InvalidToken
from accounts.services.principal import CredentialKind
from handlers.errors import CrossSiteRequest
from handlers.exchange import COOKIE_NAME
from oneself.http.request.credentials import (
    is_same_origin,
    read_credential,
    refuse_cross_site,
    sent_bearer,
)
from oneself.http.request.errors import MultipleCredentials, NotAuthenticated

SESSION = tokens.mint("sess_")
KEY = tokens.mint_api_key("ipto").key


def _bearer(token, scheme="Bearer"):
    return (b"authorization", f"{scheme} {token}".encode("latin-1"))


def _key(key):
    return (b"x-api-key", key.encode("latin-1"))


def _cookie(*crumbs):
    return (b"cookie", "; ".join(crumbs).encode("latin-1"))


def _session_cookie(token=SESSION):
    return _cookie(f"{COOKIE_NAME}={token}")


def _read(*headers, brand="ipto", read_jwt=None):
    return read_credential(headers, brand=brand, read_jwt=read_jwt)


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("sess_", CredentialKind.SESSION),
        ("tok_", CredentialKind.ACCESS_TOKEN),
        ("pat_", CredentialKind.PAT),
    ],
)
def test_bearer_prefix_determines_the_kind(prefix, kind):
    token = tokens.mint(prefix)
    assert _read(_bearer(token)) == ((kind, token, None), False)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer ", "Bearer   "])
def test_scheme_is_case_insensitive(scheme):
    """RFC 9110 section 11.4: any number of spaces may follow."""
    assert _read(_bearer(SESSION, scheme))[0].token == SESSION


def test_api_key_is_read_from_its_header():
    """It is not a Bearer token."""
    assert _read(_key(KEY)) == ((CredentialKind.API_KEY, KEY, None), False)
    with pytest.raises(InvalidToken):
        _read(_bearer(KEY))


def test_api_key_of_another_brand_is_rejected():
    other = tokens.mint_api_key("acme").key
    assert _read(_key(other), brand="acme")[0].token == other
    with pytest.raises(InvalidToken):
        _read(_key(other))


def test_session_cookie_is_read():
    """Other cookies are ignored."""
    crumbs = ["a=b", f"{COOKIE_NAME}={SESSION}", "oneself_session=x", f"x{COOKIE_NAME}=y", ""]
    assert _read(_cookie(*crumbs)) == ((CredentialKind.SESSION, SESSION, None), True)
    assert _read((b"cookie", f"a=b;{COOKIE_NAME}={SESSION};c=d".encode()))[1] is True


@pytest.mark.parametrize("prefix", ["tok_", "pat_"])
def test_cookie_with_another_token_is_rejected(prefix):
    """SE-09: browsers do not send tokens made for programs."""
    with pytest.raises(InvalidToken):
        _read(_session_cookie(tokens.mint(prefix)))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (_cookie("a=b"),),
        (_cookie(f"{COOKIE_NAME}x={SESSION}"),),
        (_bearer("YWxpY2U6cGFzc3dvcmQ=", "Basic"),),
        ((b"authorization", SESSION.encode()),),
        ((b"authorization", b""),),
        ((b"x-access-token", SESSION.encode()),),
    ],
)
def test_missing_credential_is_not_authenticated(headers):
    """HT-01: another scheme counts as none."""
    with pytest.raises(NotAuthenticated):
        _read(*headers)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        SESSION[:-1],
        SESSION + "0",
        SESSION[1:],
        SESSION.replace("sess_", "pat_"),
        SESSION.replace("sess_", "SESS_"),
        f"{SESSION} {SESSION}",
        f"{SESSION},{SESSION}",
        tokens.mint("ots_"),
        tokens.mint("cls_"),
        "sess_\xff",
        "x" * 100_000,
    ],
    ids=range(13),
)
def test_malformed_token_is_rejected(token):
    """TK-01, TK-02: without the database, and as an unknown token would be."""
    for header in (_bearer(token), _key(token), _session_cookie(token)):
        with pytest.raises(InvalidToken):
            _read(header)


@pytest.mark.parametrize(
    "headers",
    [
        (_bearer(SESSION), _bearer(SESSION)),
        (_bearer(SESSION), _key(KEY)),
        (_key(KEY), _key(KEY)),
        (_session_cookie(), _session_cookie()),
        (_cookie(f"{COOKIE_NAME}=1", f"{COOKIE_NAME}=2"),),
        (_bearer("wrong"), _key(KEY)),
        (_bearer("x", "Basic"), _key(KEY)),
        (_bearer(SESSION), _key(KEY), _session_cookie()),
    ],
    ids=range(8),
)
def test_several_credentials_are_rejected(headers):
    """SE-10: even if one of them is valid."""
    with pytest.raises(MultipleCredentials):
        _read(*headers)
    with pytest.raises(MultipleCredentials):
        _read(*reversed(headers))


@pytest.mark.parametrize("cookie", [SESSION, "", "x", KEY], ids=range(4))
@pytest.mark.parametrize(
    ("header", "kind"),
    [(_bearer(SESSION), CredentialKind.SESSION), (_key(KEY), CredentialKind.API_KEY)],
)
def test_header_takes_precedence_over_cookies(header, kind, cookie):
    """SE-10, clients: browsers add a cookie by themselves, valid or not, even twice."""
    cookies = (_session_cookie(cookie), _session_cookie(SESSION))
    for headers in ((header, *cookies), (*cookies, header)):
        presented, by_cookie = _read(*headers)
        assert (presented.kind, by_cookie) == (kind, False)


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        (_bearer("wrong"), InvalidToken),
        (_key("wrong"), InvalidToken),
        (_bearer("x", "Basic"), NotAuthenticated),
    ],
    ids=range(3),
)
def test_cookie_never_replaces_a_wrong_header(header, refusal):
    """SE-10."""
    with pytest.raises(refusal):
        _read(header, _session_cookie())


@pytest.mark.parametrize("space", ["\n", "\r", "\t", "\x0b", "\x85", "\xa0"])
def test_token_with_trailing_white_space_is_rejected(space):
    """TK-01: only spaces end a header."""
    for header in (_bearer(SESSION + space), _key(KEY + space), _key(f"{KEY} ")):
        with pytest.raises(InvalidToken):
            _read(header)
    assert _read(_bearer(f"{SESSION} "))[0].token == SESSION


ORIGINS = frozenset({"https://example.com"})


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({b"sec-fetch-site": b"same-origin"}, True),
        ({b"sec-fetch-site": b"none"}, True),
        ({b"sec-fetch-site": b"same-site"}, False),
        ({b"sec-fetch-site": b"cross-site"}, False),
        ({b"sec-fetch-site": b""}, False),
        ({b"sec-fetch-site": b"cross-site", b"origin": b"https://example.com"}, False),
        ({b"sec-fetch-site": b"same-origin", b"origin": b"https://evil.example"}, True),
        ({b"origin": b"https://example.com"}, True),
        ({b"origin": b"https://example.com:444"}, False),
        ({b"origin": b"http://example.com"}, False),
        ({b"origin": b"https://example.com.evil.example"}, False),
        ({b"origin": b"null"}, False),
        ({b"origin": b"\xff"}, False),
        ({}, False),
    ],
)
def test_same_origin(headers, same):
    """SE-09: Sec-Fetch-Site counts first, then Origin."""
    assert is_same_origin(headers, ORIGINS) is same


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "post"])
def test_cross_site_write_with_a_cookie_is_rejected(method):
    """SE-09: a page cannot send a Bearer token that it does not have."""
    with pytest.raises(CrossSiteRequest):
        refuse_cross_site(method, same_origin=False)
    refuse_cross_site(method, same_origin=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_cross_site_read_with_a_cookie_is_accepted(method):
    """SE-09: it changes nothing, and browsers keep the answer from other sites."""
    refuse_cross_site(method, same_origin=False)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ([_bearer(SESSION)], True),
        ([(b"host", b"x"), (b"authorization", b"bEARER x")], True),
        ([_bearer("x", "Basic")], False),
        ([(b"authorization", b"Bearer")], False),
        ([_key(KEY), _session_cookie()], False),
        ([], False),
    ],
)
def test_sent_bearer(headers, sent):
    """Valid or not, in any case."""
    assert sent_bearer(headers) is sent
