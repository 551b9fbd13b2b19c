import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.crypto.keyring import Keyring, Purpose, SealBroken

KEYS = Keyring(b"r" * 32)
OTHER_KEYS = Keyring(b"R" * 32)
ROTATED = Keyring(b"R" * 32, b"r" * 32)
RETIRED = Keyring(b"R" * 32, events=[b"r" * 32])


def test_short_root_secret_is_rejected():
    """PW-17: the message says so."""
    with pytest.raises(ValueError, match=r"has 31 bytes and must have at least 32\."):
        Keyring(b"r" * 31)


def test_key_id_names_the_root_secret():
    """TK-06: eight hex digits, equal for equal roots, stored with sealed values."""
    assert KEYS.key_id == Keyring(b"r" * 32).key_id
    assert KEYS.key_id != OTHER_KEYS.key_id
    assert len(bytes.fromhex(KEYS.key_id)) == 4


def test_check_value_differs_for_another_root():
    """PW-17: a stored check value detects a wrong root secret at the start."""
    assert KEYS.check_value() == Keyring(b"r" * 32).check_value()
    assert KEYS.check_value() != OTHER_KEYS.check_value()
    assert len(KEYS.check_value()) == 32


def test_derived_values_never_change():
    """TK-07: later versions can read all databases."""
    assert KEYS.key_id == "b7abb6ee"
    assert (
        KEYS.check_value().hex()
        == "93f030dcb0b3474afb60ca0285a97a133b25c304415c29de3d46ea5ece0bf81f"
    )
    assert (
        KEYS.pepper(b"password")
        == b"6uxByf51e/lD/bjZ2CwyJy6N+ps1vOcvUMojA7zGLU9AJ8zDXqiiNAppG3cVrxkH"
    )
    assert (
        KEYS.open(
            Purpose.OUTBOX,
            bytes.fromhex(
                "01b7abb6ee4408e674edcd89ace90b923c3730a4767e7180e7fe7b472fe0d39eafefe60b20eb"
            ),
            "msg_1",
        )
        == "hello"
    )


def test_each_purpose_has_its_own_digest():
    """TK-08: a digest of one column is no digest of another."""
    assert len({KEYS.digest(purpose, "token") for purpose in Purpose}) == len(Purpose)
    assert {len(KEYS.digest(purpose, "token")) for purpose in Purpose} == {32}


def test_digest_matches_its_own_token_only():
    """TK-09: the whole digest is compared."""
    digest = KEYS.digest(Purpose.SESSION, "token")
    assert KEYS.matches(Purpose.SESSION, "token", digest)
    assert not KEYS.matches(Purpose.SESSION, "Token", digest)
    assert not KEYS.matches(Purpose.PAT, "token", digest)
    assert not OTHER_KEYS.matches(Purpose.SESSION, "token", digest)
    assert not KEYS.matches(Purpose.SESSION, "token", digest[:-1])
    assert not KEYS.matches(Purpose.SESSION, "token", b"")
    assert not KEYS.matches(Purpose.SESSION, "token", digest[:-1] + bytes([digest[-1] ^ 1]))


def test_text_without_utf_8_can_be_digested():
    """TK-02: a lone surrogate in a token is a wrong token, and no error."""
    digest = KEYS.digest(Purpose.SESSION, "\ud800")
    assert not KEYS.matches(Purpose.SESSION, "?", digest)


@given(st.binary(max_size=2000))
def test_peppered_password_fits_bcrypt(password):
    """PW-03: 64 ASCII bytes without a NUL for any password."""
    peppered = KEYS.pepper(password)
    assert len(peppered) == 64
    assert b"\x00" not in peppered
    assert len(base64.b64decode(peppered, validate=True)) == 48


def test_pepper_depends_on_the_root():
    """PW-17: another root makes another password record."""
    assert KEYS.pepper(b"password") != OTHER_KEYS.pepper(b"password")
    assert KEYS.pepper(b"password") != KEYS.pepper(b"Password")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_sealed_value_opens_in_its_row(plaintext, row):
    """TK-05: any text comes back unchanged."""
    assert KEYS.open(Purpose.OUTBOX, KEYS.seal(Purpose.OUTBOX, plaintext, row), row) == plaintext


def test_text_is_sealed_differently_each_time():
    """TK-06: nonces do not repeat, and the key id is stored."""
    sealed = [KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1") for _ in range(100_000)]
    assert len({value[5:17] for value in sealed}) == len(sealed)
    assert {value[:5] for value in sealed} == {b"\x01" + bytes.fromhex(KEYS.key_id)}


def test_seal_is_bound_to_row_purpose_and_root():
    """TK-05: a swapped ciphertext is detected."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    with pytest.raises(SealBroken, match="another purpose or row"):
        KEYS.open(Purpose.ACCESS_TOKEN, sealed, "usr_2")
    with pytest.raises(SealBroken, match="another purpose or row"):
        KEYS.open(Purpose.OUTBOX, sealed, "usr_1")
    with pytest.raises(SealBroken, match="another root secret"):
        OTHER_KEYS.open(Purpose.ACCESS_TOKEN, sealed, "usr_1")


def test_seal_with_any_bit_changed_is_rejected():
    """TK-05: version, key id, nonce, ciphertext and tag are all bound."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    for position in range(len(sealed)):
        for bit in range(8):
            corrupted = bytearray(sealed)
            corrupted[position] ^= 1 << bit
            with pytest.raises(SealBroken):
                KEYS.open(Purpose.ACCESS_TOKEN, bytes(corrupted), "usr_1")


def test_truncated_seal_is_rejected():
    """TK-05: any shorter length is rejected, including the empty value."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "", "usr_1")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            KEYS.open(Purpose.ACCESS_TOKEN, sealed[:length], "usr_1")


def test_values_of_a_previous_root_stay_valid():
    """TK-07: it opens, matches and verifies, and new values are not stored under it."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    assert ROTATED.open(Purpose.ACCESS_TOKEN, sealed, "usr_1") == "token"
    assert ROTATED.matches(Purpose.PAT, "token", KEYS.digest(Purpose.PAT, "token"))
    assert ROTATED.digests(Purpose.PAT, "token") == [
        OTHER_KEYS.digest(Purpose.PAT, "token"),
        KEYS.digest(Purpose.PAT, "token"),
    ]
    assert ROTATED.pepper(b"password", KEYS.key_id) == KEYS.pepper(b"password")
    assert ROTATED.check_value(KEYS.key_id) == KEYS.check_value()
    assert ROTATED.key_ids == (OTHER_KEYS.key_id, KEYS.key_id)
    assert ROTATED.key_id == OTHER_KEYS.key_id
    assert ROTATED.digest(Purpose.PAT, "token") == OTHER_KEYS.digest(Purpose.PAT, "token")
    assert ROTATED.seal(Purpose.PAT, "token", "usr_1")[1:5].hex() == OTHER_KEYS.key_id
    assert ROTATED.pepper(b"password") == OTHER_KEYS.pepper(b"password")


def test_retired_root_only_verifies_events():
    """TK-07: a leaked root is useless once it is retired."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    with pytest.raises(SealBroken, match="another root secret"):
        RETIRED.open(Purpose.ACCESS_TOKEN, sealed, "usr_1")
    for purpose in Purpose:
        matches = RETIRED.matches(purpose, "token", KEYS.digest(purpose, "token"))
        assert matches is (purpose in {Purpose.EVENT_CHAIN, Purpose.EVENT_FILE})
    assert RETIRED.key_ids == (OTHER_KEYS.key_id,)
    assert RETIRED.event_key_ids == ROTATED.event_key_ids == (OTHER_KEYS.key_id, KEYS.key_id)
    with pytest.raises(KeyError):
        RETIRED.pepper(b"password", KEYS.key_id)


@pytest.mark.parametrize(
    ("keys", "is_known"), [(KEYS, True), (ROTATED, True), (RETIRED, True), (OTHER_KEYS, False)]
)
def test_root_is_known_by_id_and_check_value(keys, is_known):
    """PW-17: current, previous and retired roots are known; the id alone is no proof."""
    assert keys.knows(KEYS.key_id, KEYS.check_value()) is is_known
    assert not keys.knows(KEYS.key_id, OTHER_KEYS.check_value())
    assert not keys.knows(KEYS.key_id, b"")


def test_roots_with_the_same_key_id_are_rejected():
    """TK-06: a row finds its root by the id, which must be unique."""
    first_root, second_root = (3523).to_bytes(32, "big"), (52_232).to_bytes(32, "big")
    assert Keyring(first_root).key_id == Keyring(second_root).key_id
    with pytest.raises(ValueError, match="same key id"):
        Keyring(first_root, second_root)
    with pytest.raises(ValueError, match="same key id"):
        Keyring(first_root, events=[second_root])


def test_repeated_root_counts_once():
    """TK-07: during a rotation a setting may name the current root again."""
    keys = Keyring(b"r" * 32, b"r" * 32, events=[b"r" * 32])
    assert keys.key_ids == (KEYS.key_id,)
    assert keys.digests(Purpose.EVENT_CHAIN, "link") == [KEYS.digest(Purpose.EVENT_CHAIN, "link")]


def test_repr_of_a_keyring_shows_no_key():
    """TK-08: a keyring in a traceback reveals nothing."""
    assert "rrrr" not in repr(ROTATED)
    assert not hasattr(ROTATED, "__dict__")
