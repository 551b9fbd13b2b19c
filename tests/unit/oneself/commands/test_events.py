"""The `events` commands: an archive is complete before anything is deleted."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from accounts.jobs import event_archive
from accounts.jobs.event_verification import verify_chain
from models import SecurityEvent
from oneself.commands import events
from oneself.commands.console.session_setup import load_settings, open_database
from oneself.database import Database
from oneself.runtime import durable_files
from oneself.runtime.key_file import open_keyring
from tests.support.chain import chain_pending, id_at
from tests.unit.oneself.commands.test_mail import Run


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """The settings of a database with events of three days: eight, three and one."""
    for name in ("SECRET_KEY", "SECRET_KEY_FORMER", "DATABASE_URL"):
        monkeypatch.delenv(f"ONESELF_{name}", raising=False)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    settings = load_settings()
    with open_database(settings, make=True):
        pass
    for days, count in ((400, 8), (200, 3), (0, 1)):
        _chain(settings, [f"event {days} {number}" for number in range(count)], days)
    return settings


def _chain(settings, names, days):
    """Record events so many days ago, and chain them."""
    time = datetime.now(UTC) - timedelta(days=days)
    database = Database(
        settings.location, keys=open_keyring(settings), limits=settings.limits, clock=lambda: time
    )
    with database.transaction(writing=True) as session:
        for name in names:
            session.add(SecurityEvent(id=id_at(time), kind=name, occurred_at=time, details={}))
        chain_pending(session)
    database.close()


@pytest.fixture
def run(settings):  # noqa: ARG001 # used by the command
    return lambda *words: Run(CliRunner().invoke(events.app, [str(word) for word in words]))


def _kinds(settings):
    """The kinds of the events that are left, after the chain was found to be valid."""
    with (
        open_database(settings) as database,
        database.transaction(writing=False, snapshot=True) as session,
    ):
        kinds = session.core.exec_driver_sql("SELECT kind FROM security_event").scalars()
        return sorted(kinds), verify_chain(session).problems


def _archived(file):
    lines = file.read_text().splitlines()[:-1] if file.exists() else []
    return sorted(json.loads(line)["event"]["kind"] for line in lines)


def test_old_events_are_archived(run, settings, tmp_path):
    """LO-04, reliability finding 4: into a file that only its owner can read."""
    file = tmp_path / "events.jsonl"
    record = run("archive", file, "--older-than", 30, "--json").json
    assert (record["archive"], record["events"], record["last"]) == (str(file), 11, 11)
    assert file.stat().st_mode & 0o777 == 0o600
    assert _kinds(settings) == (["event 0 0"], ())
    assert len(_archived(file)) == 11
    verified = run("verify", file, "--json").json
    assert verified["problems"] == []
    assert verified["archives"][0]["head"] == record["head"]
    assert run("verify", file, "--head", record["head"]).status == 0
    assert "first" in run("verify", file).out


def test_second_archive_continues_the_first(run, settings, tmp_path):
    """LO-04, reliability finding 4: by age, and a run without old events makes no file."""
    first, second, third = (tmp_path / f"{number}.jsonl" for number in range(3))
    assert run("archive", first, "--json").json["last"] == 8
    nothing = run("archive", third, "--json").json
    assert (nothing, third.exists()) == ({"archive": None, "events": 0}, False)
    assert run("archive", second, "--older-than", 100, "--json").json["first"] == 9
    assert run("verify", first, second, "--json").json["problems"] == []
    assert run("verify", second, first).refused("does not continue the file before it")
    assert run("verify", first, "--head", "00" * 32).refused("--head is not in the files")
    assert (len(_archived(first)), len(_archived(second))) == (8, 3)
    assert _kinds(settings) == (["event 0 0"], ())


def test_existing_file_is_not_replaced(run, tmp_path):
    """LO-04: it may be the only copy of the last archive."""
    file = tmp_path / "events.jsonl"
    file.write_text("the last archive")
    assert run("archive", file).refused("already exists")
    assert file.read_text() == "the last archive"
    assert run("archive", tmp_path / "none" / "a").refused("There is no folder")


def test_altered_chain_is_not_archived(run, settings, tmp_path):
    """LO-04: and no file is left."""
    with open_database(settings) as database, database.transaction(writing=True) as session:
        session.core.exec_driver_sql("DROP TRIGGER security_event_no_update")
        session.core.exec_driver_sql("UPDATE security_event SET source = 'x'")
    assert run("archive", tmp_path / "a").refused("Nothing was archived: link 1 or its event")
    assert not [*tmp_path.glob("a*")]


def test_file_that_is_altered_while_it_is_written_is_not_sealed(
    run, settings, tmp_path, monkeypatch
):
    """LO-04: the export is verified before anything is deleted; here a disk loses a line."""
    write_lines = durable_files.write_lines
    monkeypatch.setattr(
        durable_files, "write_lines", lambda path, lines: write_lines(path, [*lines][1:])
    )
    assert run("archive", tmp_path / "a").refused("was not written as it should be")
    assert len(_kinds(settings)[0]) == 12
    assert _kinds(settings)[1] == ()


def test_archive_that_was_overtaken_leaves_no_file(run, settings, tmp_path, monkeypatch):
    """LO-04: another run has sealed the same events meanwhile."""
    put = durable_files.put

    def overtake(part, path):
        monkeypatch.setattr(durable_files, "put", put)
        assert run("archive", tmp_path / "b").status == 0
        put(part, path)

    monkeypatch.setattr(durable_files, "put", overtake)
    assert run("archive", tmp_path / "a").refused("another run has archived these events")
    assert not (tmp_path / "a").exists()
    assert len(_archived(tmp_path / "b")) + len(_kinds(settings)[0]) == 12


@pytest.mark.parametrize(
    "step",
    [
        (durable_files, "put", "before"),
        (durable_files, "put", "after"),
        (event_archive, "seal_part", "after"),
        (event_archive, "delete_sealed", "before"),
        (event_archive, "delete_sealed", "after"),
    ],
    ids=["written", "named", "sealed", "committed", "half deleted"],
)
def test_killed_archive_loses_nothing(run, settings, tmp_path, step):
    """LO-04, reliability finding 4: killed between two steps, and then run again."""
    module, name, when = step
    act = getattr(module, name)
    calls = []

    def kill(*arguments, **named):
        calls.append(1)
        if name == "delete_sealed" and when == "after" and len(calls) <= 2:
            return act(*arguments, **named, at_most=4)
        if name != "delete_sealed" and when == "after":
            act(*arguments, **named)
        return os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        setattr(module, name, kill)
        run("archive", tmp_path / "killed", "--older-than", 100)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    archived = {*_archived(tmp_path / "killed")}
    assert len(archived | {*_kinds(settings)[0]}) == 12
    run("archive", tmp_path / "again", "--older-than", 100)
    assert _kinds(settings) == (["event 0 0"], ())
    files = [file for word in ("killed", "again") if (file := tmp_path / word).exists()]
    assert len({kind for file in files for kind in _archived(file)}) == 11
    assert [run("verify", file).status for file in files] == [0] * len(files)


def test_malformed_head_is_refused(run, tmp_path):
    """LO-04: as by `doctor`."""
    assert run("verify", tmp_path / "a", "--head", "0").refused("64 hex digits", status=2)


def test_file_that_is_no_archive_is_reported(run, tmp_path):
    """LO-04: with its name."""
    file = tmp_path / "events.jsonl"
    file.write_text("{}\n")
    assert run("verify", file).refused(f"{file}: line 1 is neither a link nor the seal")
