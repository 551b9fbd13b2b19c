"""Opaque tokens: their format, and rejection of mistyped ones without the database."""

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
from accounts.crypto.jwts import KeySet, LoadedKey
from accounts.crypto.tokens import api_key_prefix, is_well_formed, mint, mint_api_key
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
def test_token_is_prefix_secret_and_checksum(kind):
    """TK-01: 43 characters of base62 hold 256 bits, six more the CRC-32."""
    token = mint(kind)
    assert re.fullmatch(kind + "[0-9A-Za-z]{49}", token)
    assert is_well_formed(token, kind)
    assert len(token) <= 255


def test_checksum_is_the_crc_32_of_the_rest():
    """TK-01: a scanner for leaked secrets can check a token on its own."""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in TOKEN[-6:]:
        value = value * 62 + alphabet.index(character)
    assert value == crc32(TOKEN[:-6].encode())


def test_token_has_one_kind():
    """TK-01: the prefix is part of the check."""
    for token_kind in KINDS:
        token = mint(token_kind)
        assert [kind for kind in KINDS if is_well_formed(token, kind)] == [token_kind]


def test_tokens_are_unique():
    """TK-01: a thousand tokens have a thousand values."""
    assert len({mint(tokens.PAT) for _ in range(1000)}) == 1000


@given(st.data(), st.sampled_from(BASE62) | st.characters())
def test_token_with_a_random_typo_is_rejected(data, replacement):
    """TK-01: without the database, at any position."""
    position = data.draw(st.integers(0, len(TOKEN) - 1))
    assume(TOKEN[position] != replacement)
    assert not is_well_formed(
        TOKEN[:position] + replacement + TOKEN[position + 1 :], tokens.SESSION
    )


def test_token_with_any_typo_is_rejected():
    """TK-01: no other base62 character makes a valid token."""
    for position, current in enumerate(TOKEN):
        for replacement in BASE62.replace(current, ""):
            assert not is_well_formed(
                TOKEN[:position] + replacement + TOKEN[position + 1 :], tokens.SESSION
            )


def test_truncated_token_is_rejected():
    """TK-01: by any number of characters, at either end (CVE-2026-27840)."""
    for count in range(1, len(TOKEN) + 1):
        assert not is_well_formed(TOKEN[:-count], tokens.SESSION)
        assert not is_well_formed(TOKEN[count:], tokens.SESSION)


@pytest.mark.parametrize("extra", ["\n", "\r\n", " ", "\x00", "0", "A", "\u0660", "\ud800"])
def test_extended_token_is_rejected(extra):
    """TK-01: not even a trailing line break is tolerated."""
    assert not is_well_formed(TOKEN + extra, tokens.SESSION)
    assert not is_well_formed(extra + TOKEN, tokens.SESSION)
    assert api_key_prefix(KEY + extra, "ipto") is None
    assert api_key_prefix(extra + KEY, "ipto") is None


@pytest.mark.parametrize("extra", ["0", "0" * 1000, "_", "\n", " ", "\u0660"])
def test_right_checksum_of_a_wrong_form_is_rejected(extra):
    """TK-01: anyone can compute it, for a text of any length."""
    assert not is_well_formed(mint(tokens.SESSION + extra), tokens.SESSION)
    prefix = api_key_prefix(KEY, "ipto")
    for start in (f"ipto_{prefix}_{extra}", f"ipto_{extra}{prefix}_", f"ipto{extra}_{prefix}_"):
        assert api_key_prefix(mint(start), "ipto") is None


@given(st.text())
def test_arbitrary_text_is_rejected(text):
    """TK-01: no text causes an error, and none is a token."""
    assert not is_well_formed(text, tokens.PAT)
    assert not is_well_formed(tokens.PAT + text, tokens.PAT)
    assert api_key_prefix(text, "ipto") is None
    assert api_key_prefix("ipto_" + text, "ipto") is None


@pytest.mark.parametrize("brand", ["ipto", "my_brand", "x"])
def test_api_key_contains_its_prefix(brand):
    """TK-09: it is part of the key, and only narrows the lookup."""
    key, prefix = mint_api_key(brand)
    assert re.fullmatch("[0-9A-Za-z]{12}", prefix)
    assert re.fullmatch(f"{brand}_{prefix}_[0-9A-Za-z]{{49}}", key)
    assert api_key_prefix(key, brand) == prefix
    assert api_key_prefix(key, "other") is None


def test_api_key_with_any_typo_is_rejected():
    """TK-01: the checksum covers the brand and the prefix too."""
    for position, current in enumerate(KEY):
        for replacement in BASE62.replace(current, "") + "_ \n":
            mistyped = KEY[:position] + replacement + KEY[position + 1 :]
            assert mistyped == KEY or api_key_prefix(mistyped, "ipto") is None


def test_truncated_api_key_is_rejected():
    """TK-01: by any number of characters, at either end."""
    for count in range(1, len(KEY) + 1):
        assert api_key_prefix(KEY[:-count], "ipto") is None
        assert api_key_prefix(KEY[count:], "ipto") is None


# The paths of a request


def _mutations(token):
    """Yield typos, truncations and extensions of a token."""
    for position, current in enumerate(token):
        # A letter of the alphabet, the other case, look-alikes, and characters that are no letters.
        for replacement in {"0", "z", current.swapcase(), "_", ".", " ", "\n", "\xe9"} - {current}:
            yield token[:position] + replacement + token[position + 1 :]
        yield token[:position] + token[position + 1 :]
        yield token[: position + 1] + token[position:]
        yield token[:position]
        yield token[position + 1 :]
    for position in range(len(token) - 1):
        swapped = token[:position] + token[position + 1] + token[position] + token[position + 2 :]
        if swapped != token:
            yield swapped
    yield from (token.swapcase(), token.upper(), token.lower(), token[::-1], token * 2)
    yield from (f"{token}{extra}" for extra in ("\n", "\r\n", "\0", "0", ".", "=", ","))
    yield from (f"{extra}{token}" for extra in ("\n", "\0", "0", "Bearer "))


def _bearer(session, token):
    _authenticate(session, (b"authorization", f"Bearer {token}".encode("latin-1")))


def _cookie(session, token):
    _authenticate(session, (b"cookie", f"{COOKIE_NAME}={token}".encode("latin-1")))


def _api_key(session, token):
    _authenticate(session, (b"x-api-key", token.encode("latin-1")))


def _authenticate(session, *headers):
    """Authenticate as a request does."""

    def read_jwt(_token):
        raise InvalidToken  # none of them is signed, which is checked without the database as well

    brand = session.limits.api_key_brand
    presented, _ = read_credential(headers, brand=brand, read_jwt=read_jwt)
    authenticate(session, presented)


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet((LoadedKey("a-key", private_key, START, None),))


@pytest.fixture
def token_uses(env, alice, key_set):
    """Each use of a kind of token: its prefix, the act, and the refusal of a wrong one."""
    client, _ = env.client(alice.view.tenant_id)

    def refresh(session, token):
        exchange_refresh_token(session, key_set, client, token=token, scope=None, audience=None)

    def exchange(session, token):
        exchange_session(session, key_set, client, subject_token=token, scope=None, audience=None)

    def authenticate_by_secret(session, token):
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
        "exchanged session": (tokens.SESSION, exchange, InvalidRequest),
        "access token": (tokens.ACCESS_TOKEN, _bearer, InvalidToken),
        "PAT": (tokens.PAT, _bearer, InvalidToken),
        "introspected PAT": (tokens.PAT, introspect, InvalidToken),
        "API key": ("ipto_0123456789ab_", _api_key, InvalidToken),
        "refresh token": (tokens.REFRESH_TOKEN, refresh, InvalidGrant),
        "introspected refresh token": (tokens.REFRESH_TOKEN, introspect, InvalidToken),
        "client secret": (tokens.CLIENT_SECRET, authenticate_by_secret, InvalidClient),
        "secret of an email change": (tokens.ONE_TIME_SECRET, change_address, SecretInvalid),
        "secret of a verification": (tokens.ONE_TIME_SECRET, confirm_email, SecretInvalid),
        "secret of a reset": (tokens.ONE_TIME_SECRET, reset, SecretInvalid),
    }


@contextmanager
def _listening(connection):
    """Collect the executed statements."""
    statements = []

    def record(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", record)


@pytest.mark.parametrize(
    "token_use",
    [
        "session",
        "session in a cookie",
        "exchanged session",
        "access token",
        "PAT",
        "introspected PAT",
        "API key",
        "refresh token",
        "introspected refresh token",
        "client secret",
        "secret of an email change",
        "secret of a verification",
        "secret of a reset",
    ],
)
def test_mistyped_token_is_rejected_without_a_query(env, token_uses, token_use):
    """TK-01: at every position, truncated, or with a line break after it (CVE-2026-27840)."""
    prefix, use, refusal = token_uses[token_use]
    token = mint(prefix)
    with env.database.transaction(writing=True) as session, _listening(session.core) as statements:
        for wrong in set(_mutations(token)) - {token}:
            # Spaces around the value of a header or a cookie are not part of it.
            if wrong.strip(" ") == token:
                continue
            with pytest.raises(refusal):
                use(session, wrong)
            assert statements == [], f"{wrong!r} was looked up"
        # A well-formed token does cause a query; otherwise the test would show nothing.
        with pytest.raises(refusal):
            use(session, token)
        assert statements != []


@given(st.text(st.sampled_from(BASE62), min_size=49, max_size=49))
def test_guess_is_rejected_by_its_checksum(tail):
    """TK-01: one in 2 ** 35 texts of the right form has a matching one."""
    assume(crc32((tokens.PAT + tail[:-6]).encode()) != _value(tail[-6:]))
    assert not is_well_formed(tokens.PAT + tail, tokens.PAT)


def _value(text):
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in text:
        value = value * 62 + alphabet.index(character)
    return value
