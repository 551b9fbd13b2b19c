import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keyring import Keyring, Purpose, SealBroken

KEYS = Keyring(b"r" * 32)
OTHERS = Keyring(b"R" * 32)


def test_a_short_root_secret_is_refused():
    """PW-17: a start with less than 32 bytes of root secret ends with a sentence that says so."""
    with pytest.raises(ValueError, match=r"has 31 bytes and must have at least 32\."):
        Keyring(b"r" * 31)


def test_the_key_id_names_the_root_secret():
    """TK-06: eight hex digits, the same for the same root, stored with what is sealed."""
    assert KEYS.key_id == Keyring(b"r" * 32).key_id
    assert KEYS.key_id != OTHERS.key_id
    assert len(bytes.fromhex(KEYS.key_id)) == 4


def test_the_check_value_differs_for_another_root():
    """PW-17: a stored check value tells a wrong root secret at the start."""
    assert KEYS.check_value() == Keyring(b"r" * 32).check_value()
    assert KEYS.check_value() != OTHERS.check_value()
    assert len(KEYS.check_value()) == 32


def test_derived_values_never_change():
    """TK-07: what a database holds stays readable by every later version."""
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


def test_each_purpose_has_a_digest_of_its_own():
    """TK-08: a digest of one column is no digest of another."""
    assert len({KEYS.digest(purpose, "token") for purpose in Purpose}) == len(Purpose)
    assert {len(KEYS.digest(purpose, "token")) for purpose in Purpose} == {32}


def test_a_digest_matches_its_own_token_only():
    """TK-09: the whole digest is compared."""
    digest = KEYS.digest(Purpose.SESSION, "token")
    assert KEYS.matches(Purpose.SESSION, "token", digest)
    assert not KEYS.matches(Purpose.SESSION, "Token", digest)
    assert not KEYS.matches(Purpose.PAT, "token", digest)
    assert not OTHERS.matches(Purpose.SESSION, "token", digest)
    assert not KEYS.matches(Purpose.SESSION, "token", digest[:-1])
    assert not KEYS.matches(Purpose.SESSION, "token", b"")
    assert not KEYS.matches(Purpose.SESSION, "token", digest[:-1] + bytes([digest[-1] ^ 1]))


def test_a_text_without_utf_8_has_a_digest_and_matches_nothing_else():
    """TK-02: a lone surrogate where a token belongs is a wrong token and no fault."""
    digest = KEYS.digest(Purpose.SESSION, "\ud800")
    assert not KEYS.matches(Purpose.SESSION, "?", digest)


@given(st.binary(max_size=2000))
def test_a_peppered_password_fits_bcrypt(password):
    """PW-03: 64 ASCII bytes without a NUL, whatever and however long the password is."""
    peppered = KEYS.pepper(password)
    assert len(peppered) == 64
    assert b"\x00" not in peppered
    assert len(base64.b64decode(peppered, validate=True)) == 48


def test_the_pepper_is_of_the_root():
    """PW-17: another root makes another password record."""
    assert KEYS.pepper(b"password") != OTHERS.pepper(b"password")
    assert KEYS.pepper(b"password") != KEYS.pepper(b"Password")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens_in_its_row(plaintext, row):
    """TK-05: any text comes back as it was."""
    assert KEYS.open(Purpose.OUTBOX, KEYS.seal(Purpose.OUTBOX, plaintext, row), row) == plaintext


def test_the_same_text_is_sealed_differently_each_time():
    """TK-06: nonces do not repeat, and the key id is stored."""
    sealed = [KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1") for _ in range(10_000)]
    assert len({one[5:17] for one in sealed}) == len(sealed)
    assert {one[:5] for one in sealed} == {b"\x01" + bytes.fromhex(KEYS.key_id)}


def test_a_seal_moved_to_another_row_purpose_or_root_is_broken():
    """TK-05: a swapped ciphertext is told from a right one."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    with pytest.raises(SealBroken, match="another purpose or row"):
        KEYS.open(Purpose.ACCESS_TOKEN, sealed, "usr_2")
    with pytest.raises(SealBroken, match="another purpose or row"):
        KEYS.open(Purpose.OUTBOX, sealed, "usr_1")
    with pytest.raises(SealBroken, match="another root secret"):
        OTHERS.open(Purpose.ACCESS_TOKEN, sealed, "usr_1")


def test_a_seal_with_any_bit_changed_is_broken():
    """TK-05: version, key id, nonce, ciphertext and tag are all bound."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises(SealBroken):
                KEYS.open(Purpose.ACCESS_TOKEN, bytes(changed), "usr_1")


def test_a_seal_cut_short_is_broken():
    """TK-05: every length less than the whole is refused, the empty value too."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "", "usr_1")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            KEYS.open(Purpose.ACCESS_TOKEN, sealed[:length], "usr_1")


def test_neither_name_nor_description_of_a_keyring_shows_a_key():
    """TK-08: a keyring in a traceback tells nothing."""
    assert "rrrr" not in repr(KEYS)
    assert not hasattr(KEYS, "__dict__")
