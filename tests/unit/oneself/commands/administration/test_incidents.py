"""Commands for an account under attack and a client whose secret leaked."""

import io
import json
import sys

import pytest

from accounts.services.attempts import digests_of
from oneself import commands
from oneself.database import sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import CommandResult

EMAIL = "carol@example.com"
PASSWORD = "Violet tangent 47 harbour"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command line as `python -m oneself` does."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def tenant_id(run):
    return run("tenant", "add", "Example", "--json").json["tenant_id"]


@pytest.fixture
def user_id(run, tenant_id):
    words = ("--tenant", tenant_id, "--name", "Carol Diaz", "--password-stdin", "--json")
    return run("user", "add", EMAIL, *words, stdin=PASSWORD).json["user_id"]


@pytest.fixture
def demo(run):
    """A user with every kind of credential."""
    return run("demo", "--json").json["base"]


def test_users_are_listed_one_a_line(run, user_id):
    """Attack finding 10: for grep, and without a secret."""
    listed = run("user", "list", "--json").json["users"]
    assert [user["user_id"] for user in listed] == [user_id]
    header, line = run("user", "list").out.splitlines()
    assert header.split()[:3] == ["user_id", "tenant_id", "email"]
    assert line.split()[0] == user_id
    assert EMAIL in line
    assert run("user", "list", "--search", "nobody", "--json").json == {"users": []}
    assert (
        run("user", "list", "--search", "CAROL", "--limit", "1", "--json").json["users"] == listed
    )
    assert run("user", "list", "--limit", "0").status == 2


def test_line_has_no_control_character(run, tenant_id):
    """LO-05: a name must not move the cursor; a line break in it does not begin another line."""
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    client_id = run("client", "add", "ci", *words).json["client_id"]
    connection = sqlite_driver().connect(Settings().location)
    with connection:
        connection.execute("UPDATE client SET name = 'a' || char(27) || '[31m' || char(10) || 'b'")
    connection.close()
    _, line = run("client", "list", "--tenant", tenant_id).out.splitlines()
    assert line.split()[:2] == [client_id, "a?[31m?b"]


@pytest.mark.parametrize("by_id", [False, True])
def test_user_is_shown_with_events(run, user_id, by_id):
    """Attack finding 10: addresses, credentials and what happened."""
    name = user_id if by_id else EMAIL
    shown = run("user", "show", name, "--json").json
    assert shown["user_id"] == user_id
    assert (shown["email"], shown["claimed_email"]) == (EMAIL, None)
    assert (shown["email_verified"], shown["disabled_at"]) == (False, None)
    assert shown["live_sessions"] == shown["live_api_keys"] == 0
    assert [event["kind"] for event in shown["events"]] == ["user_created"]
    assert "user_created" in run("user", "show", name).out
    assert run("user", "show", "dave@example.com").refused("no user dave@example.com", "user list")


def test_disabled_user_is_enabled(run, user_id):
    """Attack finding 10."""
    for word, disabled in (("disable", True), ("enable", False), ("enable", False)):
        changed = run("user", word, EMAIL, "--json").json
        assert (changed["user_id"], changed["disabled"]) == (user_id, disabled)
    assert run("user", "enable", "dave@example.com").refused("no user dave@example.com")


def test_logout_prints_what_ended_and_what_remains(run, demo):
    """Attack finding 10: it can be repeated, and --all ends the rest."""
    name = demo["email"]
    before = run("user", "show", name, "--json").json
    assert min(before[f"live_{kind}"] for kind in ("sessions", "api_keys")) > 0
    first = run("user", "logout", name, "--json").json
    assert first == {
        "user_id": demo["user_id"],
        "ended_sessions": before["live_sessions"],
        "ended_api_keys": 0,
        "ended_personal_access_tokens": 0,
        "remaining_sessions": 0,
        "remaining_api_keys": before["live_api_keys"],
        "remaining_personal_access_tokens": before["live_personal_access_tokens"],
        "access_token": "remains",
    }
    assert run("user", "logout", name, "--json").json["ended_sessions"] == 0
    everything = run("user", "logout", name, "--all", "--json").json
    assert everything["ended_api_keys"] == before["live_api_keys"]
    assert everything["remaining_api_keys"] == everything["remaining_personal_access_tokens"] == 0
    assert everything["access_token"] == "replaced"
    assert run("user", "logout", "dave@example.com").refused("no user dave@example.com")


def test_reset_link_is_mailed(run, user_id):
    """Attack finding 10: the secret is in the mail, and not in the output."""
    ran = run("user", "reset", EMAIL, "--json")
    assert ran.json == {
        "user_id": user_id,
        "mailed_to": EMAIL,
        "password": "kept",
        "disabled": False,
    }
    assert "ots_" not in ran.out
    assert run("mail", "deliver", "--json").json["delivered"] == 1
    [mail] = (Settings().data_dir / "mail").glob("*.eml")
    assert "/reset-password?secret=" in mail.read_text()
    assert run("user", "reset", EMAIL, "--expire-password", "--json").json["password"] == "expired"
    run("user", "disable", EMAIL)
    assert "once the user is enabled" in run("user", "reset", EMAIL).out


def test_reset_of_a_user_of_an_identity_provider_is_refused(run, tenant_id):
    words = ("--tenant", tenant_id, "--name", "Dave", "--provider", "oidc")
    run("user", "add", "dave@example.com", *words)
    assert run("user", "reset", "dave@example.com").refused("identity provider")


def test_digest_is_that_of_the_log(run, user_id):
    """Attack finding 11: of any address, and without showing it."""
    assert user_id
    keys = open_keyring(Settings())
    for account in (EMAIL, "Carol@EXAMPLE.com", "unknown@example.com", "cli_0123456789ab"):
        [digest] = run("user", "digest", account, "--json").json["digests"]
        assert digest == {
            "digest": digests_of(keys, account)[keys.key_id],
            "key_id": keys.key_id,
            "present": True,
        }
    assert digest["digest"] in run("user", "digest", account).out


def test_digest_under_a_former_root_is_printed(run, user_id):
    """Attack finding 11: for the log of last month."""
    [before] = run("user", "digest", EMAIL, "--json").json["digests"]
    run("keys", "rotate", "root")
    run("keys", "rotate", "root", "--restarted")
    now, former = run("user", "digest", EMAIL, "--json").json["digests"]
    assert (now["present"], former["present"]) == (True, False)
    assert former == {**before, "present": False}
    assert now["digest"] != former["digest"]
    assert user_id


def test_client_is_disabled_enabled_and_removed(run, demo, tenant_id):
    """Attack finding 10: each can be repeated; a removed client is not found."""
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    client_id = run("client", "add", "ci", *words).json["client_id"]
    for word, disabled in (("disable", True), ("disable", True), ("enable", False)):
        changed = run("client", word, client_id, "--json").json
        assert changed == {"client_id": client_id, "disabled": disabled}
        [listed] = run("client", "list", "--tenant", tenant_id, "--json").json["clients"]
        assert listed["disabled"] is disabled
    for _ in range(2):
        removed = run("client", "remove", client_id, "--json").json
        assert removed == {"client_id": client_id, "removed": True, "revoked_tokens": 0}
    assert run("client", "list", "--tenant", tenant_id, "--json").json == {"clients": []}
    for word in ("disable", "enable", "renew"):
        assert run("client", word, client_id).refused(f"no client {client_id}", "client list")
    assert run("client", "remove", "cli_000000000000").refused("no client cli_000000000000")
    assert demo


def test_second_tenant_of_a_name_is_mentioned(run, tenant_id):
    """Newcomer F18: names need not be unique, so ids tell tenants apart."""
    assert tenant_id not in run("tenant", "add", "Other").out
    assert f"already has this name: {tenant_id}" in run("tenant", "add", "Example").out


def test_change_is_confirmed_in_a_sentence(run, tenant_id, user_id):
    """Newcomer F18: beside the record, for people; --json prints the record alone."""
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    client_id = run("client", "add", "ci", *words).json["client_id"]
    for change, sentence in (
        (("tenant", "add", "Other"), "Add a user to it with"),
        (("tenant", "disable", tenant_id), "are rejected from now on"),
        (("tenant", "enable", tenant_id), "Its users and clients are accepted again."),
        (("user", "disable", user_id), "are rejected from now on"),
        (("user", "enable", user_id), "The user can log in again."),
        (("user", "role", user_id, "--add", "billing"), "roles are now: member, billing."),
        (("client", "disable", client_id), "are rejected from now on"),
        (("client", "enable", client_id), "The client and its tokens are accepted again."),
        (("client", "remove", client_id), "The client is gone, and so are its tokens."),
    ):
        assert sentence in " ".join(run(*change).out.split())
        if change[1] not in {"add", "remove"}:
            assert sentence not in run(*change, "--json").out


def test_events_of_operators_are_in_the_list_of_the_user(run, user_id):
    """LO-02: all that was done to an account."""
    run("user", "logout", EMAIL)
    run("user", "reset", EMAIL)
    run("user", "disable", EMAIL)
    run("user", "enable", EMAIL)
    events = run("user", "show", user_id, "--json").json["events"]
    acts = [event["details"] for event in events if event["kind"] == "authz_admin"]
    assert [details.split()[0] for details in acts] == [
        "act=user_enabled",
        "act=password_reset_mailed",
        "act=user_logged_out",
    ]
    assert not any("ots_" in json.dumps(event) for event in events)
