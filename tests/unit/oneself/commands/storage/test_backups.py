"""Backups: what is in one, and what has to be true before it takes the place of a database."""

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
from tests.support.commands import Ran

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

_FORMER = re.compile(r"is at (\S+\.sqlite3\.\w+):")


class Stopped(BaseException):
    """As by Ctrl-C."""


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["oneself", *map(str, words), "--json"])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return Ran(ended.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def data(monkeypatch, migrated_file, tmp_path):
    """The data folder of a deployment with one tenant."""
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
    """A backup of it."""
    assert data.exists()
    made = tmp_path / "backup.sqlite3"
    assert run("db", "backup", made).json["revision"] == REVISION
    return made


@pytest.fixture
def elsewhere(monkeypatch, data, tmp_path):
    """Another data folder, which the settings name now, with nothing but the key."""
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


def test_a_backup_is_one_file_that_nobody_else_can_read(backup, tmp_path):
    """DB-09: with nothing beside it that could be forgotten, nor needed to read it."""
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.sqlite3"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert _tenants(backup) == ["before"]
    assert _sql(backup, "PRAGMA journal_mode") == [("delete",)]


def test_a_backup_outlasts_a_power_cut(run, data, disk, tmp_path):
    """DB-09: whoever was told that there is one may have deleted the one before."""
    assert data.exists()
    run("db", "backup", tmp_path / "backup.sqlite3")
    assert disk.keeps(tmp_path / "backup.sqlite3")


def test_the_root_secret_is_not_in_a_backup(data, backup, tmp_path):
    """DB-09: a backup alone opens nothing."""
    secret = (data / "secret.key").read_bytes().strip()
    assert secret not in backup.read_bytes()
    assert not list(tmp_path.glob("*.key"))


def test_what_is_only_in_the_log_of_the_file_is_in_the_backup(run, data, tmp_path):
    """DB-09: and what is not committed yet is not."""
    held = sqlite_driver().connect(data / "oneself.sqlite3", isolation_level=None)
    held.execute("PRAGMA journal_mode = WAL")
    held.execute("UPDATE tenant SET display_name = 'logged'")
    assert (data / "oneself.sqlite3-wal").stat().st_size
    held.execute("BEGIN IMMEDIATE")
    held.execute("UPDATE tenant SET display_name = 'begun'")
    run("db", "backup", tmp_path / "made")
    held.execute("ROLLBACK")
    held.close()
    assert _tenants(tmp_path / "made") == ["logged"]


def test_a_backup_never_takes_the_place_of_a_file(run, data, tmp_path):
    """It may be the only other one."""
    assert data.exists()
    (tmp_path / "there").write_text("the only other one")
    assert run("db", "backup", tmp_path / "there").refused("is there already")
    assert (tmp_path / "there").read_text() == "the only other one"


def test_a_damaged_database_gives_no_backup(run, data, tmp_path):
    """DB-09: it would be found out on the day when it is needed."""
    _spoil(data / "oneself.sqlite3")
    assert run("db", "backup", tmp_path / "made").refused("not whole")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["a?timeout=5", "a%20b", "a?mode=memory&uri=true", "a#b"])
def test_a_folder_may_have_any_name(run, tmp_path, monkeypatch, name):
    """DB-09: the data are in the one file that is private and is backed up."""
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
    made = folder / "b?timeout=5"
    assert run("db", "backup", made).json["revision"] == REVISION
    assert _tenants(made) == ["Example"]


def test_a_database_without_tables_gives_no_backup(run, data, tmp_path):
    """DB-09: who makes one of the wrong file would have nothing on the day when it is needed."""
    (data / "oneself.sqlite3").write_bytes(b"")
    assert run("db", "backup", tmp_path / "made").refused("no tables of oneself")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _spoil(path):
    """Overwrite a page of an index, which nothing reads that only looks at the tables."""
    [(page,)] = _sql(path, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_user_tenant_id'")
    [(size,)] = _sql(path, "PRAGMA page_size")
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\x0a" + bytes(size - 1)
    path.write_bytes(content)


def test_a_backup_is_restored_into_an_empty_place(run, backup, elsewhere):
    """DB-09: and then the doctor finds nothing but that no service has run there."""
    found = run("db", "restore", backup).json
    assert (found["former"], found["revision"]) == (None, REVISION)
    assert _tenants(elsewhere / "oneself.sqlite3") == ["before"]
    assert stat.S_IMODE((elsewhere / "oneself.sqlite3").stat().st_mode) == 0o600
    assert sorted(path.name for path in elsewhere.iterdir()) == ["oneself.sqlite3", "secret.key"]
    checks = json.loads(run("doctor").out)["checks"]
    assert [name for name in checks if not checks[name]["ok"]] == ["signing_key"]


def test_what_is_restored_outlasts_a_power_cut(run, backup, elsewhere, disk, monkeypatch):
    """DB-09: with the folder that it is in, where there was none."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", (elsewhere / "secret.key").read_text().strip())
    monkeypatch.setenv("ONESELF_DATA_DIR", str(elsewhere / "in" / "there"))
    run("db", "restore", backup)
    assert disk.keeps(elsewhere / "in" / "there" / "oneself.sqlite3")


def test_a_database_is_replaced_only_when_told_and_kept_with_its_log(run, data, backup):
    """DB-09: a log that stayed would be played into the other file."""
    _add(data, "later")
    (data / "oneself.sqlite3-wal").write_bytes(b"a log")
    assert run("db", "restore", backup).refused("There is a database at", "--replace")
    former = run("db", "restore", "--replace", backup).json["former"]
    assert _tenants(data / "oneself.sqlite3") == ["before"]
    with open(f"{former}-wal", "rb") as log:  # noqa: PTH123 # a name, and no path
        assert log.read() == b"a log"
    os.unlink(f"{former}-wal")  # noqa: PTH108 # as above
    assert _tenants(former) == ["before", "later"]


def test_a_log_without_its_database_is_in_the_way_too(run, backup, elsewhere):
    """DB-09: as it is left by somebody who has moved the database by hand."""
    (elsewhere / "oneself.sqlite3-wal").write_bytes(b"a log")
    assert run("db", "restore", backup).refused("--replace")
    run("db", "restore", "--replace", backup)
    assert not (elsewhere / "oneself.sqlite3-wal").exists()
    assert _tenants(elsewhere / "oneself.sqlite3") == ["before"]


def test_a_database_that_is_in_use_is_not_replaced(run, data, backup):
    """DB-09: the service would go on with the old one, and lose what it acknowledges."""
    command = [sys.executable, "-c", IN_USE, str(data / "oneself.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"open\n"
        assert run("db", "restore", "--replace", backup).refused("in use", "Stop every service")
        user.stdin.close()
    assert run("db", "restore", "--replace", backup).status == 0


def _fail(*_arguments):
    raise OSError(errno.EIO, os.strerror(errno.EIO), "somewhere")


@pytest.fixture
def failing(monkeypatch):
    """Has a step of a restore fail: by a disk, by a file system that has no links."""
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
def test_a_restore_that_fails_leaves_what_there_was(run, data, backup, failing, step):
    """DB-09: or the next start would make an empty database, and go on with that."""
    _add(data, "later")
    (data / "oneself.sqlite3-wal").write_bytes(b"a log")
    failing(step)
    assert run("db", "restore", "--replace", backup).refused(": Input/output error")
    assert sorted(path.name for path in data.iterdir()) == [
        *("oneself.sqlite3", "oneself.sqlite3-wal", "secret.key"),
    ]
    assert (data / "oneself.sqlite3-wal").read_bytes() == b"a log"
    (data / "oneself.sqlite3-wal").unlink()
    assert _tenants(data / "oneself.sqlite3") == ["before", "later"]


@pytest.mark.parametrize("reason", [FileExistsError(errno.EEXIST, "File exists"), Stopped()])
def test_where_the_former_database_is_nobody_has_to_guess(run, data, backup, monkeypatch, reason):
    """DB-09: if a start has made another meanwhile, which is in use, the former stays aside."""

    def start(place, _target):
        place.write_bytes(b"another")
        raise reason

    monkeypatch.setattr(Path, "hardlink_to", start)
    [former] = _FORMER.findall(_refusal_of(run("db", "restore", "--replace", backup)))
    assert _tenants(former) == ["before"]
    assert (data / "oneself.sqlite3").read_bytes() == b"another"


def _refusal_of(ran):
    assert ran.refused("could not be put back (File exists)", "rename it")
    return ran.err


def test_a_copy_that_sqlite_cannot_finish_is_no_backup(run, data, monkeypatch, tmp_path):
    """DB-09: it says why, as where the disk is full by then."""

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
    assert run("db", "backup", tmp_path / "made").refused("disk is full", "room")
    assert data.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_nothing_is_restored_where_the_key_is_not(run, data, backup, elsewhere):
    """DB-09, OP-04: a key that was made now would open nothing of it."""
    (elsewhere / "secret.key").unlink()
    assert run("db", "restore", backup).refused("Put back the one")
    assert list(elsewhere.iterdir()) == []
    assert data.exists()


def test_nothing_is_restored_that_the_key_does_not_open(run, backup, elsewhere, monkeypatch):
    """DB-09: before it is there, rather than at the next start."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", "k" * 43)
    assert run("db", "restore", backup).refused("not the one that this database")
    assert [path.name for path in elsewhere.iterdir()] == ["secret.key"]


def test_nothing_is_restored_that_is_damaged_or_no_database_of_ours(run, backup, elsewhere):
    """DB-09, DB-15: and what there is stays."""
    (elsewhere / "oneself.sqlite3").write_text("what there is")
    text, empty = elsewhere.parent / "text", elsewhere.parent / "empty"
    text.write_text("This is no database. " * 100)
    _sql(empty, "CREATE TABLE other (id)")
    for file, words in (
        (text, "cannot be copied"),
        (empty, "no revision"),
        (elsewhere.parent / "nowhere", "There is no backup"),
    ):
        assert run("db", "restore", "--replace", file).refused(words)
    _sql(backup, "UPDATE alembic_version SET version_num = '9999'")
    assert run("db", "restore", "--replace", backup).refused("9999", "does not know")
    _sql(backup, "UPDATE alembic_version SET version_num = ?", REVISION)
    _spoil(backup)
    assert run("db", "restore", "--replace", backup).refused("not whole")
    assert (elsewhere / "oneself.sqlite3").read_text() == "what there is"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["oneself.sqlite3", "secret.key"]


@pytest.mark.parametrize("words", [["backup", "pg_dump"], ["restore", "pg_restore"]])
def test_a_server_has_programs_of_its_own_for_it(run, monkeypatch, tmp_path, words):
    """DB-09: the sentence names them, and what they are called with."""
    monkeypatch.setenv("ONESELF_DATABASE_URL", "postgresql+psycopg://somebody:canary@host/name")
    ran = run("db", words[0], tmp_path / "made")
    assert ran.refused(words[1], "--no-owner", status=2)
    assert "canary" not in ran.err
