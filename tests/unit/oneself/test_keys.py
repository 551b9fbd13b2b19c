"""Where the root secret comes from, and whether it is the right one."""

import base64
import os
import secrets
import stat

import pytest

from accounts.keyring import Keyring, Purpose
from oneself.keys import BadSecretKey, UnknownRootKey, check_root_key, open_keyring
from oneself.settings import Settings
from oneself.transactions import Database

ROOT = bytes(range(32))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def keyring_of(folder, monkeypatch):
    """Opens the keyring of a service with this secret in its environment, or with none."""
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)

    def keyring_of(secret=None):
        if secret is not None:
            monkeypatch.setenv("ONESELF_SECRET_KEY", secret)
        return open_keyring(Settings(data_dir=folder))

    return keyring_of


def _same(one, other):
    return one.digest(Purpose.SESSION, "a") == other.digest(Purpose.SESSION, "a")


@pytest.mark.parametrize(
    "secret",
    [
        base64.urlsafe_b64encode(ROOT).decode(),
        base64.urlsafe_b64encode(ROOT).decode().rstrip("="),
    ],
)
def test_the_environment_holds_the_secret(keyring_of, folder, secret):
    """With or without padding, and no file is made then."""
    assert _same(keyring_of(secret), Keyring(ROOT))
    assert not folder.exists()


@pytest.mark.parametrize(
    "secret",
    [
        "canary",
        base64.urlsafe_b64encode(ROOT[:31]).decode(),
        "cänary" * 10,
        "=" * 50,
        "canary" * 10 + "c",
    ],
    ids=["short", "31 bytes", "umlauts", "padding", "length"],
)
def test_a_bad_secret_is_refused_and_not_repeated(keyring_of, secret):
    """What is said tells where it came from and how to make one (OP-04, LO-01)."""
    with pytest.raises(BadSecretKey) as refused:
        keyring_of(secret)
    assert "ONESELF_SECRET_KEY" in str(refused.value)
    assert secret not in str(refused.value)


def test_a_secret_with_signs_that_base64url_has_not_is_refused(keyring_of):
    """A key that was pasted with something else in it is another key (OP-04)."""
    with pytest.raises(BadSecretKey):
        keyring_of(base64.urlsafe_b64encode(ROOT).decode().rstrip("=") + "!!!!")


def test_an_empty_secret_is_no_secret(keyring_of, folder):
    """As the setting says: empty for a key file."""
    keyring_of("")
    assert (folder / "secret.key").exists()


def test_a_key_file_is_made_once(keyring_of, folder):
    """The next start reads the same keys."""
    first = keyring_of()
    assert _same(first, keyring_of())
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_a_key_file_is_readable_by_its_owner_only(keyring_of, folder):
    """Whatever the umask says (OP-04)."""
    before = os.umask(0)
    try:
        keyring_of()
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_services_have_two_keys(keyring_of, folder):
    """There is no secret built in (OP-04)."""
    first = keyring_of()
    (folder / "secret.key").unlink()
    assert not _same(first, keyring_of())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_key_file_that_others_can_use_is_refused(keyring_of, folder, mode):
    """What is said tells the command that helps (OP-04)."""
    keyring_of()
    (folder / "secret.key").chmod(mode)
    with pytest.raises(BadSecretKey, match="chmod 600"):
        keyring_of()


@pytest.mark.parametrize("content", ["", "canary\n", "not base64 at all, but long enough for one"])
def test_a_broken_key_file_is_refused(keyring_of, folder, content):
    """It is named, and not repeated (OP-04)."""
    keyring_of()
    (folder / "secret.key").write_text(content)
    with pytest.raises(BadSecretKey, match=r"secret\.key") as refused:
        keyring_of()
    assert "canary" not in str(refused.value)


def test_of_two_starts_at_once_one_makes_the_key(keyring_of, folder, monkeypatch):
    """The other takes it, and leaves nothing behind."""
    make, others = secrets.token_urlsafe, []

    def token_urlsafe(length):
        monkeypatch.setattr(secrets, "token_urlsafe", make)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        others.append(keyring_of())
        return make(length)

    monkeypatch.setattr(secrets, "token_urlsafe", token_urlsafe)
    assert _same(keyring_of(), others[0])
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_what_a_crash_left_behind_is_not_in_the_way(keyring_of, folder):
    """In a container every start has the same process id."""
    folder.mkdir()
    (folder / f"secret.{os.getpid()}").write_text("half")
    keyring_of()
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_a_new_database_remembers_its_secret(house):
    """By a value that is made of it and tells nothing of it (PW-17)."""
    check_root_key(house.database)
    check_root_key(house.database)
    (row,) = house.rows("root_key")
    assert (row["key_id"], row["check_value"]) == (house.keys.key_id, house.keys.check_value())
    assert row["check_value"] != b"x" * 32


def test_another_secret_is_refused(house, database_file):
    """Nothing is written with it, and what is said tells what to look for (PW-17)."""
    check_root_key(house.database)
    other = Database(database_file, keys=Keyring(b"y" * 32), rules=house.rules)
    with pytest.raises(UnknownRootKey, match="ONESELF_SECRET_KEY"):
        check_root_key(other)
    other.close()
    assert house.count("root_key") == 1


def test_a_check_value_of_another_is_refused(house):
    """The id of a key is no proof of it (PW-17)."""
    check_root_key(house.database)
    house.execute("UPDATE root_key SET check_value = x'00'")
    with pytest.raises(UnknownRootKey):
        check_root_key(house.database)
