import re
import string
from zlib import crc32

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accounts import tokens
from accounts.tokens import api_key_prefix, mint, mint_api_key, well_formed

BASE62 = string.digits + string.ascii_letters
KINDS = [
    tokens.SESSION,
    tokens.ACCESS_TOKEN,
    tokens.PAT,
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
