import time
from itertools import count, product

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.crypto.keyring import Keyring
from accounts.crypto.password_hashing import hash_password, import_hash, needs_rehash, verify
from accounts.limits import Limits

KEYS = Keyring(b"r" * 32)
OTHER_KEYS = Keyring(b"R" * 32)
COST = 4
LIMITS = Limits(password_cost=COST)
STRICTER = Limits(password_cost=COST + 1)
ARGON2ID = Limits(password_cost=COST, password_scheme="argon2id")
PASSWORD = "s3cur3P@ssw0rd!"
RECORD = hash_password(PASSWORD, KEYS, LIMITS)
ARGON2ID_RECORD = hash_password(PASSWORD, KEYS, ARGON2ID)


def test_record_has_scheme_pepper_and_cost():
    """PW-14: and the salt, but not the password."""
    scheme, key_id, rest = RECORD.split("$", 2)
    assert scheme == "1"
    assert key_id == KEYS.key_id
    assert rest.startswith("$2b$04$")
    assert PASSWORD not in RECORD


def test_equal_passwords_have_different_records():
    """PW-14: every record has its own salt."""
    assert hash_password(PASSWORD, KEYS, LIMITS) != RECORD


def test_only_the_right_password_is_accepted():
    """PW-07: case and white space are significant."""
    assert verify(PASSWORD, RECORD, KEYS, LIMITS)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", " " + PASSWORD, PASSWORD[:-1]):
        assert not verify(wrong, RECORD, KEYS, LIMITS)


def test_every_character_of_a_long_password_counts():
    """PW-02, PW-03: beyond 72 bytes as well, and for emoji."""
    for password in ("a" * 200, "\U0001f40c" * 64):
        record = hash_password(password, KEYS, LIMITS)
        assert verify(password, record, KEYS, LIMITS)
        assert not verify(password[:-1], record, KEYS, LIMITS)
        assert not verify(password + password[0], record, KEYS, LIMITS)
        assert not verify(password[:-1] + "b", record, KEYS, LIMITS)
        assert not verify(password[:72], record, KEYS, LIMITS) or len(password) < 72


def test_nul_does_not_end_a_password():
    """PW-04: validation rejects it earlier; if it did not, the rest would count."""
    record = hash_password("abc", KEYS, LIMITS)
    assert not verify("abc\0", record, KEYS, LIMITS)
    assert not verify("abc\0abc", record, KEYS, LIMITS)


def test_record_does_not_verify_under_another_pepper():
    """PW-17: a record is worthless without the root secret."""
    assert not verify(PASSWORD, RECORD, OTHER_KEYS, LIMITS)
    renamed = RECORD.replace(KEYS.key_id, OTHER_KEYS.key_id)
    assert not verify(PASSWORD, renamed, OTHER_KEYS, LIMITS)


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
    # The last letter of the salt has unused bits set, which bcrypt itself rejects.
    RECORD[:39] + "A" + RECORD[40:],
    "\ud800",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
]


@pytest.mark.parametrize("record", CORRUPT, ids=count())
def test_corrupt_record_is_a_wrong_password(record):
    """PW-16: nothing stored causes anything but a refusal."""
    assert not verify(PASSWORD, record, KEYS, LIMITS)


@given(st.text(st.sampled_from("$12bxyAZ./0409") | st.characters(), max_size=80))
@settings(deadline=None, max_examples=50)
def test_arbitrary_record_is_a_wrong_password(record):
    """PW-16: for any text."""
    assert not verify(PASSWORD, record, KEYS, LIMITS)


@pytest.mark.parametrize("record", [None, RECORD], ids=["none", "record"])
def test_missing_password_is_a_wrong_password(record):
    """LG-02: a password that `normalise` rejects, with and without a record."""
    assert not verify(None, record, KEYS, LIMITS)


def test_unknown_users_take_the_same_time():
    """LG-02, LG-03: unknown, without password, and corrupt take one bcrypt of today's cost."""
    limits = Limits(password_cost=9)
    record = hash_password(PASSWORD, KEYS, limits)
    bad_salt = record[:39] + "A" + record[40:]
    cases = [("wrong", record), ("wrong", None), ("wrong", "x"), ("wrong", bad_salt), (None, None)]
    cases.append((None, record))
    fastest = dict.fromkeys(cases, 60.0)
    for _, case in product(range(9), cases):
        start = time.process_time()
        verify(*case, KEYS, limits)
        fastest[case] = min(fastest[case], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())


def test_record_is_checked_with_its_own_cost():
    """PW-15: a changed setting locks no user out."""
    assert verify(PASSWORD, RECORD, KEYS, STRICTER)
    assert verify(PASSWORD, hash_password(PASSWORD, KEYS, STRICTER), KEYS, LIMITS)


def test_outdated_record_needs_rehash():
    """PW-15: a lower cost, another pepper or an unknown scheme is replaced, others are not."""
    assert not needs_rehash(RECORD, KEYS, LIMITS)
    assert not needs_rehash(RECORD, KEYS, Limits(password_cost=COST - 1))
    assert needs_rehash(RECORD, KEYS, STRICTER)
    assert needs_rehash(RECORD, OTHER_KEYS, LIMITS)
    assert needs_rehash("2" + RECORD[1:], KEYS, LIMITS)
    assert needs_rehash("", KEYS, LIMITS)


# ── argon2id ─────────────────────────────────────────────────────────────────────────────────────


def test_argon2id_record_has_scheme_pepper_and_cost():
    """PW-14: 19 MiB, two passes and one lane, as OWASP recommends; and its own salt."""
    assert ARGON2ID_RECORD.startswith(f"3${KEYS.key_id}$$argon2id$v=19$m=19456,t=2,p=1$")
    assert len(ARGON2ID_RECORD) <= 200
    assert hash_password(PASSWORD, KEYS, ARGON2ID) != ARGON2ID_RECORD


def test_argon2id_hashes_the_peppered_digest():
    """PW-14, PW-17: an independent check of the hash, which takes the root secret."""
    hashed = ARGON2ID_RECORD.split("$", 2)[2].encode()
    assert argon2.low_level.verify_secret(hashed, KEYS.pepper(PASSWORD.encode()), argon2.Type.ID)
    assert not verify(PASSWORD, ARGON2ID_RECORD, OTHER_KEYS, ARGON2ID)
    renamed = ARGON2ID_RECORD.replace(KEYS.key_id, OTHER_KEYS.key_id)
    assert not verify(PASSWORD, renamed, OTHER_KEYS, ARGON2ID)


@pytest.mark.parametrize("limits", [LIMITS, ARGON2ID], ids=["bcrypt", "argon2id"])
@pytest.mark.parametrize("record", [RECORD, ARGON2ID_RECORD], ids=["bcrypt", "argon2id"])
def test_record_is_checked_with_its_own_scheme(record, limits):
    """PW-15: a changed setting locks no user out."""
    assert verify(PASSWORD, record, KEYS, limits)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1]):
        assert not verify(wrong, record, KEYS, limits)


def test_record_of_another_scheme_needs_rehash():
    """PW-15: in both directions, and an imported hash in either case."""
    assert not needs_rehash(ARGON2ID_RECORD, KEYS, ARGON2ID)
    assert needs_rehash(ARGON2ID_RECORD, OTHER_KEYS, ARGON2ID)
    assert needs_rehash(RECORD, KEYS, ARGON2ID)
    assert needs_rehash(ARGON2ID_RECORD, KEYS, LIMITS)
    assert needs_rehash(import_record(FOREIGN_HASH), KEYS, ARGON2ID)


@pytest.mark.parametrize(
    "record",
    [
        ARGON2ID_RECORD[:-1],
        ARGON2ID_RECORD + "\n",
        ARGON2ID_RECORD[:-1] + "!",
        ARGON2ID_RECORD.replace("m=19456", "m=4194304"),
        ARGON2ID_RECORD.replace("t=2", "t=9999"),
        ARGON2ID_RECORD.replace("argon2id", "argon2d"),
        "1" + ARGON2ID_RECORD[1:],
        # Unused bits are set in the last letters of the salt and of the digest.
        ARGON2ID_RECORD[:64] + "/" + ARGON2ID_RECORD[65:],
        ARGON2ID_RECORD[:-1] + "/",
    ],
    ids=count(),
)
def test_corrupt_argon2id_record_is_a_wrong_password(record):
    """PW-16: and no record asks for more memory or time than ours."""
    assert not verify(PASSWORD, record, KEYS, ARGON2ID)


def test_dummy_hash_has_the_scheme_of_new_records():
    """LG-02, LG-03: unknown users and unreadable records take one argon2id, as known users do."""
    bad_salt = ARGON2ID_RECORD[:64] + "/" + ARGON2ID_RECORD[65:]
    cases = [("wrong", ARGON2ID_RECORD), ("wrong", None), ("wrong", "x"), ("wrong", bad_salt)]
    cases += [(None, None), (None, ARGON2ID_RECORD)]
    fastest = dict.fromkeys(cases, 60.0)
    for _, case in product(range(9), cases):
        start = time.process_time()
        verify(*case, KEYS, ARGON2ID)
        fastest[case] = min(fastest[case], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())


# ── Imported hashes ──────────────────────────────────────────────────────────────────────────────

#: The hash of PASSWORD in another system.
FOREIGN_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()


def import_record(hashed: str) -> str:
    imported = import_hash(hashed, KEYS)
    assert imported is not None
    record, _ = imported
    return record


def test_imported_hash_accepts_the_right_password():
    """PW-14: in a record of scheme 2."""
    record = import_record(FOREIGN_HASH)
    assert verify(PASSWORD, record, KEYS, LIMITS)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1]):
        assert not verify(wrong, record, KEYS, LIMITS)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_imported_hash_may_have_any_bcrypt_prefix(prefix):
    assert verify(PASSWORD, import_record(prefix + FOREIGN_HASH[4:]), KEYS, LIMITS)


def test_imported_hash_has_a_cost_and_needs_rehash():
    """PW-15: the next login replaces it."""
    assert import_hash(FOREIGN_HASH, KEYS) == (import_record(FOREIGN_HASH), COST)
    assert needs_rehash(import_record(FOREIGN_HASH), KEYS, LIMITS)


def test_imported_hash_is_useless_without_the_pepper():
    """PW-17, TK-08: the record has neither bcrypt's digest nor a value to guess it by."""
    record = import_record(FOREIGN_HASH)
    assert FOREIGN_HASH[29:] not in record
    assert not verify(PASSWORD, record, OTHER_KEYS, LIMITS)
    assert not verify(PASSWORD, record.replace(KEYS.key_id, OTHER_KEYS.key_id), OTHER_KEYS, LIMITS)
    assert len(record) <= 200


def test_unused_bits_of_an_imported_hash_are_cleared():
    salt, digest = FOREIGN_HASH[:29], FOREIGN_HASH[29:]
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    variants = [
        salt[:-1] + letters[letters.index(salt[-1]) + 15] + digest,
        salt + digest[:-1] + letters[letters.index(digest[-1]) + 3],
    ]
    for hashed in variants:
        assert hashed != FOREIGN_HASH
        assert verify(PASSWORD, import_record(hashed), KEYS, LIMITS)


def test_long_password_is_cut_for_an_imported_hash():
    """PW-03: until the first login, after which all of it counts."""
    long_password = "A1b" * 40
    record = import_record(
        bcrypt.hashpw(long_password.encode()[:72], bcrypt.gensalt(COST)).decode()
    )
    assert verify(long_password, record, KEYS, LIMITS)
    assert not verify("x" + long_password, record, KEYS, LIMITS)


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        PASSWORD,
        FOREIGN_HASH[:-1],
        FOREIGN_HASH + "x",
        FOREIGN_HASH + "\n",
        "$2x$" + FOREIGN_HASH[4:],
        FOREIGN_HASH.replace("$04$", "$03$"),
        FOREIGN_HASH.replace("$04$", "$31$"),
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
        RECORD,
    ],
    ids=count(),
)
def test_other_hashes_are_not_imported(hashed):
    assert import_hash(hashed, KEYS) is None


def test_corrupt_imported_record_is_a_wrong_password():
    """PW-16."""
    record = import_record(FOREIGN_HASH)
    for corrupt in (record[:-1], record + "\n", record.replace("$04$", "$03$"), "1" + record[1:]):
        assert not verify(PASSWORD, corrupt, KEYS, LIMITS)


def test_imported_hash_takes_the_same_time():
    """LG-03: for wrong passwords, also with a lower cost in the other system."""
    limits = Limits(password_cost=9)
    records = [
        None,
        *(
            import_record(bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(lower)).decode())
            for lower in (7, 9)
        ),
    ]
    fastest = dict.fromkeys(records, 60.0)
    for _, record in product(range(9), records):
        start = time.process_time()
        verify("wrong", record, KEYS, limits)
        fastest[record] = min(fastest[record], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())
