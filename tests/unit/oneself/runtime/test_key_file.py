"""The root secrets: from the environment or a key file, and checked against the database."""

import base64
import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.crypto.keyring import Keyring, Purpose
from accounts.limits import Limits
from oneself.database import Database
from oneself.runtime import key_file
from oneself.runtime.key_file import (
    BadSecretKey,
    UnknownRootKey,
    add_root,
    added_root,
    check_root_key,
    drop_root,
    open_keyring,
    use_root,
)
from oneself.settings import Settings

ROOT = bytes(range(32))
FORMER = [bytes([number] * 32) for number in (1, 2, 3)]


def _encode(root):
    return base64.urlsafe_b64encode(root).decode()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def keyring_of(folder, monkeypatch):
    """Opens the keyring of a service with these secrets in its environment, or none."""
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)
    monkeypatch.delenv("ONESELF_SECRET_KEY_FORMER", raising=False)

    def keyring_of(secret=None, former=None):
        if secret is not None:
            monkeypatch.setenv("ONESELF_SECRET_KEY", secret)
        if former is not None:
            monkeypatch.setenv("ONESELF_SECRET_KEY_FORMER", former)
        return open_keyring(Settings(data_dir=folder))

    return keyring_of


def test_key_file_is_not_created_for_postgresql(keyring_of, folder, monkeypatch):
    """OP-04: each replica would create another one; an existing file is used."""
    monkeypatch.setenv("ONESELF_DATABASE_URL", "postgresql+psycopg://db.example.com/accounts")
    with pytest.raises(BadSecretKey, match=r"ONESELF_SECRET_KEY is not set.* put back the one"):
        keyring_of()
    assert not folder.exists()
    folder.mkdir()
    path = folder / "secret.key"
    path.write_text(_encode(ROOT))
    path.chmod(0o600)
    assert _same(keyring_of(), Keyring(ROOT))


def _same(one, other):
    return one.digest(Purpose.SESSION, "a") == other.digest(Purpose.SESSION, "a")


@pytest.mark.parametrize(
    "secret",
    [base64.urlsafe_b64encode(ROOT).decode(), base64.urlsafe_b64encode(ROOT).decode().rstrip("=")],
)
def test_secret_is_read_from_the_environment(keyring_of, folder, secret):
    """With or without padding; no file is created."""
    assert _same(keyring_of(secret), Keyring(ROOT))
    assert not folder.exists()


def test_former_secrets_are_separated_by_commas(keyring_of, folder):
    """With spaces, an empty entry and a retired secret among them (TK-07)."""
    one, two, three = map(_encode, FORMER)
    keys = keyring_of(_encode(ROOT), f"{one}, {two},,events:{three}\n")
    expected = Keyring(ROOT, *FORMER[:2], events=FORMER[2:])
    assert keys.key_ids == expected.key_ids
    for purpose in Purpose:
        assert keys.digests(purpose, "a") == expected.digests(purpose, "a")
    assert not folder.exists()


@pytest.mark.parametrize(
    "former", ["canary", f"{_encode(FORMER[0])},canary", "events:canary", "other:" + "k" * 43]
)
def test_malformed_former_secret_is_rejected_and_not_quoted(keyring_of, former):
    """At the start: rows stored under it would be unreadable (OP-04)."""
    with pytest.raises(BadSecretKey, match="ONESELF_SECRET_KEY_FORMER") as refused:
        keyring_of(_encode(ROOT), former)
    assert former not in str(refused.value)


def test_former_secrets_without_a_current_one_are_rejected(keyring_of, folder):
    """A forgotten variable would otherwise begin a rotation (OP-04)."""
    with pytest.raises(BadSecretKey, match="ONESELF_SECRET_KEY is not"):
        keyring_of(None, _encode(FORMER[0]))
    assert not folder.exists()


def test_two_secrets_with_the_same_key_id_are_rejected(keyring_of):
    """By the keyring's message (TK-06)."""
    one, other = (number.to_bytes(32, "big") for number in (3523, 52_232))
    with pytest.raises(BadSecretKey, match="same key id"):
        keyring_of(_encode(one), _encode(other))


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
def test_malformed_secret_is_rejected_and_not_quoted(keyring_of, secret):
    """The message says where it came from, and how to make one (OP-04, LO-01)."""
    with pytest.raises(BadSecretKey) as refused:
        keyring_of(secret)
    assert "ONESELF_SECRET_KEY" in str(refused.value)
    assert secret not in str(refused.value)


def test_secret_with_characters_outside_base64url_is_rejected(keyring_of):
    """A lenient decoder would drop them, and return another key (OP-04)."""
    with pytest.raises(BadSecretKey):
        keyring_of(base64.urlsafe_b64encode(ROOT).decode().rstrip("=") + "!!!!")


def test_empty_secret_counts_as_unset(keyring_of, folder):
    keyring_of("")
    assert (folder / "secret.key").exists()


def test_key_file_is_created_once(keyring_of, folder):
    """The next start reads the same keys."""
    first = keyring_of()
    assert _same(first, keyring_of())
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_key_file_is_readable_by_its_owner_only(keyring_of, folder):
    """With any umask (OP-04)."""
    umask = os.umask(0)
    try:
        keyring_of()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_each_key_file_has_its_own_secret(keyring_of, folder):
    """There is no built-in secret (OP-04)."""
    first = keyring_of()
    (folder / "secret.key").unlink()
    assert not _same(first, keyring_of())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_key_file_accessible_to_other_users_is_rejected(keyring_of, folder, mode):
    """The message has the command that helps (OP-04)."""
    keyring_of()
    (folder / "secret.key").chmod(mode)
    with pytest.raises(BadSecretKey, match="chmod 600"):
        keyring_of()


@pytest.mark.parametrize("content", ["", "canary\n", "not base64 at all, but long enough for one"])
def test_malformed_key_file_is_rejected(keyring_of, folder, content):
    """Its name is in the message, its content is not (OP-04)."""
    keyring_of()
    (folder / "secret.key").write_text(content)
    with pytest.raises(BadSecretKey, match=r"secret\.key") as refused:
        keyring_of()
    assert "canary" not in str(refused.value)


def test_key_file_survives_a_power_cut(keyring_of, folder, disk):
    """DB-04: rows stored under a lost root would be lost."""
    keyring_of()
    assert disk.keeps(folder / "secret.key")


def test_concurrent_starts_create_one_key(keyring_of, folder, monkeypatch):
    """The second start uses it, and leaves no other file behind."""
    original, concurrent = secrets.token_urlsafe, []

    def token_urlsafe(length):
        monkeypatch.setattr(secrets, "token_urlsafe", original)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        concurrent.append(keyring_of())
        return original(length)

    monkeypatch.setattr(secrets, "token_urlsafe", token_urlsafe)
    assert _same(keyring_of(), concurrent[0])
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_leftover_of_a_crash_is_replaced(keyring_of, folder):
    """In a container every start has the same process id."""
    folder.mkdir()
    (folder / f"secret.{os.getpid()}").write_text("half")
    keyring_of()
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


@pytest.fixture
def lost(folder, storage, keyring_of):
    """A database with a recorded root, whose key file is lost; returns its former keys."""
    folder.mkdir(mode=0o700)
    keys = keyring_of()
    location = storage.make(folder)
    database = Database(location, keys=keys, limits=Limits())
    check_root_key(database)
    database.close()
    (folder / "secret.key").unlink()
    return keys


@pytest.mark.only_on("sqlite")
def test_lost_key_file_is_not_replaced(lost, keyring_of, folder):
    """OP-04, reliability finding 9: a new one opens nothing, and would hide the loss."""
    with pytest.raises(BadSecretKey, match="Put back the one") as refused:
        keyring_of()
    assert lost.key_id in str(refused.value)
    assert not (folder / "secret.key").exists()


@pytest.mark.only_on("sqlite")
def test_key_file_of_a_concurrent_first_start_is_used(lost, keyring_of, folder, monkeypatch):
    """OP-04: it was created, and stored something, after this start has looked for it."""

    def stored_roots(_location):
        (folder / "secret.key").write_text(_encode(ROOT))
        (folder / "secret.key").chmod(0o600)
        return [lost.key_id]

    monkeypatch.setattr(key_file, "stored_roots", stored_roots)
    assert _same(keyring_of(), Keyring(ROOT))


@pytest.mark.only_on("sqlite")
def test_unused_database_gets_a_key_file(folder, storage, keyring_of):
    """OP-04: as after `db upgrade`, or with an empty file."""
    folder.mkdir(mode=0o700)
    location = storage.make(folder)
    keys = keyring_of()
    (folder / "secret.key").unlink()
    location.write_bytes(b"")
    assert not _same(keyring_of(), keys)


def test_new_database_records_its_root(env):
    """As a value derived from it, which does not reveal it (PW-17)."""
    check_root_key(env.database)
    check_root_key(env.database)
    (row,) = env.rows("root_key")
    assert (row["key_id"], row["check_value"]) == (env.keys.key_id, env.keys.check_value())
    assert row["check_value"] != b"x" * 32


def test_other_root_is_rejected(env, location):
    """Nothing is written, and the message names the setting (PW-17)."""
    check_root_key(env.database)
    other = Database(location, keys=Keyring(b"y" * 32), limits=env.limits)
    with pytest.raises(UnknownRootKey, match="ONESELF_SECRET_KEY"):
        check_root_key(other)
    other.close()
    assert env.count("root_key") == 1


def test_same_key_id_with_another_check_value_is_rejected(env):
    """A key id alone does not identify a root (PW-17)."""
    check_root_key(env.database)
    env.execute("UPDATE root_key SET check_value = x'00'")
    with pytest.raises(UnknownRootKey):
        check_root_key(env.database)


@pytest.fixture
def settings(keyring_of, folder):
    """The settings of a service with a key file."""
    keyring_of()
    return Settings(data_dir=folder)


def _lines_of(folder):
    return (folder / "secret.key").read_text().splitlines()


def test_root_is_added_used_and_dropped(settings, folder):
    """Unused at first, then current; the former one is dropped at the end (TK-07)."""
    old = open_keyring(settings).key_id
    assert added_root(settings) is None
    new = add_root(settings)
    assert added_root(settings) == new
    assert open_keyring(settings).key_ids == (old, new)
    use_root(settings, new)
    assert added_root(settings) is None
    assert open_keyring(settings).key_ids == (new, old)
    drop_root(settings, old, keep_for_events=False)
    assert open_keyring(settings).key_ids == (new,)
    assert len(_lines_of(folder)) == 1


def test_root_kept_for_events_decrypts_nothing(settings, folder):
    """It still counts as known (TK-07)."""
    old = open_keyring(settings)
    use_root(settings, add_root(settings))
    drop_root(settings, old.key_id, keep_for_events=True)
    keys = open_keyring(settings)
    assert old.key_id not in keys.key_ids
    assert keys.knows(old.key_id, old.check_value())
    assert [line.startswith("events:") for line in _lines_of(folder)] == [False, True]


def test_current_root_is_never_dropped(settings):
    """Every row would be lost with it (TK-07)."""
    old = open_keyring(settings).key_id
    new = add_root(settings)
    drop_root(settings, old, keep_for_events=False)
    assert open_keyring(settings).key_ids == (old, new)


def test_unknown_root_does_not_become_current(settings):
    """The file is unchanged."""
    old = open_keyring(settings).key_id
    use_root(settings, "00000000")
    assert open_keyring(settings).key_ids == (old,)


def test_changed_key_file_stays_private(settings, folder):
    """No other file is left in the folder (OP-04)."""
    umask = os.umask(0)
    try:
        add_root(settings)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["secret.key"]


def test_changed_key_file_survives_a_power_cut(settings, folder, disk):
    """DB-04: a new root is used as soon as it is known."""
    add_root(settings)
    assert disk.keeps(folder / "secret.key")


def test_changed_key_file_keeps_its_owner(settings, folder):
    """An operator may run the command as root, for a service that runs as another user."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(folder / "secret.key", 1234, 5678)
    add_root(settings)
    owner = (folder / "secret.key").stat()
    assert (owner.st_uid, owner.st_gid) == (1234, 5678)


def test_concurrent_changes_are_not_lost(settings):
    """A root that a command has reported is in the file (TK-07)."""
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda _: add_root(settings), range(20)))
    assert set(added) < set(open_keyring(settings).key_ids)


def test_key_file_that_begins_with_a_labelled_root_is_rejected(settings, folder):
    """An unused or a retired root must not become the current one (TK-07)."""
    new = add_root(settings)
    path = folder / "secret.key"
    path.write_text("\n".join(reversed(_lines_of(folder))))
    with pytest.raises(BadSecretKey, match="first line") as refused:
        open_keyring(settings)
    assert new not in str(refused.value)


def test_malformed_line_below_the_first_is_rejected(settings, folder):
    """The message names the file, and does not quote the line (OP-04)."""
    with (folder / "secret.key").open("a") as file:
        file.write("canary\n")
    with pytest.raises(BadSecretKey, match=r"secret\.key") as refused:
        open_keyring(settings)
    assert "canary" not in str(refused.value)


@pytest.fixture
def start(env, location):
    """Starts with these roots, as far as the check of the root."""
    check_root_key(env.database)  # with the root of `env`

    def start(*roots, **named):
        database = Database(location, keys=Keyring(*roots, **named), limits=env.limits)
        try:
            check_root_key(database)
        finally:
            database.close()

    return start


def test_new_root_beside_the_former_one_is_recorded(env, start):
    """This begins a rotation; the next start needs both (TK-07)."""
    start(b"y" * 32, b"x" * 32)
    assert [row["key_id"] for row in env.rows("root_key")] == [
        env.keys.key_id,
        Keyring(b"y" * 32).key_id,
    ]
    start(b"y" * 32, b"x" * 32)
    start(b"x" * 32, b"y" * 32)
    assert env.count("root_key") == 2


def test_unused_root_is_not_recorded(env, start):
    """Replicas that do not know it yet can still start (TK-07)."""
    start(b"x" * 32, b"y" * 32)
    start(b"x" * 32)
    assert env.count("root_key") == 1


@pytest.mark.parametrize(
    "roots", [[b"y" * 32], [b"x" * 32], [b"z" * 32, b"x" * 32], [b"z" * 32, b"y" * 32]]
)
def test_missing_root_is_rejected_and_named(env, start, roots):
    """The current one or the former one: rows are stored under both (PW-17, TK-07)."""
    start(b"y" * 32, b"x" * 32)
    missing = {env.keys.key_id, Keyring(b"y" * 32).key_id} - set(Keyring(*roots).key_ids)
    with pytest.raises(UnknownRootKey, match="ONESELF_SECRET_KEY_FORMER") as refused:
        start(*roots)
    assert all(key_id in str(refused.value) for key_id in missing)
    assert env.count("root_key") == 2


def test_several_wrong_roots_are_rejected(env, start):
    """PW-17."""
    with pytest.raises(UnknownRootKey):
        start(b"y" * 32, b"z" * 32)
    assert env.count("root_key") == 1


def test_root_kept_for_events_counts_as_known(start):
    """It was retired, and its links can still be verified (TK-07)."""
    start(b"y" * 32, events=[b"x" * 32])
