"""A SQLite file that is gone, replaced or on a full disk is noticed, and no change is accepted."""

import asyncio
import logging
import shutil

import pytest

from accounts.errors import Unavailable
from oneself.database import file_health, open_engine
from oneself.database.file_health import FULL, GONE

pytestmark = pytest.mark.only_on("sqlite")

ADD = "INSERT INTO filling VALUES ('a')"


@pytest.fixture
def folder(env):
    """The folder of a database that has an open connection."""
    env.execute("CREATE TABLE filling (content TEXT)")
    assert env.database.unready_reason() is None
    return env.location.parent


def _remove_folder(folder):
    shutil.rmtree(folder)


def _move_folder(folder):
    folder.rename(folder.with_name("moved"))


def _replace_file(folder):
    """Put a copy in place of the file, as a restore by hand or a volume on the folder does."""
    for path in [*folder.glob("*.sqlite3*")]:
        shutil.copy(path, folder / "copy").replace(path)


def _link_to_another_folder(folder):
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    shutil.move(folder, folder.with_name("moved"))
    folder.symlink_to(other)


def _remove_log(folder):
    next(folder.glob("*-wal")).unlink()


def _remove_lock_table(folder):
    next(folder.glob("*-shm")).unlink()


FAULTS = [
    _remove_folder,
    _move_folder,
    _replace_file,
    _link_to_another_folder,
    _remove_log,
    _remove_lock_table,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_change_is_accepted_into_a_lost_file(env, folder, fault):
    """DB-06, reliability finding 5: neither alone nor in a group."""
    fault(folder)
    with pytest.raises(Unavailable) as caught:
        env.execute(ADD)
    assert (caught.value.reason, caught.value.retry_after) == (GONE, 5)
    with pytest.raises(Unavailable):
        asyncio.run(env.database.run_in_group(lambda shared: shared.exec_driver_sql(ADD)))
    assert env.database.unready_reason() == GONE


def test_no_connection_is_opened_to_another_file(env, folder):
    """DB-06: a thread without one would read other accounts than the threads that have one."""
    _replace_file(folder)
    with pytest.raises(Unavailable):
        asyncio.run(asyncio.to_thread(lambda: env.database.reading().__enter__()))


def test_service_resumes_when_the_file_is_back(env, folder, caplog):
    """DB-06: without a restart, and with one line in the log for each change."""
    away = folder.with_name("away")
    with caplog.at_level(logging.INFO, "oneself.database"):
        folder.rename(away)
        env.database.maintain()
        env.database.maintain()
        away.rename(folder)
        env.database.maintain()
    env.execute(ADD)
    logged = [record for record in caplog.records if record.name == "oneself.database"]
    assert [(record.levelname, record.message) for record in logged] == [
        ("ERROR", f"changes cannot be stored: {GONE}"),
        ("INFO", "changes can be stored again"),
    ]


def test_database_can_be_closed_and_opened_again(env, folder):
    """DB-06: a restored file is another one."""
    env.database.close()
    _replace_file(folder)
    for suffix in ("-wal", "-shm"):
        env.location.with_name(f"{env.location.name}{suffix}").unlink(missing_ok=True)
    env.execute(ADD)
    assert env.database.unready_reason() is None


def test_missing_file_is_never_created(tmp_path):
    """DB-06: a worker that starts again without its file must not serve an empty one."""
    path = tmp_path / "none.sqlite3"
    engine = open_engine(path)
    with pytest.raises(Exception, match="unable to open database file"):
        engine.connect()
    assert not path.exists()


@pytest.fixture
def full_disk(env, folder):  # noqa: ARG001 # has the table
    """Leaves no page free for the connection of this thread; returns a function that frees some."""

    def set_pages(session, number):
        session.core.exec_driver_sql(f"PRAGMA max_page_count = {number}")

    env.act(set_pages, 1)  # SQLite takes the present number instead
    return lambda: env.act(set_pages, 2**30)


def test_full_disk_is_reported_until_there_is_space(env, full_disk, monkeypatch, caplog):
    """DB-06, reliability finding 16."""
    caplog.set_level(logging.INFO, "oneself.database")
    with pytest.raises(Exception, match="disk is full"):
        env.execute("INSERT INTO filling VALUES (?)", "x" * 100_000)
    assert env.database.unready_reason() == FULL
    with monkeypatch.context() as patch:
        patch.setattr(file_health, "can_write", lambda _folder: False)
        env.database.maintain()
    assert env.database.unready_reason() == FULL
    full_disk()
    env.database.maintain()
    assert env.database.unready_reason() is None
    env.execute("INSERT INTO filling VALUES (?)", "x" * 100_000)
    assert [record.levelname for record in caplog.records if record.name == "oneself.database"] == [
        "ERROR",
        "INFO",
    ]


def test_full_disk_is_noticed_in_a_group(env, full_disk):
    """DB-06: the act that meets it is tried again alone, and fails there."""

    def act(session):
        session.core.exec_driver_sql("INSERT INTO filling VALUES (?)", ("x" * 100_000,))

    with (
        pytest.raises(Exception, match="disk is full"),
        env.database.transaction(writing=True) as s,
    ):
        act(s)
    assert env.database.unready_reason() == FULL
    full_disk()


def test_disk_without_space_is_recognised(tmp_path):
    """DB-06: the probe reports what the file system says."""
    assert file_health.can_write(tmp_path)
    assert not file_health.can_write(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []
