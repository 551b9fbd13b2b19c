"""The commands of the keys: what each does, says, and exits with."""

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
from tests.support.commands import Ran

ONE, TWO = b"1" * 32, b"2" * 32
PASSWORD = "Violet tangent 47 harbour"
EMAIL = "carol@example.com"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The data folder of the settings, with a database and a key file."""
    for name in ("SECRET_KEY", "SECRET_KEY_FORMER", "DATABASE_URL"):
        monkeypatch.delenv(f"ONESELF_{name}", raising=False)
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


@pytest.fixture
def run(folder, monkeypatch, capsys):  # noqa: ARG001 # it is what the settings name
    """Runs a command line as `python -m oneself` does."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return Ran(ended.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def people(run):
    """The demo: people with every kind of credential."""
    return run("demo", "--json").json


@pytest.fixture
def sql(folder):
    """Runs a statement behind the back of the commands."""

    def sql(statement):
        connection = sqlite_driver().connect(folder / "oneself.sqlite3")
        with connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return sql


@pytest.fixture
def in_the_environment(monkeypatch):
    """Gives the service root secrets in the environment, the present one and former ones."""

    def in_the_environment(present, *former):
        written = [base64.urlsafe_b64encode(root).decode() for root in (present, *former)]
        monkeypatch.setenv("ONESELF_SECRET_KEY", written[0])
        monkeypatch.setenv("ONESELF_SECRET_KEY_FORMER", ",".join(written[1:]))

    return in_the_environment


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


def _recognised(kind, token):
    return _with_database(lambda session: authenticate(session, Presented(kind, token)))


def _rotated(run):
    """A root that was replaced, and the one that was."""
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
    """With a sentence of its own, and without making anything."""
    helped = run("keys", *words, "--help")
    assert helped.status == 0
    assert " ".join(["Usage: python -m oneself keys", *words]) in helped.out
    assert not folder.exists()


@pytest.mark.parametrize(
    "words", [["list"], ["rotate", "root"], ["rotate", "signing"], ["rewrite"], ["retire", "00"]]
)
def test_a_database_that_is_not_there_is_not_made_by_these(run, folder, words):
    """Nor is a key file."""
    assert run("keys", *words, "--json").refused("There is no database at")
    assert not folder.exists()


def test_the_list_names_roots_and_signing_keys(run, people):
    """TK-07: by their ids, with what is stored under each, and no secret."""
    assert people
    made = run("keys", "rotate", "signing", "--json").json
    listed = run("keys", "list", "--json").json
    [root] = listed["roots"]
    keys = open_keyring(Settings())
    assert (root["key_id"], root["state"]) == (keys.key_id, "present")
    assert root["since"].endswith("+00:00")
    assert root["live_rows"]["access_token"] == len(people)
    newest = listed["signing_keys"][-1]
    assert newest["kid"] == made["kid"]
    assert newest["signs_from"] == made["signs_from"] > newest["created_at"]
    assert newest["retires_at"] is None


def test_the_list_is_a_table_for_people(run, people):
    """One for each key."""
    assert people
    signing = run("keys", "rotate", "signing", "--json").json["kid"]
    ran = run("keys", "list")
    assert f"root secret {open_keyring(Settings()).key_id}" in ran.out
    assert "signing key 1" in ran.out
    assert signing in ran.out
    assert "live access token" in ran.out


def test_a_rotated_signing_key_replaces_the_one_before(run, people, sql):
    """TK-07, JW-08: the former one retires, and one that has retired is forgotten."""
    assert people
    first = run("keys", "rotate", "signing", "--json").json["kid"]
    second = run("keys", "rotate", "signing", "--json").json
    assert sql("SELECT kid FROM signing_key WHERE retires_at IS NULL") == [(second["kid"],)]
    sql(f"UPDATE signing_key SET retires_at = '2020-01-01' WHERE kid = '{first}'")  # noqa: S608 # a test's
    third = run("keys", "rotate", "signing", "--json").json
    assert third["forgotten"] == 1
    assert sql(f"SELECT * FROM signing_key WHERE kid = '{first}'") == []  # noqa: S608 # as above


def test_a_root_is_known_before_it_is_used(run, people, sql):
    """TK-07: between the two steps a service that was not restarted can read every row."""
    [former] = _states(run)
    added = run("keys", "rotate", "root", "--json").json
    assert added["state"] == "unused"
    assert _states(run) == {former: "present", added["key_id"]: "unused"}
    assert sql("SELECT key_id FROM root_key") == [(former,)]
    used = run("keys", "rotate", "root", "--restarted", "--json").json
    assert used == {"key_id": added["key_id"], "state": "present"}
    assert sql("SELECT key_id FROM root_key ORDER BY created_at") == [(former,), (used["key_id"],)]
    assert _states(run) == {used["key_id"]: "present", former: "former"}
    assert _recognised(CredentialKind.ACCESS_TOKEN, people["base"]["access_token"])


def test_the_second_step_is_never_taken_by_chance(run, people, folder):
    """TK-07: a service that does not know the new root could not read what the others store."""
    assert people
    run("keys", "rotate", "root")
    before = (folder / "secret.key").read_text()
    assert run("keys", "rotate", "root").refused("Restart each service", "--restarted")
    assert (folder / "secret.key").read_text() == before


def test_there_is_no_second_step_without_a_first(run, people, folder):
    """TK-07: nothing is changed by it."""
    assert people
    before = (folder / "secret.key").read_text()
    assert run("keys", "rotate", "root", "--restarted").refused("rotate root", status=2)
    assert (folder / "secret.key").read_text() == before


@pytest.mark.parametrize("steps", [[()], [(), ("--restarted",)]], ids=["add", "use"])
def test_a_full_disk_leaves_the_key_file_as_it_is(run, people, folder, monkeypatch, steps):
    """OP-04, DB-06: and nothing of another beside it, whichever step it is."""
    assert people

    def be_full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    *done, last = [("keys", "rotate", "root", *words) for words in steps]
    for words in done:
        run(*words)
    before = _files(folder)
    monkeypatch.setattr(os, "fsync", be_full)
    assert run(*last).refused("secret.", "No space left on device. Make room")
    assert _files(folder) == before


def _files(folder):
    return sorted(path.name for path in folder.iterdir()), (folder / "secret.key").read_text()


@pytest.mark.parametrize("options", [[], ["--restarted"]])
def test_both_steps_say_what_comes_next(run, people, options):
    """For an operator who does this once a year."""
    assert people
    if options:
        run("keys", "rotate", "root")
    ran = run("keys", "rotate", "root", *options)
    assert "Restart each" in ran.out
    assert ("keys rewrite" if options else "rotate root --restarted") in ran.out.replace("\n", " ")


def test_no_secret_is_ever_printed(run, people, folder):
    """LO-01: whatever is done with roots."""
    assert people
    printed = [run("keys", "rotate", "root"), run("keys", "rotate", "root")]
    printed += [run("keys", "rotate", "root", "--restarted"), run("keys", "list")]
    [_, former] = open_keyring(Settings()).key_ids
    written = (folder / "secret.key").read_text().split()
    printed += [run("keys", "rewrite"), run("keys", "retire", former, "--revoke")]
    for ran in printed:
        for secret in written:
            assert secret[-20:] not in ran.out + ran.err


def test_with_a_root_in_the_environment_nothing_is_changed(
    run, in_the_environment, folder, monkeypatch
):
    """TK-07: it says which variables to set, and makes no key file beside them."""
    in_the_environment(ONE)
    monkeypatch.delenv("ONESELF_SECRET_KEY_FORMER")
    run("demo", "--json")
    for options in ([], ["--restarted"]):
        assert run("keys", "rotate", "root", *options).refused(
            "ONESELF_SECRET_KEY_FORMER", "keys rewrite"
        )
    assert not (folder / "secret.key").exists()


def test_a_rotation_over_replicas_with_the_environment(run, in_the_environment, folder):
    """TK-07: known everywhere first, then used, rewritten, retired, taken out."""
    one, two = _ids(ONE, TWO)
    in_the_environment(ONE)
    owner = run("demo", "--json").json["base"]
    in_the_environment(ONE, TWO)
    assert _states(run) == {one: "present", two: "unused"}
    in_the_environment(TWO, ONE)
    assert _states(run) == {two: "present", one: "former"}
    assert run("keys", "rewrite", "--json").json["rewritten"] > 0
    retired = run("keys", "retire", one, "--revoke")
    assert "Take it out of ONESELF_SECRET_KEY_FORMER" in retired.out
    in_the_environment(TWO)
    assert _states(run) == {two: "present"}
    assert _recognised(CredentialKind.ACCESS_TOKEN, owner["access_token"])
    assert not (folder / "secret.key").exists()


def test_rewriting_leaves_nothing_sealed_under_the_former_root(run, people, sql):
    """TK-07: and a second time there is nothing to do."""
    former, new = _rotated(run)
    assert "access_token" in _live(run, former)
    rewritten = run("keys", "rewrite", "--json").json
    assert rewritten["rewritten"] >= len(people)
    assert rewritten["unreadable"] == []
    assert sql("SELECT DISTINCT key_id FROM access_token") == [(new,)]
    assert not {"access_token", "outbox_message", "signing_key"} & set(_live(run, former))
    assert run("keys", "rewrite", "--json").json == {"rewritten": 0, "unreadable": []}


def test_what_cannot_be_opened_is_named_and_exits_with_1(run, people, sql):
    """TK-05, TK-07: the run goes on with the rest."""
    _, new = _rotated(run)
    [(broken,)] = sql("SELECT min(user_id) FROM access_token")
    sql(f"UPDATE access_token SET token_sealed = x'01' WHERE user_id = '{broken}'")  # noqa: S608 # a test's
    ran = run("keys", "rewrite", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["unreadable"] == [{"table": "access_token", "id": broken}]
    assert "1 rows cannot be opened" in ran.err
    [(left,)] = sql(f"SELECT count(*) FROM access_token WHERE key_id = '{new}'")  # noqa: S608 # a test's
    assert left == len(people) - 1


def test_a_root_with_live_rows_is_retired_by_revoking_them_only(run, people, folder):
    """TK-07: it says how many of what kind, and then what it has ended."""
    former, new = _rotated(run)
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
    owner = people["base"]
    assert _recognised(CredentialKind.SESSION, owner["session_token"])
    retired = run("keys", "retire", former, "--revoke", "--json").json
    assert retired == {"key_id": former, "ended": live, "kept_for_links": 0}
    assert _states(run) == {new: "present"}
    assert len((folder / "secret.key").read_text().splitlines()) == 1
    assert _recognised(CredentialKind.ACCESS_TOKEN, owner["access_token"])


def test_a_password_is_stored_anew_at_the_next_login(run, people):
    """PW-15: so that a root is free in the end, without anybody noticing."""
    former, new = _rotated(run)
    before = _live(run, former)["password_record"]
    owner = people["base"]
    _with_database(
        lambda session: log_in(
            session, email=owner["email"], password=owner["password"], user_agent=None
        )
    )
    assert _live(run, former)["password_record"] == before - 1
    assert _live(run, new)["password_record"] == 1


@pytest.fixture
def linked(people, sql):
    """A link of the chain of events, under the first root."""
    assert people
    sql(
        "INSERT INTO event_link SELECT 1, 'an event', x'00', key_id, created_at FROM root_key"
        " LIMIT 1"
    )


@pytest.mark.usefixtures("linked")
def test_links_are_listed_apart_from_what_is_live(run, sql):
    """TK-07: else nobody would ever see that a former root can be retired."""
    former, _ = _rotated(run)
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


@pytest.mark.usefixtures("linked")
def test_a_root_with_links_is_kept_for_them_in_the_key_file(run, folder):
    """LO-04: it verifies the chain, opens nothing, and can be retired again to no effect."""
    former, new = _rotated(run)
    retired = run("keys", "retire", former, "--revoke", "--json").json
    assert retired["kept_for_links"] == 1
    assert _states(run) == {new: "present", former: "events"}
    assert (folder / "secret.key").read_text().splitlines()[1].startswith("events:")
    assert run("keys", "retire", former).refused("no former root secret", status=2)


@pytest.mark.usefixtures("people")
def test_a_root_with_links_is_kept_for_them_in_the_environment(
    run, in_the_environment, sql, monkeypatch, folder
):
    """LO-04: it says what to write, and refuses to start without it."""
    (folder / "oneself.sqlite3").unlink()
    in_the_environment(ONE)
    run("demo", "--json")
    sql("INSERT INTO event_link SELECT 1, 'e', x'00', key_id, created_at FROM root_key")
    in_the_environment(TWO, ONE)
    one, two = _ids(ONE, TWO)
    retired = run("keys", "retire", one, "--revoke")
    assert "Put events: before it in ONESELF_SECRET_KEY_FORMER" in retired.out
    in_the_environment(TWO)
    assert run("keys", "list").refused(one)
    written = base64.urlsafe_b64encode(ONE).decode()
    monkeypatch.setenv("ONESELF_SECRET_KEY_FORMER", f"events:{written}")
    assert _states(run) == {two: "present", one: "events"}


@pytest.mark.usefixtures("people")
def test_an_unused_root_can_be_taken_back(run):
    """TK-07: before anything is stored under it, and without a trace."""
    [present] = _states(run)
    added = run("keys", "rotate", "root", "--json").json["key_id"]
    run("keys", "retire", added, "--json")
    assert _states(run) == {present: "present"}


@pytest.mark.usefixtures("people")
def test_the_present_root_and_an_unknown_one_are_not_retired(run, folder):
    """TK-07: nothing is ended."""
    [present] = _states(run)
    before = _live(run, present), (folder / "secret.key").read_text()
    assert run("keys", "retire", present, "--revoke").refused("rotate root", status=2)
    assert run("keys", "retire", "00000000", "--revoke").refused("keys list", status=2)
    assert (_live(run, present), (folder / "secret.key").read_text()) == before


@pytest.mark.usefixtures("people")
def test_a_retirement_that_a_crash_cut_short_can_be_finished(run, folder):
    """TK-07: the database has forgotten the root, and the key file not yet."""
    former, new = _rotated(run)
    before = (folder / "secret.key").read_text()
    run("keys", "retire", former, "--revoke", "--json")
    (folder / "secret.key").write_text(before)
    assert _states(run) == {new: "present", former: "unused"}
    assert run("keys", "rotate", "root", "--restarted").refused("no new root", status=2)
    run("keys", "retire", former, "--json")
    assert _states(run) == {new: "present"}
