"""Opaque tokens: their form, and that a mistyped one is refused without the database."""

import re
import string
from contextlib import contextmanager
from zlib import crc32

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import event

from accounts.crypto import tokens
from accounts.crypto.jwts import HeldKey, KeySet
from accounts.crypto.tokens import api_key_prefix, mint, mint_api_key, well_formed
from accounts.errors import InvalidClient, InvalidGrant, InvalidRequest, InvalidToken, SecretInvalid
from accounts.flows.email.email_change import validate_email_change
from accounts.flows.email.email_verification import confirm_email
from accounts.flows.oauth.token_exchange import exchange_refresh_token, exchange_session
from accounts.flows.oauth.token_introspection import introspect_token
from accounts.flows.password.password_reset import reset_password
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials, authenticate_client
from handlers.exchange import COOKIE_NAME
from oneself.http.request.credentials import read_credential
from tests.unit.conftest import START

BASE62 = string.digits + string.ascii_letters
KINDS = [
    tokens.SESSION,
    tokens.ACCESS_TOKEN,
    tokens.PAT,
    tokens.REFRESH_TOKEN,
    tokens.CLIENT_SECRET,
    tokens.ONE_TIME_SECRET,
]
TOKEN = mint(tokens.SESSION)
KEY = mint_api_key("ipto").key


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_its_kind_a_secret_and_a_checksum(kind):
    """TK-01: 43 characters of base62 hold 256 bits, six more hold the CRC-32."""
    token = mint(kind)
    assert re.fullmatch(kind + "[0-9A-Za-z]{49}", token)
    assert well_formed(token, kind)
    assert len(token) <= 255


def test_the_checksum_is_the_crc_32_of_all_before_it():
    """TK-01: a scanner for leaked secrets can check a token without us."""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in TOKEN[-6:]:
        value = value * 62 + alphabet.index(character)
    assert value == crc32(TOKEN[:-6].encode())


def test_a_token_of_one_kind_is_no_token_of_another():
    """TK-01: the kind is part of what is checked."""
    for made in KINDS:
        token = mint(made)
        assert [kind for kind in KINDS if well_formed(token, kind)] == [made]


def test_tokens_differ():
    """TK-01: a thousand are a thousand."""
    assert len({mint(tokens.PAT) for _ in range(1000)}) == 1000


@given(st.data(), st.sampled_from(BASE62) | st.characters())
def test_a_token_with_any_one_character_changed_is_refused(data, other):
    """TK-01: a mutation at every position is noticed without the database."""
    at = data.draw(st.integers(0, len(TOKEN) - 1))
    assume(TOKEN[at] != other)
    assert not well_formed(TOKEN[:at] + other + TOKEN[at + 1 :], tokens.SESSION)


def test_a_token_changed_at_each_position_in_each_way_is_refused():
    """TK-01: no character of base62 in any place makes another good token."""
    for at, right in enumerate(TOKEN):
        for other in BASE62.replace(right, ""):
            assert not well_formed(TOKEN[:at] + other + TOKEN[at + 1 :], tokens.SESSION)


def test_a_token_cut_short_is_refused():
    """TK-01: 1 to all characters less, from either end (CVE-2026-27840)."""
    for count in range(1, len(TOKEN) + 1):
        assert not well_formed(TOKEN[:-count], tokens.SESSION)
        assert not well_formed(TOKEN[count:], tokens.SESSION)


@pytest.mark.parametrize("more", ["\n", "\r\n", " ", "\x00", "0", "A", "\u0660", "\ud800"])
def test_a_token_with_more_about_it_is_refused(more):
    """TK-01: a line break at the end is not forgiven."""
    assert not well_formed(TOKEN + more, tokens.SESSION)
    assert not well_formed(more + TOKEN, tokens.SESSION)
    assert api_key_prefix(KEY + more, "ipto") is None
    assert api_key_prefix(more + KEY, "ipto") is None


@pytest.mark.parametrize("more", ["0", "0" * 1000, "_", "\n", " ", "\u0660"])
def test_a_right_checksum_does_not_make_up_for_a_wrong_form(more):
    """TK-01: it can be computed by anybody, for a text of any length."""
    assert not well_formed(mint(tokens.SESSION + more), tokens.SESSION)
    prefix = api_key_prefix(KEY, "ipto")
    for start in (f"ipto_{prefix}_{more}", f"ipto_{more}{prefix}_", f"ipto{more}_{prefix}_"):
        assert api_key_prefix(mint(start), "ipto") is None


@given(st.text())
def test_any_text_can_be_asked_about(text):
    """TK-01: no text makes the check fail, and none is a token."""
    assert not well_formed(text, tokens.PAT)
    assert not well_formed(tokens.PAT + text, tokens.PAT)
    assert api_key_prefix(text, "ipto") is None
    assert api_key_prefix("ipto_" + text, "ipto") is None


@pytest.mark.parametrize("brand", ["ipto", "my_brand", "x"])
def test_an_api_key_tells_the_prefix_it_is_found_by(brand):
    """TK-09: the prefix is in the key, and narrows the lookup only."""
    key, prefix = mint_api_key(brand)
    assert re.fullmatch("[0-9A-Za-z]{12}", prefix)
    assert re.fullmatch(f"{brand}_{prefix}_[0-9A-Za-z]{{49}}", key)
    assert api_key_prefix(key, brand) == prefix
    assert api_key_prefix(key, "other") is None


def test_an_api_key_changed_at_each_position_is_refused():
    """TK-01: the checksum covers the brand and the prefix too."""
    for at, right in enumerate(KEY):
        for other in BASE62.replace(right, "") + "_ \n":
            changed = KEY[:at] + other + KEY[at + 1 :]
            assert changed == KEY or api_key_prefix(changed, "ipto") is None


def test_an_api_key_cut_short_is_refused():
    """TK-01: 1 to all characters less, from either end."""
    for count in range(1, len(KEY) + 1):
        assert api_key_prefix(KEY[:-count], "ipto") is None
        assert api_key_prefix(KEY[count:], "ipto") is None


# At the doors that a request goes through


def _mutations(token):
    """What a token can be mistyped as, cut to, or copied with."""
    for at, right in enumerate(token):
        # Another of the alphabet, the other case, what looks alike, and what is no letter at all.
        for other in {"0", "z", right.swapcase(), "_", ".", " ", "\n", "\xe9"} - {right}:
            yield token[:at] + other + token[at + 1 :]
        yield token[:at] + token[at + 1 :]
        yield token[: at + 1] + token[at:]
        yield token[:at]
        yield token[at + 1 :]
    for at in range(len(token) - 1):
        swapped = token[:at] + token[at + 1] + token[at] + token[at + 2 :]
        if swapped != token:
            yield swapped
    yield from (token.swapcase(), token.upper(), token.lower(), token[::-1], token * 2)
    yield from (f"{token}{more}" for more in ("\n", "\r\n", "\0", "0", ".", "=", ","))
    yield from (f"{more}{token}" for more in ("\n", "\0", "0", "Bearer "))


def _bearer(session, token):
    _present(session, (b"authorization", f"Bearer {token}".encode("latin-1")))


def _cookie(session, token):
    _present(session, (b"cookie", f"{COOKIE_NAME}={token}".encode("latin-1")))


def _api_key(session, token):
    _present(session, (b"x-api-key", token.encode("latin-1")))


def _present(session, *headers):
    """Use a credential as a request does."""

    def read_jwt(_token):
        raise InvalidToken  # none of them is signed, which is seen without the database as well

    brand = session.limits.api_key_brand
    presented, _ = read_credential(headers, brand=brand, read_jwt=read_jwt)
    authenticate(session, presented)


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet.of([HeldKey("a-key", private_key, START, None)], START)


@pytest.fixture
def doors(env, alice, key_set):
    """What each kind of token is shown to, and how a wrong one is refused there."""
    client, _ = env.client(alice.view.tenant_id)

    def refresh(session, token):
        exchange_refresh_token(session, key_set, client, token=token, scope=None, audience=None)

    def trade(session, token):
        exchange_session(session, key_set, client, subject_token=token, scope=None, audience=None)

    def prove(session, token):
        authenticate_client(session, ClientCredentials(client.id, token))

    def introspect(session, token):
        if introspect_token(session, key_set, client, token) is None:
            raise InvalidToken

    def change_address(session, token):
        identity_id = alice.view.identity_id
        validate_email_change(session, identity_id=identity_id, secret=token)

    def reset(session, token):
        reset_password(session, secret=token, new="Silent meadow 83 lantern")

    return {
        "session": (tokens.SESSION, _bearer, InvalidToken),
        "session in a cookie": (tokens.SESSION, _cookie, InvalidToken),
        "session that is traded": (tokens.SESSION, trade, InvalidRequest),
        "access token": (tokens.ACCESS_TOKEN, _bearer, InvalidToken),
        "PAT": (tokens.PAT, _bearer, InvalidToken),
        "PAT that is introspected": (tokens.PAT, introspect, InvalidToken),
        "API key": ("ipto_0123456789ab_", _api_key, InvalidToken),
        "refresh token": (tokens.REFRESH_TOKEN, refresh, InvalidGrant),
        "refresh token that is introspected": (tokens.REFRESH_TOKEN, introspect, InvalidToken),
        "client secret": (tokens.CLIENT_SECRET, prove, InvalidClient),
        "secret of an e-mail change": (tokens.ONE_TIME_SECRET, change_address, SecretInvalid),
        "secret of a verification": (tokens.ONE_TIME_SECRET, confirm_email, SecretInvalid),
        "secret of a reset": (tokens.ONE_TIME_SECRET, reset, SecretInvalid),
    }


@contextmanager
def _listening(connection):
    """Collects the statements that the database is asked."""
    asked = []

    def ask(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    event.listen(connection, "before_cursor_execute", ask)
    try:
        yield asked
    finally:
        event.remove(connection, "before_cursor_execute", ask)


@pytest.mark.parametrize(
    "door",
    [
        "session",
        "session in a cookie",
        "session that is traded",
        "access token",
        "PAT",
        "PAT that is introspected",
        "API key",
        "refresh token",
        "refresh token that is introspected",
        "client secret",
        "secret of an e-mail change",
        "secret of a verification",
        "secret of a reset",
    ],
)
def test_a_mistyped_token_is_refused_without_a_query(env, doors, door):
    """TK-01: at every position, cut short, or with a line break after it (CVE-2026-27840)."""
    prefix, use, refusal = doors[door]
    token = mint(prefix)
    with env.database.transaction(writing=True) as session, _listening(session.core) as asked:
        for wrong in set(_mutations(token)) - {token}:
            # Around what a header or a cookie carries, spaces are no part of it.
            if wrong.strip(" ") == token:
                continue
            with pytest.raises(refusal):
                use(session, wrong)
            assert asked == [], f"{wrong!r} was looked up"
        # The database is asked for one of the right form, or all of this would show nothing.
        with pytest.raises(refusal):
            use(session, token)
        assert asked != []


@given(st.text(st.sampled_from(BASE62), min_size=49, max_size=49))
def test_a_guess_is_refused_by_its_checksum(tail):
    """TK-01: of 2 ** 35 texts of the right form one has it."""
    assume(crc32((tokens.PAT + tail[:-6]).encode()) != _value(tail[-6:]))
    assert not well_formed(tokens.PAT + tail, tokens.PAT)


def _value(text):
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in text:
        value = value * 62 + alphabet.index(character)
    return value
