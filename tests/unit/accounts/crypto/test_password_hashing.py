import time
from itertools import count, product

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.crypto.keyring import Keyring
from accounts.crypto.password_hashing import adopt_hash, hash_password, needs_rehash, verify

KEYS = Keyring(b"r" * 32)
OTHERS = Keyring(b"R" * 32)
COST = 4
PASSWORD = "s3cur3P@ssw0rd!"
RECORD = hash_password(PASSWORD, KEYS, COST)


def test_the_record_says_scheme_pepper_and_cost():
    """PW-14: scheme, pepper id, cost and salt are in the record, the password is not."""
    scheme, key_id, rest = RECORD.split("$", 2)
    assert scheme == "1"
    assert key_id == KEYS.key_id
    assert rest.startswith("$2b$04$")
    assert PASSWORD not in RECORD


def test_equal_passwords_have_different_records():
    """PW-14: every record has a salt of its own."""
    assert hash_password(PASSWORD, KEYS, COST) != RECORD


def test_the_right_password_is_told_from_wrong_ones():
    """PW-07: case and white space are significant."""
    assert verify(PASSWORD, RECORD, KEYS, COST)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", " " + PASSWORD, PASSWORD[:-1]):
        assert not verify(wrong, RECORD, KEYS, COST)


def test_every_character_of_a_long_password_counts():
    """PW-02, PW-03: nothing ends at 72 bytes, and an emoji is a character as any."""
    for password in ("a" * 200, "\U0001f40c" * 64):
        record = hash_password(password, KEYS, COST)
        assert verify(password, record, KEYS, COST)
        assert not verify(password[:-1], record, KEYS, COST)
        assert not verify(password + password[0], record, KEYS, COST)
        assert not verify(password[:-1] + "b", record, KEYS, COST)
        assert not verify(password[:72], record, KEYS, COST) or len(password) < 72


def test_a_nul_ends_nothing():
    """PW-04: even were one to come so far, what follows it counts."""
    record = hash_password("abc", KEYS, COST)
    assert not verify("abc\0", record, KEYS, COST)
    assert not verify("abc\0abc", record, KEYS, COST)


def test_another_pepper_verifies_nothing():
    """PW-17: a record is worth nothing without the root secret."""
    assert not verify(PASSWORD, RECORD, OTHERS, COST)
    renamed = RECORD.replace(KEYS.key_id, OTHERS.key_id)
    assert not verify(PASSWORD, renamed, OTHERS, COST)


CORRUPT = [
    "",
    "x",
    RECORD[:-1],
    RECORD + "\n",
    RECORD[: len(RECORD) // 2],
    RECORD.removeprefix("1$"),
    "2" + RECORD[1:],
    RECORD.replace("$2b$", "$2y$"),
    RECORD.replace("$04$", "$03$"),
    RECORD.replace("$04$", "$31$"),
    RECORD.upper(),
    # The salt ends in a letter that leaves bits over: bcrypt itself raises at it.
    RECORD[:39] + "A" + RECORD[40:],
    "\ud800",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
]


@pytest.mark.parametrize("record", CORRUPT, ids=count())
def test_a_corrupt_record_is_a_wrong_password(record):
    """PW-16: nothing stored makes a login fail otherwise than by refusing."""
    assert not verify(PASSWORD, record, KEYS, COST)


@given(st.text(st.sampled_from("$12bxyAZ./0409") | st.characters(), max_size=80))
@settings(deadline=None, max_examples=50)
def test_any_record_at_all_is_a_wrong_password(record):
    """PW-16: whatever stands there."""
    assert not verify(PASSWORD, record, KEYS, COST)


@pytest.mark.parametrize("record", [None, RECORD], ids=["none", "record"])
def test_no_password_is_a_wrong_password(record):
    """LG-02: what `normalise` gave None for is refused with a record and without."""
    assert not verify(None, record, KEYS, COST)


def test_nobody_costs_the_same_time_as_somebody():
    """LG-02, LG-03: unknown, without password, and corrupt take one bcrypt of the present cost."""
    cost = 9
    record = hash_password(PASSWORD, KEYS, cost)
    bad_salt = record[:39] + "A" + record[40:]
    cases = [("wrong", record), ("wrong", None), ("wrong", "x"), ("wrong", bad_salt), (None, None)]
    cases.append((None, record))
    fastest = dict.fromkeys(cases, 60.0)
    for _, case in product(range(9), cases):
        start = time.process_time()
        verify(*case, KEYS, cost)
        fastest[case] = min(fastest[case], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())


def test_a_record_is_checked_with_its_own_cost():
    """PW-15: a changed setting locks nobody out."""
    assert verify(PASSWORD, RECORD, KEYS, COST + 1)
    assert verify(PASSWORD, hash_password(PASSWORD, KEYS, COST + 1), KEYS, COST)


def test_a_record_of_less_than_today_is_outdated():
    """PW-15: a lower cost, another pepper and an unknown scheme are made anew, others are not."""
    assert not needs_rehash(RECORD, KEYS, COST)
    assert not needs_rehash(RECORD, KEYS, COST - 1)
    assert needs_rehash(RECORD, KEYS, COST + 1)
    assert needs_rehash(RECORD, OTHERS, COST)
    assert needs_rehash("2" + RECORD[1:], KEYS, COST)
    assert needs_rehash("", KEYS, COST)


# ── Hashes from elsewhere ────────────────────────────────────────────────────────────────────────

#: Of PASSWORD, as another system would have made it.
ELSEWHERE = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()


def adopted(hashed: str) -> str:
    found = adopt_hash(hashed, KEYS)
    assert found is not None
    record, _ = found
    return record


def test_a_hash_from_elsewhere_tells_the_right_password():
    """PW-14: a record of scheme 2."""
    record = adopted(ELSEWHERE)
    assert verify(PASSWORD, record, KEYS, COST)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1]):
        assert not verify(wrong, record, KEYS, COST)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_each_name_that_bcrypt_has_is_the_same_to_us(prefix):
    assert verify(PASSWORD, adopted(prefix + ELSEWHERE[4:]), KEYS, COST)


def test_an_adopted_hash_says_its_cost_and_is_outdated_from_the_first():
    """PW-15: the next login makes it a record of ours."""
    assert adopt_hash(ELSEWHERE, KEYS) == (adopted(ELSEWHERE), COST)
    assert needs_rehash(adopted(ELSEWHERE), KEYS, COST)


def test_an_adopted_hash_opens_nothing_without_the_pepper():
    """PW-17, TK-08: neither bcrypt's digest nor what it can be guessed by is in the record."""
    record = adopted(ELSEWHERE)
    assert ELSEWHERE[29:] not in record
    assert not verify(PASSWORD, record, OTHERS, COST)
    assert not verify(PASSWORD, record.replace(KEYS.key_id, OTHERS.key_id), OTHERS, COST)
    assert len(record) <= 200


def test_letters_with_bits_left_over_are_read_as_bcrypt_reads_them():
    salt, digest = ELSEWHERE[:29], ELSEWHERE[29:]
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    untidy = [
        salt[:-1] + letters[letters.index(salt[-1]) + 15] + digest,
        salt + digest[:-1] + letters[letters.index(digest[-1]) + 3],
    ]
    for hashed in untidy:
        assert hashed != ELSEWHERE
        assert verify(PASSWORD, adopted(hashed), KEYS, COST)


def test_a_long_password_counts_as_far_as_it_did_elsewhere():
    """PW-03: until the first login, after which all of it does."""
    long = "A1b" * 40
    record = adopted(bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(COST)).decode())
    assert verify(long, record, KEYS, COST)
    assert not verify("x" + long, record, KEYS, COST)


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        PASSWORD,
        ELSEWHERE[:-1],
        ELSEWHERE + "x",
        ELSEWHERE + "\n",
        "$2x$" + ELSEWHERE[4:],
        ELSEWHERE.replace("$04$", "$03$"),
        ELSEWHERE.replace("$04$", "$31$"),
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
        RECORD,
    ],
    ids=count(),
)
def test_what_is_no_bcrypt_hash_is_not_adopted(hashed):
    assert adopt_hash(hashed, KEYS) is None


def test_a_corrupt_adopted_record_is_a_wrong_password():
    """PW-16."""
    record = adopted(ELSEWHERE)
    for corrupt in (record[:-1], record + "\n", record.replace("$04$", "$03$"), "1" + record[1:]):
        assert not verify(PASSWORD, corrupt, KEYS, COST)


def test_an_adopted_hash_costs_the_same_time_as_nobody():
    """LG-03: wrong passwords, of a cost that was lower elsewhere too."""
    cost = 9
    records = [
        None,
        *(
            adopted(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(lower)).decode())
            for lower in (7, 9)
        ),
    ]
    fastest = dict.fromkeys(records, 60.0)
    for _, record in product(range(9), records):
        start = time.process_time()
        verify("wrong", record, KEYS, cost)
        fastest[record] = min(fastest[record], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())
