"""Backups: their content, and the conditions for a restore."""

import errno
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from models.schema import REVISION
from oneself import commands
from oneself.commands.console.session_setup import open_database
from oneself.commands.storage import sqlite_files
from oneself.database import sqlite_driver
from oneself.settings import Settings
from tests.support.commands import CommandResult

IN_USE = """
import sys
try:
    from pysqlite3 import dbapi2
except ImportError:
    import sqlite3 as dbapi2
held = dbapi2.connect(sys.argv[1])
held.execute("SELECT count(*) FROM tenant").fetchone()
print("open", flush=True)
sys.stdin.read()
"""

_FORMER = re.compile(r"is now at (\S+\.sqlite3\.\w+):")


class Interrupted(BaseException):
    """An interruption, as by Ctrl-C."""


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["oneself", *map(str, words), "--json"])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def data(monkeypatch, migrated_file, tmp_path):
    """Creates the data folder of a deployment with one tenant."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copy(migrated_file, folder / "oneself.sqlite3")
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    monkeypatch.delenv("ONESELF_DATABASE_URL", raising=False)
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)
    with open_database(Settings()):
        pass
    _add(folder, "before")
    return folder


@pytest.fixture
def backup(run, data, tmp_path):
    """Creates a backup of that deployment."""
    assert data.exists()
    target = tmp_path / "backup.sqlite3"
    assert run("db", "backup", target).json["revision"] == REVISION
    return target


@pytest.fixture
def elsewhere(monkeypatch, data, tmp_path):
    """Creates another data folder, which the settings name now, with only the key."""
    folder = tmp_path / "elsewhere"
    folder.mkdir(mode=0o700)
    shutil.copy(data / "secret.key", folder)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    return folder


def _sql(path, statement, *parameters):
    connection = sqlite_driver().connect(path)
    with connection:
        rows = connection.execute(statement, parameters).fetchall()
    connection.close()
    return rows


def _add(folder, name):
    _sql(
        folder / "oneself.sqlite3",
        "INSERT INTO tenant (id, uuid, display_name, created_at) VALUES (?, ?, ?, '2026-04-05')",
        *(f"tnt_{name}", f"uuid {name}", name),
    )


def _tenants(path):
    return [row[0] for row in _sql(path, "SELECT display_name FROM tenant ORDER BY id")]


def test_backup_is_one_private_file(backup, tmp_path):
    """DB-09: no other file is needed to read it."""
    names = sorted(path.name for path in tmp_path.glob("backup*"))
    assert names == ["backup.sqlite3", "backup.sqlite3.sha256"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert _tenants(backup) == ["before"]
    assert _sql(backup, "PRAGMA journal_mode") == [("delete",)]


def test_backup_survives_a_power_cut(run, data, disk, tmp_path):
    """DB-09: the operator may have deleted the former one."""
    assert data.exists()
    run("db", "backup", tmp_path / "backup.sqlite3")
    assert disk.keeps(tmp_path / "backup.sqlite3")
    assert disk.keeps(tmp_path / "backup.sqlite3.sha256")


def test_backup_does_not_contain_the_root_secret(data, backup, tmp_path):
    """DB-09."""
    secret = (data / "secret.key").read_bytes().strip()
    assert secret not in backup.read_bytes()
    assert not list(tmp_path.glob("*.key"))


def test_backup_contains_committed_writes_of_the_wal(run, data, tmp_path):
    """DB-09: and no uncommitted ones."""
    connection = sqlite_driver().connect(data / "oneself.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE tenant SET display_name = 'logged'")
    assert (data / "oneself.sqlite3-wal").stat().st_size
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE tenant SET display_name = 'begun'")
    run("db", "backup", tmp_path / "made")
    connection.execute("ROLLBACK")
    connection.close()
    assert _tenants(tmp_path / "made") == ["logged"]


def test_backup_does_not_replace_a_file(run, data, tmp_path):
    assert data.exists()
    (tmp_path / "there").write_text("the only other one")
    assert run("db", "backup", tmp_path / "there").refused("already exists")
    assert (tmp_path / "there").read_text() == "the only other one"


def test_damaged_database_is_not_backed_up(run, data, tmp_path):
    """DB-09."""
    _damage(data / "oneself.sqlite3")
    assert run("db", "backup", tmp_path / "made").refused("is damaged")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["a?timeout=5", "a%20b", "a?mode=memory&uri=true", "a#b"])
def test_folder_name_may_have_special_characters(run, tmp_path, monkeypatch, name):
    """DB-09: the data are in the one private file that is backed up."""
    folder = tmp_path / name
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    monkeypatch.delenv("ONESELF_DATABASE_URL", raising=False)
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)
    before = os.umask(0)
    try:
        run("db", "upgrade")
        run("tenant", "add", "Example")
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"oneself.sqlite3": 0o600, "secret.key": 0o600}
    target = folder / "b?timeout=5"
    assert run("db", "backup", target).json["revision"] == REVISION
    assert _tenants(target) == ["Example"]


def test_database_without_tables_is_not_backed_up(run, data, tmp_path):
    """DB-09: it is probably the wrong file."""
    (data / "oneself.sqlite3").write_bytes(b"")
    assert run("db", "backup", tmp_path / "made").refused("no tables of oneself")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _damage(path):
    """Overwrite a page of an index that queries on the tables do not read."""
    [(page,)] = _sql(path, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_user_tenant_id'")
    [(size,)] = _sql(path, "PRAGMA page_size")
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\x0a" + bytes(size - 1)
    path.write_bytes(content)


def test_backup_is_restored_into_an_empty_folder(run, backup, elsewhere):
    """DB-09: doctor then only reports that no service has run."""
    found = run("db", "restore", backup).json
    assert (found["former"], found["revision"]) == (None, REVISION)
    assert _tenants(elsewhere / "oneself.sqlite3") == ["before"]
    assert stat.S_IMODE((elsewhere / "oneself.sqlite3").stat().st_mode) == 0o600
    assert sorted(path.name for path in elsewhere.iterdir()) == ["oneself.sqlite3", "secret.key"]
    checks = json.loads(run("doctor").out)["checks"]
    assert [name for name in checks if not checks[name]["ok"]] == ["signing_key"]


def test_restored_database_survives_a_power_cut(run, backup, elsewhere, disk, monkeypatch):
    """DB-09: and so does its new folder."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", (elsewhere / "secret.key").read_text().strip())
    monkeypatch.setenv("ONESELF_DATA_DIR", str(elsewhere / "in" / "there"))
    run("db", "restore", backup)
    assert disk.keeps(elsewhere / "in" / "there" / "oneself.sqlite3")


def test_database_is_replaced_only_on_request_and_kept(run, data, backup):
    """DB-09: with its log, which would otherwise be replayed into the new file."""
    _add(data, "later")
    (data / "oneself.sqlite3-wal").write_bytes(b"a log")
    assert run("db", "restore", backup).refused("There is a database at", "--replace")
    former = run("db", "restore", "--replace", backup).json["former"]
    assert _tenants(data / "oneself.sqlite3") == ["before"]
    with open(f"{former}-wal", "rb") as log:  # noqa: PTH123 # a string, not a Path
        assert log.read() == b"a log"
    os.unlink(f"{former}-wal")  # noqa: PTH108 # as above
    assert _tenants(former) == ["before", "later"]


def test_log_without_its_database_blocks_a_restore(run, backup, elsewhere):
    """DB-09: as after moving the database by hand."""
    (elsewhere / "oneself.sqlite3-wal").write_bytes(b"a log")
    assert run("db", "restore", backup).refused("--replace")
    run("db", "restore", "--replace", backup)
    assert not (elsewhere / "oneself.sqlite3-wal").exists()
    assert _tenants(elsewhere / "oneself.sqlite3") == ["before"]


def test_database_in_use_is_not_replaced(run, data, backup):
    """DB-09: the service would continue on the old file and lose its writes."""
    command = [sys.executable, "-c", IN_USE, str(data / "oneself.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"open\n"
        assert run("db", "restore", "--replace", backup).refused("in use", "Stop every service")
        user.stdin.close()
    assert run("db", "restore", "--replace", backup).status == 0


def _fail(*_arguments):
    raise OSError(errno.EIO, os.strerror(errno.EIO), "somewhere")


@pytest.fixture
def fail_step(monkeypatch):
    """Makes a step of a restore fail, as a disk, or a file system without links, would."""
    fsync, rename = os.fsync, Path.rename

    def fsync_but(fails):
        return lambda file: _fail() if fails(os.fstat(file).st_mode) else fsync(file)

    def rename_but_the_log(path, target):
        return _fail() if path.name.endswith("-wal") else rename(path, target)

    steps = {
        "the copy": (os, "fsync", fsync_but(stat.S_ISREG)),
        "the folder": (os, "fsync", fsync_but(stat.S_ISDIR)),
        "the link": (Path, "hardlink_to", _fail),
        "the log": (Path, "rename", rename_but_the_log),
    }

    return lambda step: monkeypatch.setattr(*steps[step])


@pytest.mark.parametrize("step", ["the copy", "the folder", "the link", "the log"])
def test_failed_restore_leaves_the_database_unchanged(run, data, backup, fail_step, step):
    """DB-09: otherwise the next start would create an empty one."""
    _add(data, "later")
    (data / "oneself.sqlite3-wal").write_bytes(b"a log")
    fail_step(step)
    assert run("db", "restore", "--replace", backup).refused(": Input/output error")
    assert sorted(path.name for path in data.iterdir()) == [
        *("oneself.sqlite3", "oneself.sqlite3-wal", "secret.key")
    ]
    assert (data / "oneself.sqlite3-wal").read_bytes() == b"a log"
    (data / "oneself.sqlite3-wal").unlink()
    assert _tenants(data / "oneself.sqlite3") == ["before", "later"]


@pytest.mark.parametrize("reason", [FileExistsError(errno.EEXIST, "File exists"), Interrupted()])
def test_former_database_is_named_when_it_cannot_be_restored(
    run, data, backup, monkeypatch, reason
):
    """DB-09: a service started meanwhile has created another one and uses it."""

    def start(place, _target):
        place.write_bytes(b"another")
        raise reason

    monkeypatch.setattr(Path, "hardlink_to", start)
    [former] = _FORMER.findall(_refusal_of(run("db", "restore", "--replace", backup)))
    assert _tenants(former) == ["before"]
    assert (data / "oneself.sqlite3").read_bytes() == b"another"


def _refusal_of(ran):
    assert ran.refused("could not be restored (File exists)", "rename it")
    return ran.err


def test_unfinished_copy_is_no_backup(run, data, monkeypatch, tmp_path):
    """DB-09: as on a full disk; the message has the reason."""

    class Full:
        execute = staticmethod(lambda _statement: _say_full())
        close = staticmethod(lambda: None)

    driver = sqlite_driver()

    def _say_full():
        raise driver.OperationalError("database or disk is full")

    connect = driver.connect
    whole = sqlite_files.checkpoint

    def checkpoint(part):
        monkeypatch.setattr(driver, "connect", lambda *_arguments: Full)
        try:
            whole(part)
        finally:
            monkeypatch.setattr(driver, "connect", connect)

    monkeypatch.setattr(sqlite_files, "checkpoint", checkpoint)
    assert run("db", "backup", tmp_path / "made").refused("disk is full", "Free some space")
    assert data.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_restore_without_the_key_is_refused(run, data, backup, elsewhere):
    """DB-09, OP-04: a new key would open none of its rows."""
    (elsewhere / "secret.key").unlink()
    assert run("db", "restore", backup).refused("Put back the one")
    assert list(elsewhere.iterdir()) == []
    assert data.exists()


def test_restore_with_another_key_is_refused(run, backup, elsewhere, monkeypatch):
    """DB-09: at once, rather than at the next start."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", "k" * 43)
    assert run("db", "restore", backup).refused("not the one that this database")
    assert [path.name for path in elsewhere.iterdir()] == ["secret.key"]


def test_damaged_or_foreign_backup_is_refused(run, backup, elsewhere):
    """DB-09, DB-15: the present file stays."""
    (elsewhere / "oneself.sqlite3").write_text("what there is")
    (backup.parent / "backup.sqlite3.sha256").unlink()

    def restore(file):
        return run("db", "restore", "--replace", "--without-checksum", file)

    text, empty = elsewhere.parent / "text", elsewhere.parent / "empty"
    text.write_text("This is no database. " * 100)
    _sql(empty, "CREATE TABLE other (id)")
    for file, words in (
        (text, "cannot be copied"),
        (empty, "is not a database of oneself"),
        (elsewhere.parent / "nowhere", "There is no backup"),
    ):
        assert restore(file).refused(words)
    _sql(backup, "UPDATE alembic_version SET version_num = '9999'")
    assert restore(backup).refused("9999", "does not know")
    _sql(backup, "UPDATE alembic_version SET version_num = ?", REVISION)
    _damage(backup)
    assert restore(backup).refused("is damaged")
    assert (elsewhere / "oneself.sqlite3").read_text() == "what there is"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["oneself.sqlite3", "secret.key"]


def test_checksum_is_that_of_sha256sum(run, data, tmp_path):
    """DB-09, reliability finding 11."""
    assert data.exists()
    digest = run("db", "backup", tmp_path / "a b").json["sha256"]
    command = ["sha256sum", "--check", "--strict", "a b.sha256"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "a b.sha256").read_text() == f"{digest}  a b\n"


def _flip_bytes(backup):
    """Change values in a row, which no check of SQLite notices."""
    content = backup.read_bytes()
    assert b"before" in content
    backup.write_bytes(content.replace(b"before", b"beforf"))


def _cut_off(backup):
    """Lose the last page, as a copy that was interrupted."""
    backup.write_bytes(backup.read_bytes()[:-4096])


def _forget_pages(backup):
    """Lose what an interrupted `cp` into an existing file has not written."""
    content = backup.read_bytes()
    backup.write_bytes(content[:-8192] + bytes(8192))


@pytest.mark.parametrize("damage", [_flip_bytes, _cut_off, _forget_pages])
def test_changed_backup_is_not_restored(run, backup, elsewhere, damage):
    """DB-09, reliability finding 11: also when SQLite finds its pages intact."""
    damage(backup)
    for options in ([], ["--without-checksum"]):
        assert run("db", "restore", *options, backup).refused("not what was backed up")
    assert [path.name for path in elsewhere.iterdir()] == ["secret.key"]


def test_backup_without_a_checksum_is_restored_only_on_request(run, backup, elsewhere):
    """DB-09: as one of an earlier version, or by another tool."""
    (backup.parent / "backup.sqlite3.sha256").unlink()
    assert run("db", "restore", backup).refused("backup.sqlite3.sha256", "--without-checksum")
    assert [path.name for path in elsewhere.iterdir()] == ["secret.key"]
    assert run("db", "restore", "--without-checksum", backup).status == 0
    assert _tenants(elsewhere / "oneself.sqlite3") == ["before"]


@pytest.mark.parametrize("content", ["", "0" * 64, "canary  backup.sqlite3\n"])
def test_malformed_checksum_is_refused(run, backup, elsewhere, content):
    """DB-09: as an empty file after a full disk."""
    assert elsewhere.exists()
    (backup.parent / "backup.sqlite3.sha256").write_text(content)
    assert run("db", "restore", backup).refused("must have one line", "Copy it again")


def test_backup_without_its_checksum_is_deleted(run, data, monkeypatch, tmp_path):
    """DB-09: a second attempt can have the same name."""
    monkeypatch.setattr("oneself.commands.storage.checksums.write", _fail)
    assert run("db", "backup", tmp_path / "made").refused("Input/output error")
    assert data.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("words", [["backup", "pg_dump"], ["restore", "pg_restore"]])
def test_postgresql_backup_names_its_own_programs(run, monkeypatch, tmp_path, words):
    """DB-09: with their arguments."""
    monkeypatch.setenv("ONESELF_DATABASE_URL", "postgresql+psycopg://user:canary@host/name")
    ran = run("db", words[0], tmp_path / "made")
    assert ran.refused(words[1], "--no-owner", status=2)
    assert "canary" not in ran.err
