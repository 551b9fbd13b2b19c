"""The doctor: it finds each thing that is wrong, says what to do, and changes nothing."""

import json
import os
import shutil
from datetime import timedelta

import pytest
import sqlalchemy
import typer
from typer.testing import CliRunner

from accounts.jobs.event_chain import chain_events
from models import OutboxMessage, SecurityEvent, SigningKey
from oneself.commands.console.failures import Failure
from oneself.commands.console.session_setup import open_database
from oneself.commands.console.storage_checks import checks_for
from oneself.commands.doctor.command import doctor
from oneself.commands.doctor.environment import disk
from oneself.database import sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings

CHECKS = [
    *("sqlite_library", "journal_mode", "integrity", "foreign_keys", "tables", "key_file"),
    *("root_key", "event_chain", "outbox", "signing_key", "clock"),
    *("policies", "mail_server", "disk", "settings"),
]


class Ran:
    """What the command printed, its exit status, and its sentence where it refused."""

    def __init__(self, result):
        if result.exception is not None and not isinstance(result.exception, Failure | SystemExit):
            raise result.exception
        failure = result.exception if isinstance(result.exception, Failure) else None
        self.out, self.failure = result.stdout, str(failure or "")
        self.status = failure.status if failure else result.exit_code

    @property
    def checks(self):
        return json.loads(self.out)["checks"]

    @property
    def wrong(self):
        """The names of the checks that found something."""
        return [name for name, finding in self.checks.items() if not finding["ok"]]


@pytest.fixture
def run():
    """Runs the command as an installation of its own would, with nothing registered beside it."""
    app = typer.Typer()
    app.command()(doctor)
    return lambda *words: Ran(CliRunner().invoke(app, words))


@pytest.fixture
def settings(monkeypatch, migrated_file, tmp_path):
    """The settings of a fresh database, with its tables, and nothing else."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "oneself.sqlite3").write_bytes(migrated_file.read_bytes())
    (folder / "oneself.sqlite3").chmod(0o600)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)
    return Settings()


@pytest.fixture
def env(settings):
    """The database of an installation where all is well, with three events in a chain."""
    with open_database(settings) as database:
        with database.transaction(writing=True) as session:
            session.add(
                SigningKey(
                    kid="kid",
                    private_sealed=b"",
                    key_id=session.keys.key_id,
                    created_at=session.now,
                    active_from=session.now,
                )
            )
            for number in range(3):
                session.add(_event(session.now, f"event {number}"))
            chain_events(session)
        yield database


@pytest.fixture
def sql(settings):
    """Runs statements behind the back of the service."""

    def sql(*statements):
        connection = sqlite_driver().connect(settings.location)
        with connection:
            rows = [connection.execute(statement).fetchall() for statement in statements]
        connection.close()
        return rows[-1]

    return sql


def _event(moment, event_id):
    return SecurityEvent(id=event_id, kind="user_updated", occurred_at=moment, details={})


def _found(run, name, *words):
    """What one check found, where it is the only one to find something."""
    ran = run("--json", *words)
    assert (ran.wrong, ran.status) == ([name], 1)
    assert ran.failure == f"1 of {len(CHECKS)} checks found something wrong. Each says what to do."
    return ran.checks[name]


@pytest.mark.usefixtures("env")
def test_all_is_well(run):
    """LO-04, DB-03: one object, with a finding for each check and nothing to do."""
    ran = run("--json")
    assert (ran.status, ran.failure) == (0, "")
    assert json.loads(ran.out)["all_is_well"] is True
    assert [*ran.checks] == CHECKS
    assert ran.wrong == []
    assert {finding["to_do"] for finding in ran.checks.values()} == {None}
    assert ran.checks["event_chain"]["found"].startswith("3 links, 0 events still without one")


@pytest.mark.usefixtures("env")
def test_people_are_shown_a_line_for_each_check(run, sql):
    """LO-04: what is wrong stands out, with what to do below it."""
    sql("DELETE FROM signing_key")
    ran = run()
    for name in CHECKS:
        assert name.replace("_", " ") in ran.out
    assert ran.out.count("ok: ") == len(CHECKS) - 1
    assert ran.out.count("PROBLEM: none is active") == 1
    assert "Start the service" in ran.out


@pytest.mark.usefixtures("env")
def test_nothing_is_written(run, settings, sql):
    """LO-04: who looks for traces must not leave any."""
    before = sql("PRAGMA wal_checkpoint(TRUNCATE)"), settings.location.read_bytes()
    run("--json")
    assert (sql("PRAGMA wal_checkpoint(TRUNCATE)"), settings.location.read_bytes()) == before
    assert sql("SELECT count(*) FROM root_key") == [(1,)]


def test_the_mode_of_the_file_is_told_and_not_changed(run, settings, env, sql):
    """DB-01, LO-04: as the disk has it, where a service could not switch it; not as we would."""
    env.close()
    sql("PRAGMA journal_mode = DELETE")
    before = settings.location.read_bytes()
    finding = _found(run, "journal_mode")
    assert finding["found"] == "delete, not WAL"
    assert "local disk" in finding["to_do"]
    assert settings.location.read_bytes() == before
    assert [path.name for path in settings.data_dir.glob("*.sqlite3*")] == ["oneself.sqlite3"]


def test_without_a_database_there_is_nothing_to_check(run, monkeypatch, tmp_path):
    """OP-04: and none is made."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "none"))
    ran = run("--json")
    assert (ran.status, ran.out) == (1, "")
    assert "There is no database" in ran.failure
    assert not (tmp_path / "none").exists()


# The SQLite file


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        *(("3.40.1", False), ("3.44.5", False), ("3.44.6", True), ("3.45.0", False)),
        *(("3.50.6", False), ("3.50.7", True), ("3.51.2", False), ("3.51.3", True)),
        *(("3.53.0", True), ("4.0.0", True)),
    ],
)
def test_a_library_that_can_corrupt_the_file_is_found(run, monkeypatch, version, fixed):
    """DB-03: by its version, and by the two older ones that have the fix too."""
    monkeypatch.setattr(sqlite_driver(), "sqlite_version", version)
    if fixed:
        assert run("--json").wrong == []
        return
    finding = _found(run, "sqlite_library")
    assert version in finding["found"]
    assert "pysqlite3" in finding["to_do"]


@pytest.mark.usefixtures("env")
def test_the_library_that_is_installed_has_the_fix(run):
    """DB-03: the one that the tests run with."""
    assert run("--json").checks["sqlite_library"]["ok"] is True


def test_a_database_that_cannot_have_a_wal_is_found():
    """DB-01: as on a network file system; a database in memory cannot have one either."""
    engine = sqlalchemy.create_engine("sqlite://", module=sqlite_driver())
    finding = checks_for(engine)["journal_mode"](engine)
    engine.dispose()
    assert (finding.ok, finding.found) == (False, "memory, not WAL")


@pytest.mark.usefixtures("env")
def test_a_file_that_is_not_whole_is_found(run, settings, sql):
    """DB-04: here one page, of an index, was overwritten."""
    ((page,),) = sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_refresh_token_client_id'")
    ((size,),) = sql("PRAGMA page_size")
    sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with settings.location.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    finding = _found(run, "integrity")
    assert "page" in finding["found"].lower() or "malformed" in finding["found"]


@pytest.mark.usefixtures("env")
def test_a_file_that_is_no_database_is_found(run, settings, sql):
    """DB-06: every check that reads it says so, and the others are still done."""
    sql("PRAGMA wal_checkpoint(TRUNCATE)")
    settings.location.write_bytes(b"no database" * 1000)
    ran = run("--json")
    assert ran.status == 1
    assert "not a database" in ran.checks["integrity"]["found"]
    assert ran.checks["tables"]["ok"] is False
    assert ran.checks["event_chain"]["found"] == "not checked"
    assert ran.checks["policies"]["ok"] is True


@pytest.mark.usefixtures("env")
def test_a_row_that_refers_to_nothing_is_found(run, sql):
    """DB-01: foreign keys are off for whoever does not turn them on."""
    sql("INSERT INTO user_settings VALUES ('usr_0', '{}', '2026-04-05 10:00:00.000000')")
    finding = _found(run, "foreign_keys")
    assert finding["found"] == "1 rows refer to rows that are not there, in: user_settings"


@pytest.mark.usefixtures("env")
def test_tables_of_another_version_are_found(run, sql):
    """DB-15: the rows are not read then, since nobody knows what they mean."""
    sql("UPDATE alembic_version SET version_num = '0001'")
    ran = run("--json")
    assert ran.wrong == ["tables", *CHECKS[6:11]]
    assert "revision 0001" in ran.checks["tables"]["found"]
    assert "db upgrade" in ran.checks["tables"]["to_do"]


def test_a_database_without_tables_is_found_and_left_empty(run, settings, sql):
    """DB-15: other commands would make them."""
    settings.location.write_bytes(b"")
    assert "tables" in run("--json").wrong
    assert sql("SELECT count(*) FROM sqlite_master") == [(0,)]


@pytest.mark.usefixtures("env")
def test_tables_that_differ_are_found(run, sql):
    """DB-15: at the right revision too."""
    sql("DROP TABLE revoked_jwt")
    assert "add_table" in run("--json").checks["tables"]["found"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("table", ["security_event", "event_link"])
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_a_trigger_that_is_gone_is_found(run, sql, table, verb):
    """LO-04: who takes events away begins with what refuses it."""
    sql(f"DROP TRIGGER {table}_no_{verb}")
    assert f"no trigger {table}_no_{verb}" in run("--json").checks["tables"]["found"]


# The keys


@pytest.mark.usefixtures("env")
def test_a_key_file_that_others_can_read_is_found(run, settings):
    """OP-04: with the command that puts it right."""
    path = settings.data_dir / "secret.key"
    path.chmod(0o640)
    ran = run("--json")
    assert ran.checks["key_file"]["to_do"] == f"Run: chmod 600 {path}"
    assert ran.wrong == CHECKS[5:11]


@pytest.mark.usefixtures("env")
def test_a_key_file_that_is_gone_is_found_and_none_is_made(run, settings):
    """OP-04: a new one would open nothing, and hide that the old one is missing."""
    (settings.data_dir / "secret.key").unlink()
    ran = run("--json")
    assert ran.wrong == CHECKS[5:11]
    assert "is not there" in ran.checks["key_file"]["found"]
    assert not (settings.data_dir / "secret.key").exists()


@pytest.mark.usefixtures("env")
def test_another_root_secret_is_found(run, settings, sql):
    """PW-17: and is not noted as a new one of this database."""
    (settings.data_dir / "secret.key").write_text("A" * 43 + "\n")
    ran = run("--json")
    assert ran.wrong == CHECKS[6:11]
    assert "not the one that this database was made with" in ran.checks["root_key"]["found"]
    assert sql("SELECT count(*) FROM root_key") == [(1,)]


@pytest.mark.usefixtures("env")
def test_a_key_file_that_cannot_be_used_is_found_and_not_shown(run, settings):
    """OP-04: what is in it may be a secret with one character too few."""
    (settings.data_dir / "secret.key").write_text("canary-5d41402abc4b\n")
    for ran in (run("--json"), run()):
        assert ran.status == 1
        assert "base64url" in ran.out
        assert "canary" not in ran.out + ran.failure


def test_a_database_that_was_never_used_is_found(run, settings, sql):
    """PW-17: it takes whatever root secret it is first used with, which is not the doctor's."""
    open_keyring(settings)
    ran = run("--json")
    assert ran.wrong == CHECKS[6:11]
    assert ran.checks["root_key"]["to_do"] == "Start the service once."
    assert sql("SELECT count(*) FROM root_key") == [(0,)]


def test_a_root_secret_in_the_environment_needs_no_file(run, monkeypatch, settings):
    """OP-04: then there is none, and none is made."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", "A" * 43)
    with open_database(Settings()):
        ran = run("--json")
    assert ran.checks["key_file"]["ok"] is True
    assert ran.checks["root_key"]["ok"] is True
    assert "AAAA" not in ran.out
    assert not (settings.data_dir / "secret.key").exists()


# The rows


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE security_event SET source = 'b' WHERE id = 'event 1'", "altered"),
        ("DELETE FROM security_event WHERE id = 'event 1'", "event event 1 of link 2 is missing"),
        ("DELETE FROM event_link WHERE sequence = 2", "link 2 is missing"),
    ],
)
def test_a_chain_that_was_tampered_with_is_found(run, sql, statement, problem):
    """LO-04: whoever it was put the triggers back."""
    triggers = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    sql(
        *(f"DROP TRIGGER {name}" for name, _ in triggers),
        statement,
        *(text for _, text in triggers),
    )
    finding = _found(run, "event_chain")
    assert problem in finding["found"]
    assert "copy of the database" in finding["to_do"]


def test_events_that_nobody_chains_are_found(run, env):
    """LO-04: either the job does not run or the links were taken away."""
    with env.transaction(writing=True) as session:
        session.add(_event(session.now - timedelta(minutes=11), "event 4"))
        session.add(_event(session.now, "event 5"))
    finding = _found(run, "event_chain")
    assert finding["found"] == "event event 4 is older than ten minutes and has no link"


@pytest.mark.usefixtures("env")
def test_a_row_that_cannot_be_read_is_a_finding(run, sql):
    """LO-04: not a traceback, and not a chain that is whole."""
    sql(
        "DROP TRIGGER event_link_no_update",
        "UPDATE event_link SET key_id = CAST(x'ff' AS TEXT)",
        "CREATE TRIGGER event_link_no_update BEFORE update ON event_link"
        " BEGIN SELECT RAISE(ABORT, ''); END",
    )
    assert "The database answered" in _found(run, "event_chain")["found"]


@pytest.mark.usefixtures("env")
def test_a_head_that_is_in_the_chain_is_good(run, sql):
    """LO-04: the last one, and each before it."""
    for (digest,) in sql("SELECT chain_digest FROM event_link"):
        assert run("--json", "--head", digest.hex()).status == 0


@pytest.mark.usefixtures("env")
def test_a_head_that_is_not_in_the_chain_is_found(run, sql):
    """LO-04: the end was cut off, with the events, and what is left looks whole."""
    ((digest,),) = sql("SELECT chain_digest FROM event_link WHERE sequence = 3")
    triggers = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    sql(
        *(f"DROP TRIGGER {name}" for name, _ in triggers),
        "DELETE FROM event_link WHERE sequence = 3",
        "DELETE FROM security_event WHERE id = 'event 2'",
        *(text for _, text in triggers),
    )
    assert run("--json").status == 0
    finding = _found(run, "event_chain", "--head", digest.hex())
    assert "its end was cut off" in finding["found"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("head", ["", "0", "zz" * 32, "00" * 31, "00" * 33])
def test_what_can_be_no_head_is_refused(run, head):
    """LO-04: a head that was copied badly must not look like a chain that was cut."""
    ran = run("--json", "--head", head)
    assert (ran.status, ran.out) == (2, "")
    assert "64 hex digits" in ran.failure


@pytest.mark.parametrize(
    ("minutes", "delivered", "ok"), [(9, None, True), (11, None, False), (11, 1, True)]
)
def test_mail_that_is_not_sent_is_found(run, env, minutes, delivered, ok):
    """EM-18: a message that waits for longer than ten minutes; not one that is sent or new."""
    with env.transaction(writing=True) as session:
        session.add(
            OutboxMessage(
                id="msg_1",
                kind="email_verification",
                recipient="canary@example.com",
                parameters_sealed=b"",
                key_id=session.keys.key_id,
                created_at=session.now - timedelta(minutes=minutes),
                due_at=session.now,
                delivered_at=delivered and session.now,
            )
        )
    ran = run("--json")
    assert ran.checks["outbox"]["ok"] is ok
    assert ran.checks["outbox"]["found"].startswith("1 messages") is not ok
    assert "canary" not in ran.out


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ("active_from = '2099-01-01 00:00:00.000000'", False),
        ("retires_at = '2026-01-01 00:00:00.000000'", False),
        ("retires_at = '2099-01-01 00:00:00.000000'", True),
    ],
)
def test_a_signing_key_is_active_from_and_until_its_time(run, sql, change, ok):
    """JW-08: one that is published already, or still, does not sign."""
    sql(f"UPDATE signing_key SET {change}")  # noqa: S608 # ours
    assert run("--json").checks["signing_key"]["ok"] is ok


# What is around it


def test_a_clock_that_went_back_is_found(run, env):
    """What should have expired goes on, by a clock that is behind."""
    with env.transaction(writing=True) as session:
        session.add(_event(session.now + timedelta(seconds=59), "event 4"))
    assert run("--json").wrong == []
    with env.transaction(writing=True) as session:
        session.add(_event(session.now + timedelta(minutes=10), "event 5"))
    finding = _found(run, "clock")
    assert finding["found"].endswith("seconds ahead of this machine's clock")
    assert "NTP" in finding["to_do"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("name", ["", "oneself.sqlite3"])
def test_data_that_others_can_get_at_are_found(run, settings, name):
    """OP-04: the folder and the file, as `cp` and an editor leave them, with the command."""
    path = settings.data_dir / name
    path.chmod(path.stat().st_mode | 0o044)
    finding = _found(run, "disk")
    assert finding["to_do"] == f"Run: chmod go= {path}"


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(("mebibytes", "ok"), [(511, False), (512, True)])
def test_a_disk_that_is_nearly_full_is_found(run, monkeypatch, mebibytes, ok):
    """While there is still room to do something about it."""
    usage = shutil._ntuple_diskusage(2**40, 2**40, mebibytes * 2**20)  # noqa: SLF001 # its type
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    finding = run("--json").checks["disk"]
    assert (finding["ok"], f"{mebibytes} MiB are free" in finding["found"]) == (ok, True)


def test_room_is_wanted_for_a_copy_of_the_database(monkeypatch, settings):
    """The next migration begins with one; this file has 600 MiB and no content."""
    os.truncate(settings.location, 600 * 2**20)
    usage = shutil._ntuple_diskusage(2**40, 2**40, 550 * 2**20)  # noqa: SLF001 # its type
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    found = disk(settings).found
    assert found.startswith("550 MiB are free")
    assert found.endswith("of 600 that should be")


def test_a_folder_that_cannot_be_written_is_found(settings, monkeypatch):
    """As one that is mounted for reading only."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert disk(settings).found == f"{settings.data_dir} cannot be written"


def test_a_folder_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path, monkeypatch):
    """On PostgreSQL the first mail makes it."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "not" / "there"))
    monkeypatch.setenv("ONESELF_DATABASE_URL", "postgresql+psycopg:///oneself")
    finding = disk(Settings())
    assert finding.ok
    assert finding.found.endswith(f"MiB are free at {tmp_path}")


@pytest.mark.usefixtures("env")
def test_a_mail_server_that_is_away_is_found(run, monkeypatch):
    """By its host and port, and without user and password."""
    monkeypatch.setenv("ONESELF_SMTP_URL", "smtp://canary:canary@127.0.0.1:9")
    finding = _found(run, "mail_server")
    assert finding["found"].startswith("127.0.0.1, port 9: The server cannot be reached")
    assert "canary" not in str(finding)
    monkeypatch.setenv("ONESELF_SMTP_URL", "canary://127.0.0.1")
    assert "must be smtp://" in _found(run, "mail_server")["found"]


@pytest.mark.usefixtures("env")
def test_a_text_of_mail_that_cannot_be_used_is_found(run, monkeypatch, tmp_path):
    """Before the service does not start for it."""
    (tmp_path / "texts" / "mail").mkdir(parents=True)
    (tmp_path / "texts" / "mail" / "layout.html.j2").write_text("{% if")
    monkeypatch.setenv("ONESELF_TEMPLATE_DIR", str(tmp_path / "texts"))
    assert "Correct it, or take it away" in _found(run, "mail_server")["found"]


@pytest.mark.usefixtures("env")
def test_settings_that_are_dangerous_together_are_found(run, monkeypatch):
    """Each by its name, with what to set."""
    monkeypatch.setenv("ONESELF_PUBLIC_URL", "https://account.example.com")
    finding = _found(run, "settings")
    assert "ONESELF_TRUSTED_PROXIES" in finding["found"]
    assert "ONESELF_SMTP_URL" in finding["to_do"]


# The policies


@pytest.mark.usefixtures("env")
def test_policies_that_cannot_be_used_are_found(run, monkeypatch, tmp_path):
    """AZ-03: with what is wrong, and where to correct it."""
    folder = tmp_path / "policies"
    folder.mkdir()
    monkeypatch.setenv("ONESELF_POLICY_DIR", str(folder))
    assert "no *.cedar file" in _found(run, "policies")["found"]
    (folder / "a.cedar").write_text("permit (")
    finding = _found(run, "policies")
    assert "a.cedar" in finding["found"]
    assert str(folder) in finding["to_do"]


@pytest.mark.usefixtures("env")
def test_a_defect_is_no_finding(run, sql):
    """OP-05: what nobody foresaw is not told as if an operator could put it right."""
    sql("UPDATE root_key SET check_value = 'no bytes'")
    with pytest.raises(TypeError):
        run("--json")


def test_a_service_that_is_writing_is_not_in_the_way(run, env):
    """DB-05: the doctor only reads, and neither waits for a writer nor makes one wait."""
    with env.transaction(writing=True) as session:
        session.add(_event(session.now, "event 6"))
        session.flush()
        ran = run("--json")
    assert (ran.status, ran.wrong) == (0, [])
