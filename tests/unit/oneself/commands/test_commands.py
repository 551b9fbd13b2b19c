"""The command line: what each command does, prints, and exits with."""

import io
import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from accounts.errors import LimitReached
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits
from models.schema import REVISION
from oneself import commands
from oneself.commands.console.failures import explain
from oneself.database import Database, sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import CommandResult

ROOT = Path(__file__).parents[4]
PASSWORD = "Violet tangent 47 harbour"
EMAIL = "carol@example.com"
SECRET = "canary-5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Returns the data folder of the settings, which does not exist yet."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


class Terminal(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def run(folder, monkeypatch, capsys):  # noqa: ARG001 # used through the settings
    """Runs a command line as `python -m oneself` does."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        stream = io.StringIO(stdin) if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def tenant_id(run):
    return run("tenant", "add", "Example", "--json").json["tenant_id"]


@pytest.fixture
def add_user(run, tenant_id):
    def add_user(*options, stdin=PASSWORD, email=EMAIL):
        options = ("--tenant", tenant_id, "--name", "Carol Diaz", *options)
        if "--provider" not in options:
            options = (*options, "--password-stdin")
        return run("user", "add", email, *options, stdin=stdin)

    return add_user


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


def _log_in(password):
    settings = Settings()
    database = Database(settings.location, keys=open_keyring(settings), limits=Limits())
    with database.transaction(writing=True) as session:
        opened = log_in(session, email=EMAIL, password=password, user_agent=None)
    database.close()
    return opened.user


# All commands


COMMANDS = [
    [],
    *(["serve"], ["demo"], ["doctor"], ["prove"], ["demo-operator"]),
    *(["tenant"], ["tenant", "add"], ["tenant", "list"]),
    *(["tenant", "disable"], ["tenant", "enable"]),
    *(["user"], ["user", "add"], ["user", "import"], ["user", "list"], ["user", "show"]),
    *(["user", "disable"], ["user", "enable"], ["user", "role"], ["user", "digest"]),
    *(["user", "delete"], ["user", "restore"], ["user", "reset-factors"], ["user", "export"]),
    *(["user", "logout"], ["user", "reset"]),
    *(["client"], ["client", "add"], ["client", "list"], ["client", "renew"]),
    *(["client", "disable"], ["client", "enable"], ["client", "remove"]),
    *(["keys"], ["keys", "list"], ["keys", "rewrite"], ["keys", "retire"]),
    *(["keys", "rotate"], ["keys", "rotate", "root"], ["keys", "rotate", "signing"]),
    *(
        ["token"],
        ["token", "check"],
        ["policy"],
        ["policy", "check"],
        ["db"],
        ["db", "upgrade"],
        ["db", "check"],
    ),
    *(["db", "backup"], ["db", "restore"]),
    *(["events"], ["events", "archive"], ["events", "verify"]),
    *(["document"], ["document", "write"]),
    *(["mail"], ["mail", "list"], ["mail", "show"], ["mail", "deliver"], ["mail", "retry"]),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(run, words):
    """And --json, except `serve`, which logs, and `demo-operator`; --help creates nothing."""
    ran = run(*words, "--help")
    assert ran.status == 0
    assert " ".join(["usage: python -m oneself", *words]) in ran.out.replace("Usage", "usage")
    assert not Settings().data_dir.exists()
    is_group = "COMMAND [ARGS]" in ran.out
    assert ("--json" in ran.out) == (not is_group and words not in (["serve"], ["demo-operator"]))


def test_list_of_commands_is_complete():
    """Otherwise a command could miss from the tests of all of them."""

    def walk(command, *words):
        yield [*words]
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, *words, name)

    known = walk(get_command(commands._build(completes=True)))  # noqa: SLF001 # as main does
    assert sorted(known) == sorted(COMMANDS)


def test_help_explains_the_exit_status(run):
    assert "Exit status" in run("--help").out


def test_version_is_the_projects(run):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run("--version").out == project["version"] + "\n"


@pytest.mark.parametrize("words", [["burn"], ["tenant", "add"], ["db", "check", "--loud"]])
def test_malformed_command_line_exits_with_2(run, words):
    ran = run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "Usage" in ran.err


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("DATABASE_URL", "must begin with sqlite:/// or postgresql+psycopg://"),
        ("PUBLIC_URL", "must be a valid URL"),
        ("SIGNUP", "must be 'open' or 'closed'"),
        ("BODY_BYTES", "must be a valid integer"),
        ("BODY_SECONDS", "must be a valid number"),
        ("VALIDATE_RESPONSES", "must be a valid boolean"),
        ("API_KEY_BRAND", "must match pattern"),
    ],
)
def test_bad_setting_is_named_without_its_value(run, monkeypatch, name, rule):
    """It may be a secret in the wrong variable."""
    monkeypatch.setenv(f"ONESELF_{name}", SECRET)
    ran = run("db", "check", "--json")
    assert ran.refused(f"ONESELF_{name} {rule}", status=2)
    assert SECRET not in ran.err


def test_all_bad_settings_are_named_at_once(run, monkeypatch):
    monkeypatch.setenv("ONESELF_SESSION_DAYS", "0")
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "99")
    assert run("demo").refused(
        "ONESELF_SESSION_DAYS must be greater than or equal to 1",
        "ONESELF_PASSWORD_COST must be less than or equal to 16",
        status=2,
    )


def test_bad_secret_key_is_refused_without_being_shown(run, monkeypatch):
    """And nothing is created."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", "canary")
    ran = run("demo", "--json")
    assert ran.refused("ONESELF_SECRET_KEY", status=2)
    assert "canary" not in ran.err
    assert not Settings().data_dir.exists()


def test_other_secret_key_than_the_databases_is_refused(run, tenant_id, monkeypatch):
    monkeypatch.setenv("ONESELF_SECRET_KEY", "k" * 43)
    assert run("tenant", "disable", tenant_id).refused("not the one that this database")


@pytest.mark.parametrize(
    "words",
    [
        ["user", "disable", EMAIL],
        ["tenant", "disable", "tnt_000000000000"],
        ["client", "add", "ci", "--tenant", "tnt_000000000000", "--scope", "keys:read"],
        ["db", "check"],
    ],
)
def test_missing_database_is_not_created_by_these_commands(run, folder, words):
    """The folder is probably the wrong one."""
    assert run(*words, "--json").refused("There is no database at", "ONESELF_DATA_DIR")
    assert not folder.exists()


def test_effective_setting_is_named_for_a_missing_database(run, folder, monkeypatch):
    """If the URL is set, the data folder has no effect."""
    monkeypatch.setenv("ONESELF_DATABASE_URL", f"sqlite:///{folder}/elsewhere.db")
    ran = run("db", "check")
    assert ran.refused(f"There is no database at {folder}/elsewhere.db", "ONESELF_DATABASE_URL")
    assert "ONESELF_DATA_DIR" not in ran.err


def test_file_that_is_no_database_is_refused(run, folder):
    folder.mkdir()
    (folder / "oneself.sqlite3").write_text("This is no database. " * 100)
    assert run("tenant", "add", "Example", "--json").refused("file is not a database")


def test_folder_that_cannot_be_created_is_named(run, folder, monkeypatch):
    folder.write_text("a file")
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder / "deeper"))
    assert run("tenant", "add", "Example").refused(str(folder), "ONESELF_DATA_DIR")


class Interrupted(io.StringIO):
    """A standard input that is interrupted by Ctrl-C."""

    def read(self, *_):
        raise KeyboardInterrupt


def test_ctrl_c_exits_with_130(add_user, sql):
    """As in shells, without a traceback; nothing is written."""
    ran = add_user("--json", stdin=Interrupted())
    assert (ran.status, ran.out, ran.err) == (130, "", "")
    assert sql("SELECT * FROM user") == []


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_unprintable_result_is_reported_as_done(folder, options):
    """As on a full disk: the command must not be repeated."""
    words = [sys.executable, "-m", "oneself", "tenant", "add", "Example", *options]
    environment = {**os.environ, "ONESELF_DATA_DIR": str(folder)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert "cannot be printed: No space left on device" in sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("user", "import", "nothing.csv", "--tenant", "{}"), "nothing.csv cannot be read"),
        (("db", "backup", "nowhere/copy"), "There is no folder nowhere"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_missing_file_argument_is_not_blamed_on_a_setting(run, tenant_id, words, message):
    ran = run(*(word.format(tenant_id) for word in words))
    assert ran.refused(message)
    assert "ONESELF_DATA_DIR" not in ran.err


@pytest.mark.parametrize("dialect", ["hyperclast", "Hyperclast", "HYPERCLAST"])
def test_dialect_of_prove_may_have_any_case(run, dialect):
    words = ("prove", "--url", "http://localhost", "--credentials", "nothing")
    ran = run(*words, "--dialect", dialect)
    assert (ran.status, "nothing cannot be read" in ran.err) == (2, True)
    assert "must be one of ipto" in run(*words, "--dialect", "klingon").err


def test_missing_report_folder_is_reported_before_the_tests(run, folder):
    """They take minutes."""
    folder.mkdir()
    (folder / "people.json").write_text('{"base": {}}')
    words = ("prove", "--url", "http://localhost:1", "--credentials", str(folder / "people.json"))
    assert "there is no folder nowhere" in run(*words, "--html", "nowhere/proof.html").err


def test_defect_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr("oneself.commands.demo_data.make_demo", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("demo")
    assert explain(OSError("no file is named")) is None


def test_other_refusal_keeps_its_message():
    assert str(explain(LimitReached())) == LimitReached.message


# Tenants, users, clients


def test_tenant_is_added_and_disabled(run, sql):
    """The folder, the database and its key are created, readable by their owner only."""
    added = run("tenant", "add", "Example", "--json").json
    assert sql("SELECT id, uuid, display_name FROM tenant") == [tuple(added.values())]
    data = Settings().data_dir
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [data, *data.iterdir()]}
    assert modes == {"data": 0o700, "oneself.sqlite3": 0o600, "secret.key": 0o600}
    disabled = run("tenant", "disable", added["tenant_id"], "--json").json
    assert disabled == {"tenant_id": added["tenant_id"], "disabled": True}
    (since,) = sql("SELECT disabled_at FROM tenant")
    assert run("tenant", "disable", added["tenant_id"], "--json").json == disabled
    assert sql("SELECT disabled_at FROM tenant") == [since]
    for _ in range(2):
        enabled = run("tenant", "enable", added["tenant_id"], "--json").json
        assert enabled == {"tenant_id": added["tenant_id"], "disabled": False}
    for word in ("disable", "enable"):
        assert run("tenant", word, "tnt_0").refused("There is no tenant tnt_0")


def test_disabling_says_how_to_undo_it(run, tenant_id, add_user):
    """newcomer F18."""
    user_id = add_user("--json").json["user_id"]
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    client_id = run("client", "add", "ci", *words).json["client_id"]
    for group, name in (("client", client_id), ("user", user_id), ("tenant", tenant_id)):
        printed = " ".join(run(group, "disable", name).out.split())
        assert printed.endswith(f"To undo it: python -m oneself {group} enable {name}")


def test_missing_packages_are_explained(tmp_path):
    """newcomer F18: by `python -m oneself` and by `bin/oneself`, outside the environment."""
    (tmp_path / "typer.py").write_text("import missing_package")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for words in (["-m", "oneself"], ["bin/oneself"]):
        ran = subprocess.run(
            [sys.executable, *words, "--help"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1
        assert "no module missing_package" in ran.stderr
        assert "requirements/runtime.txt" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_tenants_are_listed_newest_first(run, sql):
    """And at most --limit, since each signup adds one."""
    first = run("tenant", "add", "First", "--json").json
    second = run("tenant", "add", "Second", "--json").json
    sql("UPDATE tenant SET created_at = '2026-01-01' WHERE display_name = 'First'")
    run("tenant", "disable", first["tenant_id"])
    listed = run("tenant", "list", "--json").json["tenants"]
    assert [item["tenant_id"] for item in listed] == [second["tenant_id"], first["tenant_id"]]
    assert [item["disabled"] for item in listed] == [False, True]
    assert {**listed[1], **first} == listed[1]
    assert run("tenant", "list", "--limit", "1", "--json").json["tenants"] == listed[:1]
    assert run("tenant", "list", "--search", "first", "--json").json["tenants"] == listed[1:]
    assert second["tenant_id"] in run("tenant", "list").out


def test_invalid_tenant_name_is_rejected(run):
    assert run("tenant", "add", " Example").refused("Tenant name must not begin")


@pytest.mark.parametrize("columns", ["40", "400"])
def test_table_prints_markup_literally(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("tenant", "add", "[red]Example[/]")
    assert ran.status == 0
    assert "[red]Example[/]" in ran.out


def test_user_logs_in_with_the_password_from_standard_input(add_user, tenant_id):
    """The line break of `echo` is not part of it."""
    added = add_user("--json", stdin=PASSWORD + "\n").json
    assert added == {
        "user_id": added["user_id"],
        "tenant_id": tenant_id,
        "email": EMAIL,
        "username": "carol",
        "provider": "local",
        "roles": ["member"],
        "is_platform_admin": False,
        "disabled": False,
    }
    assert _log_in(PASSWORD).user_id == added["user_id"]


def test_user_is_added_with_roles_and_as_admin(add_user):
    """The roles replace the default one."""
    added = add_user("--json", "--admin", "--role", "owner", "--role", "editor").json
    assert added["is_platform_admin"] is True
    assert added["roles"] == ["owner", "editor"]


def test_user_of_an_identity_provider_has_no_password(add_user, sql):
    """And there is no prompt."""
    assert add_user("--json", "--provider", "oidc").json["provider"] == "oidc"
    assert sql("SELECT * FROM password_record") == []
    assert add_user("--provider", "saml", "--password-stdin").refused("no password", status=2)


def test_terminal_prompts_for_the_password(run, tenant_id, monkeypatch):
    """Twice, until both entries match; the prompt goes to standard error."""
    answers = [PASSWORD, "another", PASSWORD, PASSWORD]
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: answers.pop(0))
    words = ("user", "add", EMAIL, "--tenant", tenant_id, "--name", "Carol Diaz", "--json")
    ran = run(*words, stdin=Terminal())
    assert (ran.status, answers) == (0, [])
    assert json.loads(ran.out)["email"] == EMAIL
    assert _log_in(PASSWORD).email == EMAIL


def test_missing_terminal_is_refused(run, tenant_id):
    """Otherwise a script would wait forever."""
    ran = run("user", "add", EMAIL, "--tenant", tenant_id, "--name", "Carol Diaz")
    assert ran.refused("--password-stdin", status=2)


def test_weak_password_is_rejected_with_every_broken_rule(add_user, sql):
    """Without showing it."""
    ran = add_user("--json", stdin="carol")
    assert ran.refused("The password must have at least 8 characters, ", "must have a digit")
    assert "carol" not in ran.err
    assert sql("SELECT * FROM user") == []


def test_taken_or_malformed_address_is_refused_before_the_prompt(add_user):
    assert add_user("--provider", "oidc").status == 0
    assert add_user("--json").refused("Another account has this email address")
    assert add_user("--json", email="carol").refused("EMAIL must be an e-mail address")


def test_unknown_tenant_of_a_user_is_refused(run, tenant_id):
    """The id is not a secret, and is named."""
    ran = run("user", "add", EMAIL, "--tenant", "tnt_0", "--name", "Carol", "--password-stdin")
    assert ran.refused("There is no tenant tnt_0")
    assert tenant_id not in ran.err


def test_user_is_disabled(run, add_user):
    add_user("--provider", "oidc")
    assert run("user", "disable", EMAIL, "--json").json["disabled"] is True
    assert run("user", "disable", "unknown@example.com").refused("no user unknown@example.com")


def test_roles_are_added_and_removed(run, add_user):
    """Several at once."""
    add_user("--provider", "oidc")
    words = ("--add", "owner", "--add", "editor", "--remove", "member", "--json")
    assert run("user", "role", EMAIL, *words).json["roles"] == ["owner", "editor"]
    assert run("user", "role", EMAIL, "--add", "OWNER").refused("Roles must be at most")
    assert run("user", "role", EMAIL).refused("--add ROLE", status=2)


def test_client_secret_is_shown_once(run, tenant_id, sql):
    """It is stored as a digest."""
    words = ("client", "add", "ci", "--tenant", tenant_id, "--scope", "keys:read")
    added = run(*words, "--scope", "me/pat:read", "--json").json
    assert added == {
        "client_id": added["client_id"],
        "client_secret": added["client_secret"],
        "tenant_id": tenant_id,
        "name": "ci",
        "scopes": ["keys:read", "me/pat:read"],
        "audiences": [],
    }
    assert added["client_secret"] not in str(sql("SELECT * FROM client"))
    assert "cannot be shown again" in run(*words).out
    assert run(*words, "--scope", "keys:burn").refused("Scopes must be among", "keys:write")


def test_client_secret_is_renewed(run, tenant_id, sql):
    words = ("client", "add", "ci", "--tenant", tenant_id, "--scope", "keys:read", "--json")
    added = run(*words).json
    before = sql("SELECT secret_digest FROM client")
    renewed = run("client", "renew", added["client_id"], "--json").json
    assert renewed["client_id"] == added["client_id"]
    assert renewed["client_secret"] != added["client_secret"]
    assert sql("SELECT secret_digest FROM client") != before
    assert run("client", "renew", "cli_000000000000").refused(
        "no client cli_000000000000", "client list"
    )


def test_clients_of_a_tenant_are_listed_without_secrets(run, tenant_id):
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    added = [run("client", "add", name, *words).json for name in ("one", "two")]
    other = run("tenant", "add", "Other", "--json").json["tenant_id"]
    listed = run("client", "list", "--tenant", tenant_id, "--json")
    assert [item["client_id"] for item in listed.json["clients"]] == [
        item["client_id"] for item in added
    ]
    assert not any(item["client_secret"] in listed.out for item in added)
    assert run("client", "list", "--tenant", other, "--json").json == {"clients": []}
    assert "none" in run("client", "list", "--tenant", other).out
    assert run("client", "list", "--tenant", "tnt_0").refused("There is no tenant", "tenant list")


def test_public_client_has_no_secret(run, tenant_id):
    """It cannot keep one (RFC 6749 section 2.1); the audiences of its tokens are fixed."""
    words = ("client", "add", "spa", "--tenant", tenant_id, "--scope", "me/profile:read")
    added = run(*words, "--public", "--audience", "https://api.example", "--json").json
    assert added["client_secret"] is None
    assert run("client", "renew", added["client_id"]).refused("that has a secret")
    assert added["audiences"] == ["https://api.example"]
    assert "cannot be shown again" not in run(*words, "--public").out
    assert run(*words, "--audience", "a b\n").refused("Audiences must be")


# The demo, and the database


def test_demo_is_one_json_object(run):
    """The contract suite reads it; test_demo_data.py tests its content."""
    made = run("demo", "--json").json
    assert set(made) == {"base", "other_tenant", "sso_user", "disabled_user"}
    again = run("demo", "--json").json
    assert again["base"]["session_token"] == made["base"]["session_token"]
    renewed = run("demo", "--renew", "--json").json
    assert renewed["base"]["user_id"] == made["base"]["user_id"]
    assert renewed["base"]["session_token"] != made["base"]["session_token"]
    assert run("demo", "--json").json["base"]["session_token"] == (renewed["base"]["session_token"])


def test_spare_users_of_a_demo_are_kept(run):
    """contract F2: also when a demo is started again without the option."""
    made = run("demo", "--spares", "1", "--json").json
    assert run("demo", "--json").json["spare_1"] == made["spare_1"]


def test_operator_of_a_demo_answers_each_line(run, monkeypatch):
    """contract F2: the conformance tests start it; it acts on demo data only."""
    assert run("db", "upgrade").status == 0
    assert run("demo-operator").refused("no demo users")
    user = run("demo", "--json").json["base"]

    def ask(*requests):
        lines = [json.dumps(each) if isinstance(each, dict) else each for each in requests]
        ran = run("demo-operator", stdin="\n".join(lines))
        assert ran.status == 0
        return [json.loads(line) for line in ran.out.splitlines()]

    monkeypatch.setattr("oneself.commands.conformance.acts.SECONDS_TO_DELIVER", 0)
    add = {"act": "add client", "user_id": user["user_id"], "arguments": {"public": True}}
    client, tenant, *unable = ask(
        add,
        {"act": "show tenant", "tenant_id": user["tenant_id"]},
        {"act": "read mail", "to": user["email"], "subject": "Hello"},
        {**add, "act": "fly"},
        {**add, "user_id": "usr_none"},
        {**add, "arguments": {"name": "canary"}},
        "canary",
        "[]",
    )
    assert (client["client_id"][:4], client["client_secret"]) == ("cli_", None)
    assert tenant == {"tenant_uuid": user["tenant_uuid"]}
    assert [[*each] for each in unable] == [["unable"]] * 6
    assert "canary" not in str(unable)
    [aged] = ask({**add, "act": "time passes", "arguments": {"hours": 1}})
    assert aged == {}


def test_demo_prints_curl_commands(run, monkeypatch):
    """newcomer F16: with the public URL, and the variables of the README."""
    monkeypatch.setenv("ONESELF_PUBLIC_URL", "http://localhost:8090")
    base, ran = run("demo", "--json").json["base"], run("demo", "--curl")
    lines = ran.out.splitlines()
    assert ran.status == 0
    assert sum(line.startswith("curl http://localhost:8090/") for line in lines) == 7
    assert lines[-1].startswith(f"export SESSION={base['session_token']} ACCESS_TOKEN=")


def test_demo_table_shows_each_token_on_one_line(run, sql):
    """So that it can be copied, even from a pipe."""
    ran = run("demo")
    key = next(word for word in ran.out.split() if word.startswith("ipto_"))
    assert ran.status == 0
    assert key.split("_")[1] in str(sql("SELECT prefix FROM api_key"))
    assert len(key) == len("ipto_") + 12 + 1 + 43 + 6
    assert "sso user" in ran.out


def test_unreadable_access_token_is_regenerated(run, sql):
    """The row is corrupt, and the demo needs a token to print."""
    before = run("demo", "--json").json["base"]["access_token"]
    sql("UPDATE access_token SET token_sealed = x'00'")
    assert run("demo", "--json").json["base"]["access_token"] != before


def test_unreadable_signing_key_is_reported(run, sql):
    run("demo")
    sql("UPDATE signing_key SET private_sealed = x'00'")
    assert run("demo", "--json").refused("Restore the row")


def test_database_is_created_upgraded_and_checked(run, folder):
    """Without a key, since none is needed."""
    made = run("db", "upgrade", "--json").json
    assert made == {"revision_before": None, "revision": REVISION}
    assert run("db", "upgrade", "--json").json["revision_before"] == REVISION
    assert run("db", "check", "--json").json == {
        "revision": REVISION,
        "expected_revision": REVISION,
        "differences": [],
        "up_to_date": True,
    }
    assert [path.name for path in folder.iterdir()] == ["oneself.sqlite3"]


def test_altered_tables_are_reported(run, sql):
    """On standard output, for programs too, and with status 1."""
    run("db", "upgrade")
    sql("DROP TABLE user_settings")
    checked = run("db", "check", "--json")
    assert (checked.status, len(checked.err.splitlines())) == (1, 1)
    found = json.loads(checked.out)
    assert found["up_to_date"] is False
    assert "add_table" in found["differences"]


def test_database_of_another_version_is_refused(run, tenant_id, sql):
    """An unknown revision is that of a newer version."""
    sql("UPDATE alembic_version SET version_num = '9999'")
    assert run("tenant", "disable", tenant_id).refused("9999", REVISION, "oneself db upgrade")
    assert run("db", "upgrade", "--json").refused("9999", "newer")
    assert run("db", "check").status == 1
