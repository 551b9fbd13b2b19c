"""Imported hashes of the registry, against vectors that other implementations have made."""

import base64
import hashlib
import time
from itertools import count, product

import argon2
import pytest

from accounts.crypto import password_schemes
from accounts.crypto.keyring import Keyring
from accounts.crypto.password_hashing import import_hash, needs_rehash, verify
from accounts.limits import Limits

KEYS = Keyring(b"r" * 32)
OTHER_KEYS = Keyring(b"R" * 32)
LIMITS = Limits(password_cost=4)
PASSWORD = "s3cur3P@ssw0rd!"
SALT = b"a salt of 16 by."


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def pbkdf2(name: str, *, iterations: int = 1000, length: int | None = None) -> str:
    return b64(hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT, iterations, length))


def scrypt(n: int = 16, r: int = 8, p: int = 1) -> str:
    return b64(hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=n, r=r, p=p))


def argon2_hash(kind: argon2.Type, *, memory_cost: int = 8, time_cost: int = 1) -> str:
    return argon2.low_level.hash_secret(
        PASSWORD.encode(),
        SALT,
        time_cost=time_cost,
        memory_cost=memory_cost,
        parallelism=1,
        hash_len=32,
        type=kind,
    ).decode()


def ssha(label: str, name: str) -> str:
    return f"{{{label}}}{b64(hashlib.new(name, PASSWORD.encode() + SALT).digest() + SALT)}"


#: The example of github.com/firebase/scrypt, whose password is user1password.
FIREBASE = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,"
    "sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    "$42xEC+ixf3L2lw=="
    "$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)

HASHES = {
    "django-sha1": f"pbkdf2_sha1$1000${SALT.decode()}${pbkdf2('sha1')}",
    "django-sha256": f"pbkdf2_sha256$1000${SALT.decode()}${pbkdf2('sha256')}",
    "django-scrypt": f"scrypt$16${SALT.decode()}$8$1${scrypt()}",
    "django-argon2": "argon2" + argon2_hash(argon2.Type.ID),
    "phc-sha512": f"$pbkdf2-sha512$i=1000,l=64${b64(SALT).rstrip('=')}${pbkdf2('sha512')}",
    "keycloak": f"$pbkdf2-sha256$i=1000,l=64${b64(SALT)}${pbkdf2('sha256', length=64)}",
    "passlib-sha1": f"$pbkdf2$1000${b64(SALT).rstrip('=')}${pbkdf2('sha1').replace('+', '.')}",
    "openldap": f"{{PBKDF2-SHA256}}1000${b64(SALT)}${pbkdf2('sha256')}",
    "phc-scrypt": f"$scrypt$ln=4,r=8,p=1${b64(SALT)}${scrypt()}",
    "argon2i": argon2_hash(argon2.Type.I),
    "argon2id": argon2_hash(argon2.Type.ID),
    "openldap-argon2": "{ARGON2}" + argon2_hash(argon2.Type.ID),
    "ssha": ssha("SSHA", "sha1"),
    "ssha256": ssha("SSHA256", "sha256"),
    "ssha384": ssha("ssha384", "sha384"),
    "ssha512": ssha("SSHA512", "sha512"),
}


def import_record(hashed: str) -> str:
    imported = import_hash(hashed, KEYS)
    assert imported is not None
    return imported[0]


@pytest.mark.parametrize("hashed", HASHES.values(), ids=HASHES)
def test_imported_hash_accepts_only_its_password_and_needs_rehash(hashed):
    """PW-14, PW-15, PW-17: in a record of scheme 4, without the digest of the other system."""
    record = import_record(hashed)
    assert record.startswith(f"4${KEYS.key_id}$")
    assert len(record) <= 200
    assert verify(PASSWORD, record, KEYS, LIMITS)
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1]):
        assert not verify(wrong, record, KEYS, LIMITS)
    assert needs_rehash(record, KEYS, LIMITS)
    assert not verify(PASSWORD, record, OTHER_KEYS, LIMITS)
    assert not verify(PASSWORD, record.replace(KEYS.key_id, OTHER_KEYS.key_id), OTHER_KEYS, LIMITS)


@pytest.mark.parametrize(
    ("hashed", "password"),
    [
        # RFC 6070 (test vector 2), and the vectors of RFC 7914 sections 11 and 12.
        ("$pbkdf2$2$c2FsdA$6mwBTcctb4zNHtkqzh1B8NjeiVc", "password"),
        (
            (
                "$pbkdf2-sha256$1$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8X"
                "m2RZkWZLOdd+8xfHG4RbHjC9UJESBB06GXgw"
            ),
            "passwd",
        ),
        (
            (
                "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKj"
                "iG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA"
            ),
            "password",
        ),
        (FIREBASE, "user1password"),
    ],
    ids=["RFC 6070", "RFC 7914 PBKDF2", "RFC 7914 scrypt", "Firebase"],
)
def test_published_vector_is_accepted(hashed, password):
    """PW-14."""
    assert verify(password, import_record(hashed), KEYS, LIMITS)


def test_firebase_record_holds_no_signer_key():
    """TK-08: the signer key belongs to the other project."""
    record = import_record(FIREBASE)
    assert FIREBASE.partition("sk=")[2][:20] not in record
    assert not verify("user1passworD", record, KEYS, LIMITS)


@pytest.mark.parametrize(
    "hashed",
    [
        HASHES["django-sha256"].replace("$1000$", "$99999999$"),
        HASHES["django-sha256"].replace("$1000$", "$0$"),
        HASHES["django-scrypt"].replace("$16$", "$15$"),
        HASHES["django-scrypt"].replace("$16$", "$0$"),
        HASHES["phc-scrypt"].replace("ln=4", "ln=18"),
        HASHES["phc-scrypt"].replace("ln=4", "ln=99"),
        HASHES["argon2id"].replace("m=8", "m=131073"),
        HASHES["argon2id"].replace("t=1", "t=65"),
        HASHES["argon2id"].replace("argon2id", "argon2d"),
        HASHES["argon2id"].replace(b64(SALT).rstrip("="), "c2FsdA"),
        HASHES["keycloak"].replace(b64(SALT), b64(SALT * 4)),
        HASHES["ssha"].replace("{SSHA}", "{SHA}"),
        HASHES["ssha256"][:30],
        HASHES["ssha512"] + "é",
        "{SSHA}" + b64(hashlib.sha1(PASSWORD.encode()).digest()),  # noqa: S324 # as stored
        FIREBASE[:-8],
        "$pbkdf2-sha256$1$c2FsdA$c2hvcnQ",
        "$pbkdf2-md5$1$c2FsdA$c2hvcnQ",
        "pbkdf2_sha256$1000$salt$" + "A" * 1000,
        "!unusable",
    ],
    ids=count(),
)
def test_unknown_malformed_and_excessive_hashes_are_not_imported(hashed):
    """PW-14: one hash cannot take a worker's memory or minutes of its time."""
    assert import_hash(hashed, KEYS) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pbkdf2-sha256$", "pbkdf2-md5$"),
        ("$1000,", "$99999999,"),
        ("$1000,32", "$1000"),
        ("$1000,32", "$1000,32,1"),
        ("$1000,32", "$,"),
        ("==$", "=$"),
    ],
)
def test_corrupt_record_is_a_wrong_password(old, new):
    """PW-16: and cannot ask for more work than an import allows."""
    record = import_record(HASHES["django-sha256"])
    corrupt = record.replace(old, new)
    assert corrupt != record
    assert not verify(PASSWORD, corrupt, KEYS, LIMITS)


@pytest.mark.parametrize(
    ("hashed", "cost"),
    [
        (HASHES["ssha"], 0),
        (HASHES["keycloak"].replace("i=1000", "i=27500"), 9),
        (HASHES["django-sha256"].replace("$1000$", "$600000$"), 13),
        (HASHES["phc-scrypt"].replace("ln=4", "ln=14"), 10),
        (HASHES["argon2id"].replace("m=8,t=1", "m=65536,t=3"), 12),
    ],
)
def test_cost_is_that_of_an_equally_slow_bcrypt(hashed, cost):
    """LG-03: by which an import is compared with the deployment."""
    imported = import_hash(hashed, KEYS)
    assert imported is not None
    assert imported[1] == cost


def test_argon2_with_less_memory_than_its_lanes_need_is_a_wrong_password():
    """PW-16: the library rejects it before it hashes anything."""
    record = import_record(HASHES["argon2id"].replace("p=1", "p=16"))
    assert not verify(PASSWORD, record, KEYS, LIMITS)


def test_registry_names_are_those_of_stored_records():
    """PW-15: a renamed scheme would lock users out."""
    assert set(password_schemes.SCHEMES) == {
        *("pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512", "scrypt", "argon2i", "argon2id"),
        *("firebase-scrypt", "ssha", "ssha256", "ssha384", "ssha512"),
    }


def test_wrong_password_takes_as_long_as_for_an_unknown_user():
    """LG-03: whatever the hash of the other system takes."""
    limits = Limits(password_cost=8)
    salt = SALT.decode()
    records = [
        None,
        import_record(HASHES["ssha"]),
        import_record(f"pbkdf2_sha256$15000${salt}${pbkdf2('sha256', iterations=15000)}"),
        import_record(f"$scrypt$ln=11,r=8,p=1${b64(SALT)}${scrypt(n=2048)}"),
    ]
    fastest = dict.fromkeys(records, 60.0)
    for _, record in product(range(7), records):
        start = time.process_time()
        verify("wrong", record, KEYS, limits)
        fastest[record] = min(fastest[record], time.process_time() - start)
    assert max(fastest.values()) < 1.5 * min(fastest.values())
