"""`doctor`: it finds each problem, says how to fix it, and changes nothing."""

import json
import os
import resource
import shutil
from datetime import timedelta

import pytest
import sqlalchemy
import typer
from typer.testing import CliRunner

from models import OutboxMessage, SecurityEvent, SigningKey
from oneself.commands.console.failures import Failure
from oneself.commands.console.session_setup import open_database
from oneself.commands.console.storage_checks import checks_for
from oneself.commands.doctor.command import doctor
from oneself.commands.doctor.machine import descriptors, disk
from oneself.database import sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.chain import chain_pending

CHECKS = [
    *("sqlite_library", "journal_mode", "integrity", "foreign_keys", "tables", "key_file"),
    *("root_key", "event_chain", "outbox", "signing_key", "clock"),
    *("policies", "mail_server", "disk", "descriptors", "settings"),
]


class Run:
    """The output of the command, its exit status, and its error message."""

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
    def problems(self):
        """The names of the checks that found a problem or could not run."""
        return [name for name, result in self.checks.items() if not result["ok"]]


@pytest.fixture
def run():
    """Runs the command on its own, without the other commands."""
    app = typer.Typer()
    app.command()(doctor)
    return lambda *words: Run(CliRunner().invoke(app, words))


@pytest.fixture
def settings(monkeypatch, migrated_file, tmp_path):
    """Returns the settings of a new database that has only its tables."""
    monkeypatch.delenv("ONESELF_TEST_DATABASE_URL", raising=False)
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "oneself.sqlite3").write_bytes(migrated_file.read_bytes())
    (folder / "oneself.sqlite3").chmod(0o600)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder))
    monkeypatch.delenv("ONESELF_SECRET_KEY", raising=False)
    return Settings()


@pytest.fixture
def env(settings):
    """Opens the database of a healthy installation, with three events in a chain."""
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
            chain_pending(session)
        yield database


@pytest.fixture
def sql(settings):
    """Runs statements on the file, bypassing the service."""

    def sql(*statements):
        connection = sqlite_driver().connect(settings.location)
        with connection:
            rows = [connection.execute(statement).fetchall() for statement in statements]
        connection.close()
        return rows[-1]

    return sql


def _event(occurred_at, event_id):
    return SecurityEvent(id=event_id, kind="user_updated", occurred_at=occurred_at, details={})


def _find_problem(run, name, *words):
    """Return the result of a check that must be the only one with a problem."""
    ran = run("--json", *words)
    assert (ran.problems, ran.status) == ([name], 1)
    assert ran.failure == f"1 of {len(CHECKS)} checks found a problem. The output says what to do."
    return ran.checks[name]


@pytest.mark.usefixtures("env")
def test_healthy_installation_passes(run):
    """LO-04, DB-03."""
    ran = run("--json")
    assert (ran.status, ran.failure) == (0, "")
    assert json.loads(ran.out)["all_is_well"] is True
    assert [*ran.checks] == CHECKS
    assert ran.problems == []
    assert {result["to_do"] for result in ran.checks.values()} == {None}
    assert ran.checks["event_chain"]["found"].startswith("3 links, 0 events not linked yet")


@pytest.mark.usefixtures("env")
def test_each_check_is_a_row_of_the_table(run, sql):
    """LO-04."""
    sql("DELETE FROM signing_key")
    ran = run()
    for name in CHECKS:
        assert name.replace("_", " ") in ran.out
    assert ran.out.count("ok: ") == len(CHECKS) - 1
    assert ran.out.count("PROBLEM: none is active") == 1
    assert "Start the service" in ran.out


@pytest.mark.usefixtures("env")
def test_doctor_writes_nothing(run, settings, sql):
    """LO-04: an investigation must not leave traces."""
    before = sql("PRAGMA wal_checkpoint(TRUNCATE)"), settings.location.read_bytes()
    run("--json")
    assert (sql("PRAGMA wal_checkpoint(TRUNCATE)"), settings.location.read_bytes()) == before
    assert sql("SELECT count(*) FROM root_key") == [(1,)]


def test_journal_mode_is_reported_and_not_changed(run, settings, env, sql):
    """DB-01, LO-04."""
    env.close()
    sql("PRAGMA journal_mode = DELETE")
    before = settings.location.read_bytes()
    result = _find_problem(run, "journal_mode")
    assert result["found"] == "delete, not WAL"
    assert "local disk" in result["to_do"]
    assert settings.location.read_bytes() == before
    assert [path.name for path in settings.data_dir.glob("*.sqlite3*")] == ["oneself.sqlite3"]


def test_missing_database_is_reported_and_not_created(run, monkeypatch, tmp_path):
    """OP-04."""
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
def test_sqlite_with_the_wal_reset_bug_is_reported(run, monkeypatch, version, fixed):
    """DB-03: by its version; two older branches have the fix too."""
    monkeypatch.setattr(sqlite_driver(), "sqlite_version", version)
    if fixed:
        assert run("--json").problems == []
        return
    result = _find_problem(run, "sqlite_library")
    assert version in result["found"]
    assert "pysqlite3" in result["to_do"]


@pytest.mark.usefixtures("env")
def test_installed_sqlite_has_the_fix(run):
    """DB-03."""
    assert run("--json").checks["sqlite_library"]["ok"] is True


def test_database_without_wal_is_reported():
    """DB-01: as on a network file system; a database in memory cannot have one either."""
    engine = sqlalchemy.create_engine("sqlite://", module=sqlite_driver())
    result = checks_for(engine)["journal_mode"](engine)
    engine.dispose()
    assert (result.ok, result.found) == (False, "memory, not WAL")


@pytest.mark.usefixtures("env")
def test_damaged_file_is_reported(run, settings, sql):
    """DB-04: here one page of an index was overwritten."""
    ((page,),) = sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_refresh_token_client_id'")
    ((size,),) = sql("PRAGMA page_size")
    sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with settings.location.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    result = _find_problem(run, "integrity")
    assert "page" in result["found"].lower() or "malformed" in result["found"]


@pytest.mark.usefixtures("env")
def test_file_that_is_no_database_is_reported(run, settings, sql):
    """DB-06: the other checks still run."""
    sql("PRAGMA wal_checkpoint(TRUNCATE)")
    settings.location.write_bytes(b"no database" * 1000)
    ran = run("--json")
    assert ran.status == 1
    assert "not a database" in ran.checks["integrity"]["found"]
    assert ran.checks["tables"]["ok"] is False
    assert ran.checks["event_chain"]["found"] == "not checked"
    assert ran.checks["policies"]["ok"] is True


@pytest.mark.usefixtures("env")
def test_dangling_reference_is_reported(run, sql):
    """DB-01: SQLite enforces foreign keys only for connections that ask for it."""
    sql("INSERT INTO user_settings VALUES ('usr_0', '{}', '2026-04-05 10:00:00.000000')")
    result = _find_problem(run, "foreign_keys")
    assert result["found"] == "1 rows refer to missing rows, in: user_settings"


@pytest.mark.usefixtures("env")
def test_tables_of_another_version_are_reported(run, sql):
    """DB-15: their rows are not read."""
    sql("UPDATE alembic_version SET version_num = '0001'")
    ran = run("--json")
    assert ran.problems == ["tables", *CHECKS[6:11]]
    assert "revision 0001" in ran.checks["tables"]["found"]
    assert "db upgrade" in ran.checks["tables"]["to_do"]


def test_database_without_tables_is_reported_and_stays_empty(run, settings, sql):
    """DB-15."""
    settings.location.write_bytes(b"")
    assert "tables" in run("--json").problems
    assert sql("SELECT count(*) FROM sqlite_master") == [(0,)]


@pytest.mark.usefixtures("env")
def test_altered_tables_are_reported(run, sql):
    """DB-15: even at the right revision."""
    sql("DROP TABLE revoked_jwt")
    assert "add_table" in run("--json").checks["tables"]["found"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("table", ["security_event", "event_link", "event_seal"])
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_missing_trigger_is_reported(run, sql, table, verb):
    """LO-04: an attacker who deletes events drops it first."""
    sql(f"DROP TRIGGER {table}_no_{verb}")
    assert f"no trigger {table}_no_{verb}" in run("--json").checks["tables"]["found"]


# The keys


@pytest.mark.usefixtures("env")
def test_key_file_readable_by_others_is_reported(run, settings):
    """OP-04."""
    path = settings.data_dir / "secret.key"
    path.chmod(0o640)
    ran = run("--json")
    assert ran.checks["key_file"]["to_do"] == f"Run: chmod 600 {path}"
    assert ran.problems == CHECKS[5:11]


@pytest.mark.usefixtures("env")
def test_missing_key_file_is_reported_and_not_created(run, settings):
    """OP-04: a new one would open nothing, and hide the loss."""
    (settings.data_dir / "secret.key").unlink()
    ran = run("--json")
    assert ran.problems == CHECKS[5:11]
    assert "is missing" in ran.checks["key_file"]["found"]
    assert "Restore it from your copy" in ran.checks["key_file"]["to_do"]
    assert not (settings.data_dir / "secret.key").exists()


def test_key_file_of_an_unused_database_is_created_by_the_service(run, settings):
    """OP-04, reliability finding 9: nothing is lost."""
    ran = run("--json")
    assert ran.checks["key_file"]["to_do"] == "Start the service, which creates it."
    assert not (settings.data_dir / "secret.key").exists()


@pytest.mark.usefixtures("env")
def test_wrong_root_secret_is_reported(run, settings, sql):
    """PW-17: and is not recorded in the database."""
    (settings.data_dir / "secret.key").write_text("A" * 43 + "\n")
    ran = run("--json")
    assert ran.problems == CHECKS[6:11]
    assert ran.failure == (
        f"1 of {len(CHECKS)} checks found a problem, 4 could not run. The output says what to do."
    )
    assert [name for name, result in ran.checks.items() if result["skipped"]] == CHECKS[7:11]
    assert "not the one that this database was made with" in ran.checks["root_key"]["found"]
    assert sql("SELECT count(*) FROM root_key") == [(1,)]


@pytest.mark.usefixtures("env")
def test_malformed_key_file_is_reported_without_its_content(run, settings):
    """OP-04: it may be a secret that lacks one character."""
    (settings.data_dir / "secret.key").write_text("canary-5d41402abc4b\n")
    for ran in (run("--json"), run()):
        assert ran.status == 1
        assert "base64url" in ran.out
        assert "canary" not in ran.out + ran.failure


def test_unused_database_is_reported(run, settings, sql):
    """PW-17: it keeps the first root secret used with it, which must not be the doctor's."""
    open_keyring(settings)
    ran = run("--json")
    assert ran.problems == CHECKS[6:11]
    assert ran.checks["root_key"]["to_do"] == "Start the service once."
    assert sql("SELECT count(*) FROM root_key") == [(0,)]


def test_root_secret_in_the_environment_needs_no_key_file(run, monkeypatch, settings):
    """OP-04."""
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
def test_tampered_chain_is_reported(run, sql, statement, problem):
    """LO-04: even if the triggers were restored."""
    triggers = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    sql(
        *(f"DROP TRIGGER {name}" for name, _ in triggers),
        statement,
        *(text for _, text in triggers),
    )
    result = _find_problem(run, "event_chain")
    assert problem in result["found"]
    assert "copy of the database" in result["to_do"]


def test_unlinked_events_are_reported(run, env):
    """LO-04: the job does not run, or links were deleted."""
    with env.transaction(writing=True) as session:
        session.add(_event(session.now - timedelta(minutes=11), "event 4"))
        session.add(_event(session.now, "event 5"))
    result = _find_problem(run, "event_chain")
    assert result["found"] == "event event 4 is older than ten minutes and has no link"


@pytest.mark.usefixtures("env")
def test_unreadable_link_is_reported(run, sql):
    """LO-04."""
    sql(
        "DROP TRIGGER event_link_no_update",
        "UPDATE event_link SET key_id = CAST(x'ff' AS TEXT)",
        "CREATE TRIGGER event_link_no_update BEFORE update ON event_link"
        " BEGIN SELECT RAISE(ABORT, ''); END",
    )
    assert "The database reported" in _find_problem(run, "event_chain")["found"]


@pytest.mark.usefixtures("env")
def test_head_in_the_chain_passes(run, sql):
    """LO-04: the last one, and each before it."""
    for (digest,) in sql("SELECT chain_digest FROM event_link"):
        assert run("--json", "--head", digest.hex()).status == 0


@pytest.mark.usefixtures("env")
def test_head_missing_from_the_chain_is_reported(run, sql):
    """LO-04: the end was deleted together with its events; the rest looks intact."""
    ((digest,),) = sql("SELECT chain_digest FROM event_link WHERE sequence = 3")
    triggers = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    sql(
        *(f"DROP TRIGGER {name}" for name, _ in triggers),
        "DELETE FROM event_link WHERE sequence = 3",
        "DELETE FROM security_event WHERE id = 'event 2'",
        *(text for _, text in triggers),
    )
    assert run("--json").status == 0
    result = _find_problem(run, "event_chain", "--head", digest.hex())
    assert "events at its end were deleted" in result["found"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("head", ["", "0", "zz" * 32, "00" * 31, "00" * 33])
def test_malformed_head_is_refused(run, head):
    """LO-04: a copying error must not look like a shortened chain."""
    ran = run("--json", "--head", head)
    assert (ran.status, ran.out) == (2, "")
    assert "64 hex digits" in ran.failure


@pytest.fixture
def sql_without_triggers(sql):
    """Runs statements as an attacker who puts the triggers back."""

    def run_sql(*statements):
        triggers = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        dropped = (f"DROP TRIGGER {name}" for name, _ in triggers)
        sql(*dropped, *statements, *(text for _, text in triggers))

    return run_sql


@pytest.mark.usefixtures("env")
def test_second_run_reads_only_new_links(run, settings):
    """LO-04, reliability finding 10: and the older ones in turns; `--full` reads all."""
    assert run("--json").checks["event_chain"]["found"].startswith("3 links, 0 events")
    file = settings.data_dir / "events.verified"
    assert file.stat().st_mode & 0o777 == 0o600
    second = "0 new links and 3 older ones, 0 events not linked yet"
    assert run("--json").checks["event_chain"]["found"].startswith(second)
    assert run("--json", "--full").checks["event_chain"]["found"].startswith("3 links, 0 events")


@pytest.mark.usefixtures("env")
def test_chain_that_was_cut_off_is_reported_without_a_head(run, sql_without_triggers):
    """LO-04, reliability finding 10: the head that was verified last is gone.

    After the restoration of a backup, `--full` begins anew.
    """
    run("--json")
    sql_without_triggers(
        "DELETE FROM event_link WHERE sequence = 3",
        "DELETE FROM security_event WHERE id = 'event 2'",
    )
    result = _find_problem(run, "event_chain")
    assert result["found"] == "link 3, which was verified last time, is no longer in the chain"
    assert "doctor --full" in result["to_do"]
    assert _find_problem(run, "event_chain") == result
    assert run("--json", "--full").status == 0
    assert run("--json").status == 0


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(
    "change",
    [{"sequence": 2}, {"again": 3}, {"head": "00" * 32}, None],
    ids=["sequence", "again", "head", "malformed"],
)
def test_changed_file_of_the_last_head_is_not_believed(run, settings, sql_without_triggers, change):
    """LO-04, reliability finding 10: then all is verified, and nothing is skipped."""
    run("--json")
    file = settings.data_dir / "events.verified"
    content = json.loads(file.read_text())
    content["record"] |= change or {}
    file.write_text(json.dumps(content if change else None))
    sql_without_triggers("UPDATE security_event SET source = 'b' WHERE id = 'event 0'")
    assert "link 1 or its event" in _find_problem(run, "event_chain")["found"]


@pytest.mark.usefixtures("env")
def test_file_of_the_last_head_need_not_be_writable(run, settings, monkeypatch):
    """LO-04: the next run then reads all."""

    def fail(*_arguments):
        raise PermissionError

    monkeypatch.setattr("oneself.runtime.authentic_files.write", fail)
    for _ in range(2):
        assert run("--json").checks["event_chain"]["found"].startswith("3 links")
    assert not (settings.data_dir / "events.verified").exists()


@pytest.mark.parametrize(
    ("sealed", "ok"), [(b"content", False), (b"", True)], ids=["can be retried", "is emptied"]
)
def test_dead_mail_is_reported(run, env, sealed, ok):
    """EM-18, reliability finding 13: as long as it can be retried."""
    with env.transaction(writing=True) as session:
        session.add(
            OutboxMessage(
                id="msg_1",
                kind="password_reset",
                recipient="canary@example.com",
                parameters_sealed=sealed,
                key_id=session.keys.key_id,
                created_at=session.now - timedelta(days=2),
                due_at=session.now,
                gave_up_at=session.now - timedelta(days=1),
            )
        )
    ran = run("--json")
    assert ran.checks["outbox"]["ok"] is ok
    if not ok:
        assert ran.checks["outbox"]["found"] == "1 emails were given up within the last week"
        assert "mail list --state dead" in ran.checks["outbox"]["to_do"]
    assert "canary" not in ran.out


@pytest.mark.parametrize(
    ("minutes", "delivered", "ok"), [(9, None, True), (11, None, False), (11, 1, True)]
)
def test_overdue_mail_is_reported(run, env, minutes, delivered, ok):
    """EM-18: a message that has waited for more than ten minutes."""
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
    assert ran.checks["outbox"]["found"].startswith("1 emails") is not ok
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
def test_signing_key_is_active_within_its_period(run, sql, change, ok):
    """JW-08: a published key does not sign before and after."""
    sql(f"UPDATE signing_key SET {change}")  # noqa: S608 # test data
    assert run("--json").checks["signing_key"]["ok"] is ok


# The environment


def test_clock_behind_the_events_is_reported(run, env):
    with env.transaction(writing=True) as session:
        session.add(_event(session.now + timedelta(seconds=59), "event 4"))
    assert run("--json").problems == []
    with env.transaction(writing=True) as session:
        session.add(_event(session.now + timedelta(minutes=10), "event 5"))
    result = _find_problem(run, "clock")
    assert result["found"].endswith("seconds ahead of this machine's clock")
    assert "NTP" in result["to_do"]


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize("name", ["", "oneself.sqlite3"])
def test_data_accessible_to_others_are_reported(run, settings, name):
    """OP-04: the folder and the file, with the command that fixes it."""
    path = settings.data_dir / name
    path.chmod(path.stat().st_mode | 0o044)
    result = _find_problem(run, "disk")
    assert result["to_do"] == f"Run: chmod go= {path}"


@pytest.mark.usefixtures("env")
@pytest.mark.parametrize(("mebibytes", "ok"), [(511, False), (512, True)])
def test_nearly_full_disk_is_reported(run, monkeypatch, mebibytes, ok):
    usage = shutil._ntuple_diskusage(2**40, 2**40, mebibytes * 2**20)  # noqa: SLF001 # the type of its result
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    result = run("--json").checks["disk"]
    assert (result["ok"], f"{mebibytes} MiB free" in result["found"]) == (ok, True)


def test_free_space_must_fit_a_copy_of_the_database(monkeypatch, settings):
    """Every migration starts with a copy; this file has 600 MiB and no content."""
    os.truncate(settings.location, 600 * 2**20)
    usage = shutil._ntuple_diskusage(2**40, 2**40, 550 * 2**20)  # noqa: SLF001 # the type of its result
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    found = disk(settings).found
    assert found.startswith("550 MiB free")
    assert found.endswith("at least 600 MiB are needed")


def test_read_only_folder_is_reported(settings, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert disk(settings).found == f"{settings.data_dir} is not writable"


def test_missing_folder_is_checked_at_its_parent(tmp_path, monkeypatch):
    """With PostgreSQL, the first email creates it."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "not" / "there"))
    monkeypatch.setenv("ONESELF_DATABASE_URL", "postgresql+psycopg:///oneself")
    result = disk(Settings())
    assert result.ok
    assert result.found.endswith(f"MiB free at {tmp_path}")


@pytest.mark.usefixtures("env")
def test_unreachable_mail_server_is_reported(run, monkeypatch):
    """By host and port, without user and password."""
    monkeypatch.setenv("ONESELF_SMTP_URL", "smtp://canary:canary@127.0.0.1:9")
    result = _find_problem(run, "mail_server")
    assert result["found"].startswith("127.0.0.1, port 9: The server cannot be reached")
    assert "canary" not in str(result)
    monkeypatch.setenv("ONESELF_SMTP_URL", "canary://127.0.0.1")
    assert "must be smtp://" in _find_problem(run, "mail_server")["found"]


@pytest.mark.usefixtures("env")
def test_broken_mail_template_is_reported(run, monkeypatch, tmp_path):
    (tmp_path / "texts" / "mail").mkdir(parents=True)
    (tmp_path / "texts" / "mail" / "layout.html.j2").write_text("{% if")
    monkeypatch.setenv("ONESELF_TEMPLATE_DIR", str(tmp_path / "texts"))
    assert "Correct the template, or delete it" in _find_problem(run, "mail_server")["found"]


@pytest.mark.usefixtures("env")
def test_unsafe_settings_are_reported(run, monkeypatch):
    monkeypatch.setenv("ONESELF_PUBLIC_URL", "https://account.example.com")
    result = _find_problem(run, "settings")
    assert "ONESELF_TRUSTED_PROXIES" in result["found"]
    assert "ONESELF_SMTP_URL" in result["to_do"]


# The policies


@pytest.mark.usefixtures("env")
def test_invalid_policies_are_reported(run, monkeypatch, tmp_path):
    """AZ-03."""
    folder = tmp_path / "policies"
    folder.mkdir()
    monkeypatch.setenv("ONESELF_POLICY_DIR", str(folder))
    assert "no *.cedar file" in _find_problem(run, "policies")["found"]
    (folder / "a.cedar").write_text("permit (")
    result = _find_problem(run, "policies")
    assert "a.cedar" in result["found"]
    assert str(folder) in result["to_do"]


@pytest.mark.usefixtures("env")
def test_defect_is_raised(run, sql):
    """OP-05: an unexpected error must not look like something an operator can fix."""
    sql("UPDATE root_key SET check_value = 'no bytes'")
    with pytest.raises(TypeError):
        run("--json")


def test_doctor_runs_beside_a_writer(run, env):
    """DB-05: it only reads, and blocks no writer."""
    with env.transaction(writing=True) as session:
        session.add(_event(session.now, "event 6"))
        session.flush()
        ran = run("--json")
    assert (ran.status, ran.problems) == (0, [])


@pytest.mark.parametrize(
    ("hard", "is_ok"), [(524_288, True), (-1, True), (1184, True), (1183, False)]
)
def test_low_limit_of_open_files_is_reported(settings, monkeypatch, hard, is_ok):
    """HT-08, attack finding 13: with the setting of systemd, containers and shells."""
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (256, hard))
    result = descriptors(settings)
    assert result.ok is is_ok
    if not is_ok:
        assert "1,023 connections" in result.found
        assert "LimitNOFILE=65536" in result.to_do
