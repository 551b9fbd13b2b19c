import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.crypto.keyring import Keyring, Purpose, SealBroken

KEYS = Keyring(b"r" * 32)
OTHERS = Keyring(b"R" * 32)
ROTATED = Keyring(b"R" * 32, b"r" * 32)
RETIRED = Keyring(b"R" * 32, events=[b"r" * 32])


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
    sealed = [KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1") for _ in range(100_000)]
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


def test_what_a_former_root_stored_stays_good():
    """TK-07: it opens, matches and verifies, and nothing new is stored under it."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    assert ROTATED.open(Purpose.ACCESS_TOKEN, sealed, "usr_1") == "token"
    assert ROTATED.matches(Purpose.PAT, "token", KEYS.digest(Purpose.PAT, "token"))
    assert ROTATED.digests(Purpose.PAT, "token") == [
        OTHERS.digest(Purpose.PAT, "token"),
        KEYS.digest(Purpose.PAT, "token"),
    ]
    assert ROTATED.pepper(b"password", KEYS.key_id) == KEYS.pepper(b"password")
    assert ROTATED.check_value(KEYS.key_id) == KEYS.check_value()
    assert ROTATED.key_ids == (OTHERS.key_id, KEYS.key_id)
    assert ROTATED.key_id == OTHERS.key_id
    assert ROTATED.digest(Purpose.PAT, "token") == OTHERS.digest(Purpose.PAT, "token")
    assert ROTATED.seal(Purpose.PAT, "token", "usr_1")[1:5].hex() == OTHERS.key_id
    assert ROTATED.pepper(b"password") == OTHERS.pepper(b"password")


def test_a_retired_root_verifies_events_and_opens_nothing():
    """TK-07: a root that has leaked is no door any more once it is retired."""
    sealed = KEYS.seal(Purpose.ACCESS_TOKEN, "token", "usr_1")
    with pytest.raises(SealBroken, match="another root secret"):
        RETIRED.open(Purpose.ACCESS_TOKEN, sealed, "usr_1")
    for purpose in Purpose:
        matches = RETIRED.matches(purpose, "token", KEYS.digest(purpose, "token"))
        assert matches is (purpose is Purpose.EVENT_CHAIN)
    assert RETIRED.key_ids == (OTHERS.key_id,)
    assert RETIRED.event_key_ids == ROTATED.event_key_ids == (OTHERS.key_id, KEYS.key_id)
    with pytest.raises(KeyError):
        RETIRED.pepper(b"password", KEYS.key_id)


@pytest.mark.parametrize(
    ("keys", "known"), [(KEYS, True), (ROTATED, True), (RETIRED, True), (OTHERS, False)]
)
def test_a_root_is_known_by_its_id_and_its_check_value(keys, known):
    """PW-17: present, former and retired ones are; the id alone is no proof."""
    assert keys.knows(KEYS.key_id, KEYS.check_value()) is known
    assert not keys.knows(KEYS.key_id, OTHERS.check_value())
    assert not keys.knows(KEYS.key_id, b"")


def test_two_roots_with_one_key_id_are_refused():
    """TK-06: by its id a row finds its root, so that there is one root for an id."""
    one, other = (3523).to_bytes(32, "big"), (52_232).to_bytes(32, "big")
    assert Keyring(one).key_id == Keyring(other).key_id
    with pytest.raises(ValueError, match="same key id"):
        Keyring(one, other)
    with pytest.raises(ValueError, match="same key id"):
        Keyring(one, events=[other])


def test_a_root_that_is_given_twice_is_one():
    """TK-07: half way through a rotation a variable can name the present one again."""
    twice = Keyring(b"r" * 32, b"r" * 32, events=[b"r" * 32])
    assert twice.key_ids == (KEYS.key_id,)
    assert twice.digests(Purpose.EVENT_CHAIN, "link") == [KEYS.digest(Purpose.EVENT_CHAIN, "link")]


def test_neither_name_nor_description_of_a_keyring_shows_a_key():
    """TK-08: a keyring in a traceback tells nothing."""
    assert "rrrr" not in repr(ROTATED)
    assert not hasattr(ROTATED, "__dict__")
