"""The `keys` commands: what each does, prints, and exits with."""

import base64
import errno
import json
import os
import sys

import pytest

from accounts.crypto.keyring import Keyring
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits
from accounts.services.authentication import authenticate
from accounts.services.principal import CredentialKind, Presented
from oneself import commands
from oneself.database import Database, sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import CommandResult

ONE, TWO = b"1" * 32, b"2" * 32
PASSWORD = "Violet tangent 47 harbour"
EMAIL = "carol@example.com"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Returns the data folder of the settings, which will have a database and a key file."""
    for name in ("SECRET_KEY", "SECRET_KEY_FORMER", "DATABASE_URL"):
        monkeypatch.delenv(f"ONESELF_{name}", raising=False)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


@pytest.fixture
def run(folder, monkeypatch, capsys):  # noqa: ARG001 # used through the settings
    """Runs a command line as `python -m oneself` does."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def demo(run):
    """Creates the demo: users with every kind of credential."""
    return run("demo", "--json").json


@pytest.fixture
def sql(folder):
    """Runs a statement on the file, bypassing the commands."""

    def sql(statement):
        connection = sqlite_driver().connect(folder / "oneself.sqlite3")
        with connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return sql


@pytest.fixture
def set_root_secrets(monkeypatch):
    """Sets root secrets in the environment, the present one and former ones."""

    def set_root_secrets(present, *former):
        encoded = [base64.urlsafe_b64encode(root).decode() for root in (present, *former)]
        monkeypatch.setenv("ONESELF_SECRET_KEY", encoded[0])
        monkeypatch.setenv("ONESELF_SECRET_KEY_FORMER", ",".join(encoded[1:]))

    return set_root_secrets


def _ids(*roots):
    return [Keyring(root).key_id for root in roots]


def _states(run):
    return {root["key_id"]: root["state"] for root in run("keys", "list", "--json").json["roots"]}


def _live(run, key_id):
    roots = run("keys", "list", "--json").json["roots"]
    return next(root["live_rows"] for root in roots if root["key_id"] == key_id)


def _with_database(work):
    settings = Settings()
    database = Database(settings.location, keys=open_keyring(settings), limits=Limits())
    try:
        with database.transaction(writing=True) as session:
            return work(session)
    finally:
        database.close()


def _authenticate(kind, token):
    return _with_database(lambda session: authenticate(session, Presented(kind, token)))


def _rotate(run):
    """Rotate the root secret; return the ids of the former and the new one."""
    [former] = _states(run)
    new = run("keys", "rotate", "root", "--json").json["key_id"]
    run("keys", "rotate", "root", "--restarted", "--json")
    return former, new


@pytest.mark.parametrize(
    "words",
    [["list"], ["rotate"], ["rotate", "root"], ["rotate", "signing"], ["rewrite"], ["retire"]],
    ids=" ".join,
)
def test_every_command_has_help(run, folder, words):
    """Without creating anything."""
    ran = run("keys", *words, "--help")
    assert ran.status == 0
    assert " ".join(["Usage: python -m oneself keys", *words]) in ran.out
    assert not folder.exists()


@pytest.mark.parametrize(
    "words", [["list"], ["rotate", "root"], ["rotate", "signing"], ["rewrite"], ["retire", "00"]]
)
def test_missing_database_is_not_created(run, folder, words):
    """Nor is a key file."""
    assert run("keys", *words, "--json").refused("There is no database at")
    assert not folder.exists()


def test_list_shows_roots_and_signing_keys(run, demo):
    """TK-07: by their ids, with the rows under each, and no secret."""
    assert demo
    made = run("keys", "rotate", "signing", "--json").json
    listed = run("keys", "list", "--json").json
    [root] = listed["roots"]
    keys = open_keyring(Settings())
    assert (root["key_id"], root["state"]) == (keys.key_id, "present")
    assert root["since"].endswith("+00:00")
    assert root["live_rows"]["access_token"] == len(demo)
    newest = listed["signing_keys"][-1]
    assert newest["kid"] == made["kid"]
    assert newest["signs_from"] == made["signs_from"] > newest["created_at"]
    assert newest["retires_at"] is None


def test_list_is_a_table_for_each_key(run, demo):
    assert demo
    signing = run("keys", "rotate", "signing", "--json").json["kid"]
    ran = run("keys", "list")
    assert f"root secret {open_keyring(Settings()).key_id}" in ran.out
    assert "signing key 1" in ran.out
    assert signing in ran.out
    assert "live access token" in ran.out


def test_rotated_signing_key_replaces_the_former(run, demo, sql):
    """TK-07, JW-08: the former one retires, and a retired one is deleted."""
    assert demo
    first = run("keys", "rotate", "signing", "--json").json["kid"]
    second = run("keys", "rotate", "signing", "--json").json
    assert sql("SELECT kid FROM signing_key WHERE retires_at IS NULL") == [(second["kid"],)]
    sql(f"UPDATE signing_key SET retires_at = '2020-01-01' WHERE kid = '{first}'")  # noqa: S608 # test data
    third = run("keys", "rotate", "signing", "--json").json
    assert third["forgotten"] == 1
    assert sql(f"SELECT * FROM signing_key WHERE kid = '{first}'") == []  # noqa: S608 # as above


def test_root_is_known_before_it_is_used(run, demo, sql):
    """TK-07: a service that was not restarted between the two steps can read every row."""
    [former] = _states(run)
    added = run("keys", "rotate", "root", "--json").json
    assert added["state"] == "unused"
    assert _states(run) == {former: "present", added["key_id"]: "unused"}
    assert sql("SELECT key_id FROM root_key") == [(former,)]
    used = run("keys", "rotate", "root", "--restarted", "--json").json
    assert used == {"key_id": added["key_id"], "state": "present"}
    assert sql("SELECT key_id FROM root_key ORDER BY created_at") == [(former,), (used["key_id"],)]
    assert _states(run) == {used["key_id"]: "present", former: "former"}
    assert _authenticate(CredentialKind.ACCESS_TOKEN, demo["base"]["access_token"])


def test_second_step_must_be_confirmed(run, demo, folder):
    """TK-07: a service that does not know the new root could not read new rows."""
    assert demo
    run("keys", "rotate", "root")
    before = (folder / "secret.key").read_text()
    assert run("keys", "rotate", "root").refused("Restart each service", "--restarted")
    assert (folder / "secret.key").read_text() == before


def test_second_step_without_a_first_is_refused(run, demo, folder):
    """TK-07."""
    assert demo
    before = (folder / "secret.key").read_text()
    assert run("keys", "rotate", "root", "--restarted").refused("rotate root", status=2)
    assert (folder / "secret.key").read_text() == before


@pytest.mark.parametrize("steps", [[()], [(), ("--restarted",)]], ids=["add", "use"])
def test_full_disk_leaves_the_key_file_unchanged(run, demo, folder, monkeypatch, steps):
    """OP-04, DB-06: in both steps, without a temporary file."""
    assert demo

    def be_full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    *done, last = [("keys", "rotate", "root", *words) for words in steps]
    for words in done:
        run(*words)
    before = _files(folder)
    monkeypatch.setattr(os, "fsync", be_full)
    assert run(*last).refused("secret.", "No space left on device. Free some space")
    assert _files(folder) == before


def _files(folder):
    return sorted(path.name for path in folder.iterdir()), (folder / "secret.key").read_text()


@pytest.mark.parametrize("options", [[], ["--restarted"]])
def test_both_steps_print_the_next_step(run, demo, options):
    assert demo
    if options:
        run("keys", "rotate", "root")
    out = " ".join(run("keys", "rotate", "root", *options).out.split())
    assert "Restart each" in out
    assert ("keys rewrite" if options else "rotate root --restarted") in out


def test_no_secret_is_printed(run, demo, folder):
    """LO-01."""
    assert demo
    printed = [run("keys", "rotate", "root"), run("keys", "rotate", "root")]
    printed += [run("keys", "rotate", "root", "--restarted"), run("keys", "list")]
    [_, former] = open_keyring(Settings()).key_ids
    secrets = (folder / "secret.key").read_text().split()
    printed += [run("keys", "rewrite"), run("keys", "retire", former, "--revoke")]
    for ran in printed:
        for secret in secrets:
            assert secret[-20:] not in ran.out + ran.err


def test_root_in_the_environment_is_not_rotated(run, set_root_secrets, folder, monkeypatch):
    """TK-07: the message names the variables to set, and no key file is created."""
    set_root_secrets(ONE)
    monkeypatch.delenv("ONESELF_SECRET_KEY_FORMER")
    run("demo", "--json")
    for options in ([], ["--restarted"]):
        assert run("keys", "rotate", "root", *options).refused(
            "ONESELF_SECRET_KEY_FORMER", "keys rewrite"
        )
    assert not (folder / "secret.key").exists()


def test_environment_rotation_over_replicas(run, set_root_secrets, folder):
    """TK-07: known everywhere first, then used, rewritten, retired, removed."""
    former, new = _ids(ONE, TWO)
    set_root_secrets(ONE)
    owner = run("demo", "--json").json["base"]
    set_root_secrets(ONE, TWO)
    assert _states(run) == {former: "present", new: "unused"}
    set_root_secrets(TWO, ONE)
    assert _states(run) == {new: "present", former: "former"}
    assert run("keys", "rewrite", "--json").json["rewritten"] > 0
    retired = run("keys", "retire", former, "--revoke")
    assert "Remove it from ONESELF_SECRET_KEY_FORMER" in retired.out
    set_root_secrets(TWO)
    assert _states(run) == {new: "present"}
    assert _authenticate(CredentialKind.ACCESS_TOKEN, owner["access_token"])
    assert not (folder / "secret.key").exists()


def test_rewrite_leaves_no_row_sealed_under_the_former_root(run, demo, sql):
    """TK-07: a second run has nothing to do."""
    former, new = _rotate(run)
    assert "access_token" in _live(run, former)
    rewritten = run("keys", "rewrite", "--json").json
    assert rewritten["rewritten"] >= len(demo)
    assert rewritten["unreadable"] == []
    assert sql("SELECT DISTINCT key_id FROM access_token") == [(new,)]
    assert not {"access_token", "outbox_message", "signing_key"} & set(_live(run, former))
    assert run("keys", "rewrite", "--json").json == {"rewritten": 0, "unreadable": []}


def test_unreadable_row_is_named_and_exits_with_1(run, demo, sql):
    """TK-05, TK-07: the other rows are rewritten."""
    _, new = _rotate(run)
    [(broken,)] = sql("SELECT min(user_id) FROM access_token")
    sql(f"UPDATE access_token SET token_sealed = x'01' WHERE user_id = '{broken}'")  # noqa: S608 # test data
    ran = run("keys", "rewrite", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["unreadable"] == [{"table": "access_token", "id": broken}]
    assert "1 rows cannot be decrypted" in ran.err
    [(left,)] = sql(f"SELECT count(*) FROM access_token WHERE key_id = '{new}'")  # noqa: S608 # test data
    assert left == len(demo) - 1


def test_root_with_live_rows_is_retired_only_with_revoke(run, demo, folder):
    """TK-07: the output counts the rows by kind, before and after."""
    former, new = _rotate(run)
    before = (folder / "secret.key").read_text()
    live = {
        name: rows
        for name, rows in _live(run, former).items()
        if name not in {"access_token", "outbox_message", "signing_key"}
    }
    assert live["password_record"] > 1
    assert run("keys", "retire", former).refused(
        *(f"{rows} {name}" for name, rows in live.items()), f"retire {former} --revoke"
    )
    assert (folder / "secret.key").read_text() == before
    owner = demo["base"]
    assert _authenticate(CredentialKind.SESSION, owner["session_token"])
    retired = run("keys", "retire", former, "--revoke", "--json").json
    assert retired == {"key_id": former, "ended": live, "kept_for_links": 0}
    assert _states(run) == {new: "present"}
    assert len((folder / "secret.key").read_text().splitlines()) == 1
    assert _authenticate(CredentialKind.ACCESS_TOKEN, owner["access_token"])


def test_password_is_rehashed_at_the_next_login(run, demo):
    """PW-15: so that the former root is free in the end."""
    former, new = _rotate(run)
    before = _live(run, former)["password_record"]
    owner = demo["base"]
    _with_database(
        lambda session: log_in(
            session, email=owner["email"], password=owner["password"], user_agent=None
        )
    )
    assert _live(run, former)["password_record"] == before - 1
    assert _live(run, new)["password_record"] == 1


@pytest.fixture
def event_link(demo, sql):
    """Adds a link of the chain of events, under the first root."""
    assert demo
    sql(
        "INSERT INTO event_link SELECT 1, 'an event', x'00', key_id, created_at FROM root_key"
        " LIMIT 1"
    )


@pytest.mark.usefixtures("event_link")
def test_links_are_counted_apart_from_live_rows(run, sql):
    """TK-07: they do not block a retirement."""
    former, _ = _rotate(run)
    sql("UPDATE password_record SET record = '!'")
    sql("UPDATE client SET is_public = true")
    for table in ("login_session", "api_key", "personal_access_token", "refresh_token"):
        sql(f"UPDATE {table} SET revoked_at = created_at")  # noqa: S608 # from the list above
    sql("UPDATE one_time_secret SET used_at = created_at")
    run("keys", "rewrite")
    [root] = [
        each for each in run("keys", "list", "--json").json["roots"] if each["key_id"] == former
    ]
    assert (root["live_rows"], root["event_links"]) == ({}, 1)
    assert "event links" in run("keys", "list").out
    assert run("keys", "retire", former, "--json").json["kept_for_links"] == 1


@pytest.mark.usefixtures("event_link")
def test_root_with_links_is_kept_in_the_key_file(run, folder):
    """LO-04: it verifies the chain and opens nothing; a second retirement is refused."""
    former, new = _rotate(run)
    retired = run("keys", "retire", former, "--revoke", "--json").json
    assert retired["kept_for_links"] == 1
    assert _states(run) == {new: "present", former: "events"}
    assert (folder / "secret.key").read_text().splitlines()[1].startswith("events:")
    assert run("keys", "retire", former).refused("no former root secret", status=2)


@pytest.mark.usefixtures("demo")
def test_root_with_links_is_kept_in_the_environment(
    run, set_root_secrets, sql, monkeypatch, folder
):
    """LO-04: the message says what to set; without it the start is refused."""
    (folder / "oneself.sqlite3").unlink()
    set_root_secrets(ONE)
    run("demo", "--json")
    sql("INSERT INTO event_link SELECT 1, 'e', x'00', key_id, created_at FROM root_key")
    set_root_secrets(TWO, ONE)
    former, new = _ids(ONE, TWO)
    retired = run("keys", "retire", former, "--revoke")
    assert "Put events: before it in ONESELF_SECRET_KEY_FORMER" in retired.out
    set_root_secrets(TWO)
    assert run("keys", "list").refused(former)
    encoded = base64.urlsafe_b64encode(ONE).decode()
    monkeypatch.setenv("ONESELF_SECRET_KEY_FORMER", f"events:{encoded}")
    assert _states(run) == {new: "present", former: "events"}


@pytest.mark.usefixtures("demo")
def test_unused_root_can_be_removed(run):
    """TK-07."""
    [present] = _states(run)
    added = run("keys", "rotate", "root", "--json").json["key_id"]
    run("keys", "retire", added, "--json")
    assert _states(run) == {present: "present"}


@pytest.mark.usefixtures("demo")
def test_present_or_unknown_root_is_not_retired(run, folder):
    """TK-07."""
    [present] = _states(run)
    before = _live(run, present), (folder / "secret.key").read_text()
    assert run("keys", "retire", present, "--revoke").refused("rotate root", status=2)
    assert run("keys", "retire", "00000000", "--revoke").refused("keys list", status=2)
    assert (_live(run, present), (folder / "secret.key").read_text()) == before


@pytest.mark.usefixtures("demo")
def test_interrupted_retirement_can_be_finished(run, folder):
    """TK-07: the root is already deleted in the database, but not in the key file."""
    former, new = _rotate(run)
    before = (folder / "secret.key").read_text()
    run("keys", "retire", former, "--revoke", "--json")
    (folder / "secret.key").write_text(before)
    assert _states(run) == {new: "present", former: "unused"}
    assert run("keys", "rotate", "root", "--restarted").refused("no new root", status=2)
    run("keys", "retire", former, "--json")
    assert _states(run) == {new: "present"}
