"""The command line: what each command does, says, and exits with."""

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
from accounts.flows.sessions import log_in
from accounts.limits import Limits
from models.schema import REVISION
from oneself import commands
from oneself.commands.console.failures import explain
from oneself.database import Database, sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import Ran

ROOT = Path(__file__).parents[4]
PASSWORD = "Violet tangent 47 harbour"
EMAIL = "carol@example.com"
SECRET = "canary-5d41402abc4b2a76b9719d911017c592"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The data folder of the settings; it is not there yet."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")
    return tmp_path / "data"


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self):
        return True


@pytest.fixture
def run(folder, monkeypatch, capsys):  # noqa: ARG001 # it is what the settings name
    """Runs a command line as `python -m oneself` does."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        stream = io.StringIO(stdin) if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return Ran(ended.value.code or 0, capsys.readouterr())

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
    """Runs a statement behind the back of the commands."""

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


# What holds for all of them


COMMANDS = [
    [],
    *(["serve"], ["demo"], ["doctor"], ["prove"]),
    *(["tenant"], ["tenant", "add"], ["tenant", "list"], ["tenant", "disable"]),
    *(["user"], ["user", "add"], ["user", "import"], ["user", "disable"], ["user", "role"]),
    *(["client"], ["client", "add"], ["client", "list"], ["client", "renew"]),
    *(["keys"], ["keys", "list"], ["keys", "rewrite"], ["keys", "retire"]),
    *(["keys", "rotate"], ["keys", "rotate", "root"], ["keys", "rotate", "signing"]),
    *(["policy"], ["policy", "check"], ["db"], ["db", "upgrade"], ["db", "check"]),
    *(["db", "backup"], ["db", "restore"]),
    *(["mail"], ["mail", "list"], ["mail", "show"], ["mail", "deliver"], ["mail", "retry"]),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(run, words):
    """With a sentence of its own, and without making anything."""
    helped = run(*words, "--help")
    assert helped.status == 0
    assert " ".join(["Usage: python -m oneself", *words]) in helped.out
    assert not Settings().data_dir.exists()
    # A program can read what any of them says; the service itself writes a log.
    is_group = "COMMAND [ARGS]" in helped.out
    assert ("--json" in helped.out) == (not is_group and words != ["serve"])


def test_there_are_no_other_commands():
    """Else one could have no help, and be in no test that goes through them."""

    def walk(command, *words):
        yield [*words]
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, *words, name)

    known = walk(get_command(commands._build(completes=True)))  # noqa: SLF001 # nobody else builds it
    assert sorted(known) == sorted(COMMANDS)


def test_the_help_says_what_the_exit_status_means(run):
    """Scripts go by it."""
    assert "Exit status" in run("--help").out


def test_the_version_is_the_projects(run):
    """It is written in one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run("--version").out == project["version"] + "\n"


@pytest.mark.parametrize("words", [["burn"], ["tenant", "add"], ["db", "check", "--loud"]])
def test_a_command_line_that_cannot_be_read_exits_with_2(run, words):
    """Its help says more, on standard error."""
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
def test_a_bad_setting_is_named_without_its_value(run, monkeypatch, name, rule):
    """It may be a secret that was put into the wrong variable."""
    monkeypatch.setenv(f"ONESELF_{name}", SECRET)
    ran = run("db", "check", "--json")
    assert ran.refused(f"ONESELF_{name} {rule}", status=2)
    assert SECRET not in ran.err


def test_every_bad_setting_is_named_at_once(run, monkeypatch):
    """So that an operator corrects them in one go."""
    monkeypatch.setenv("ONESELF_SESSION_DAYS", "0")
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "99")
    assert run("demo").refused(
        "ONESELF_SESSION_DAYS must be greater than or equal to 1",
        "ONESELF_PASSWORD_COST must be less than or equal to 16",
        status=2,
    )


def test_a_bad_secret_key_is_refused_without_being_shown(run, monkeypatch):
    """And nothing is made."""
    monkeypatch.setenv("ONESELF_SECRET_KEY", "canary")
    ran = run("demo", "--json")
    assert ran.refused("ONESELF_SECRET_KEY", status=2)
    assert "canary" not in ran.err
    assert not Settings().data_dir.exists()


def test_another_secret_key_than_the_databases_is_refused(run, tenant_id, monkeypatch):
    """Before anything is written with it."""
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
def test_a_database_that_is_not_there_is_not_made_by_these(run, folder, words):
    """The folder is probably the wrong one."""
    assert run(*words, "--json").refused("There is no database at", "ONESELF_DATA_DIR")
    assert not folder.exists()


def test_the_setting_is_named_that_has_an_effect(run, folder, monkeypatch):
    """Beside a URL the data folder is not where the database is looked for."""
    monkeypatch.setenv("ONESELF_DATABASE_URL", f"sqlite:///{folder}/elsewhere.db")
    ran = run("db", "check")
    assert ran.refused(f"There is no database at {folder}/elsewhere.db", "ONESELF_DATABASE_URL")
    assert "ONESELF_DATA_DIR" not in ran.err


def test_a_file_that_is_no_database_is_refused(run, folder):
    """In the words of SQLite."""
    folder.mkdir()
    (folder / "oneself.sqlite3").write_text("This is no database. " * 100)
    assert run("tenant", "add", "Example", "--json").refused("file is not a database")


def test_a_folder_that_cannot_be_made_is_refused(run, folder, monkeypatch):
    """By its name."""
    folder.write_text("a file")
    monkeypatch.setenv("ONESELF_DATA_DIR", str(folder / "deeper"))
    assert run("tenant", "add", "Example").refused(str(folder), "ONESELF_DATA_DIR")


class Interrupted(io.StringIO):
    """A standard input at which somebody presses Ctrl-C."""

    def read(self, *_):
        raise KeyboardInterrupt


def test_ctrl_c_ends_a_command_with_130(add_user, sql):
    """As shells have it, and without a traceback; nothing is there of what it was to do."""
    ran = add_user("--json", stdin=Interrupted())
    assert (ran.status, ran.out, ran.err) == (130, "", "")
    assert sql("SELECT * FROM user") == []


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_outcome_that_cannot_be_printed_is_said_to_stand(folder, options):
    """By a disk that is full, say; it was done, and is not to be done again."""
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
    ("words", "says"),
    [
        (("user", "import", "nothing.csv", "--tenant", "{}"), "nothing.csv cannot be read"),
        (("db", "backup", "nowhere/copy"), "There is no folder nowhere"),
        (("prove", "--url", "http://localhost", "--credentials", "nothing"), "demo --json"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_file_that_an_argument_names_is_not_looked_for_in_a_setting(run, tenant_id, words, says):
    """The sentence is about what was typed."""
    ran = run(*(word.format(tenant_id) for word in words))
    assert ran.refused(says)
    assert "ONESELF_DATA_DIR" not in ran.err


def test_a_report_that_cannot_be_written_is_said_before_the_proof(run, folder):
    """And not after the minutes that it takes."""
    folder.mkdir()
    (folder / "people.json").write_text('{"base": {}}')
    words = ("prove", "--url", "http://localhost:1", "--credentials", str(folder / "people.json"))
    assert run(*words, "--html", "nowhere/proof.html").refused("There is no folder nowhere")


def test_a_defect_is_not_explained_away(run, monkeypatch):
    """It keeps its traceback."""
    monkeypatch.setattr("oneself.commands.demo_data.make_demo", lambda _database: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("demo")
    assert explain(OSError("no file is named")) is None


def test_any_other_refusal_is_said_in_its_own_words():
    """They are made to be shown to anybody."""
    assert str(explain(LimitReached())) == LimitReached.message


# Tenants, users, clients


def test_a_tenant_is_added_and_disabled(run, sql):
    """The folder, the database and its key are made, for nobody else to read."""
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
    assert run("tenant", "disable", "tnt_0").refused("There is no tenant tnt_0")


def test_tenants_are_listed_newest_first(run, sql):
    """Without an end, a list of one for each signup would be as long as that of users."""
    first = run("tenant", "add", "First", "--json").json
    second = run("tenant", "add", "Second", "--json").json
    sql("UPDATE tenant SET created_at = '2026-01-01' WHERE display_name = 'First'")
    run("tenant", "disable", first["tenant_id"])
    listed = run("tenant", "list", "--json").json["tenants"]
    assert [each["tenant_id"] for each in listed] == [second["tenant_id"], first["tenant_id"]]
    assert [each["disabled"] for each in listed] == [False, True]
    assert {**listed[1], **first} == listed[1]
    assert run("tenant", "list", "--limit", "1", "--json").json["tenants"] == listed[:1]
    assert second["tenant_id"] in run("tenant", "list").out


def test_a_tenants_name_keeps_its_rules(run):
    """A refusal names the argument and the rule."""
    assert run("tenant", "add", " Example").refused("NAME must not begin")


@pytest.mark.parametrize("columns", ["40", "400"])
def test_people_get_a_table(run, monkeypatch, columns):
    """In which a name that looks like markup is only a name."""
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("tenant", "add", "[red]Example[/]")
    assert ran.status == 0
    assert "[red]Example[/]" in ran.out


def test_a_user_logs_in_with_the_password_from_standard_input(add_user, tenant_id):
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


def test_a_user_is_added_with_roles_and_as_admin(add_user):
    """Instead of the one role that is given otherwise."""
    added = add_user("--json", "--admin", "--role", "owner", "--role", "editor").json
    assert added["is_platform_admin"] is True
    assert added["roles"] == ["owner", "editor"]


def test_a_user_of_an_identity_provider_has_no_password(add_user, sql):
    """And is asked for none."""
    assert add_user("--json", "--provider", "oidc").json["provider"] == "oidc"
    assert sql("SELECT * FROM password_record") == []
    assert add_user("--provider", "saml", "--password-stdin").refused("no password", status=2)


def test_a_password_is_asked_for_at_a_terminal(run, tenant_id, monkeypatch):
    """Twice, and until both are the same; what is asked goes to standard error."""
    answers = [PASSWORD, "another", PASSWORD, PASSWORD]
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: answers.pop(0))
    words = ("user", "add", EMAIL, "--tenant", tenant_id, "--name", "Carol Diaz", "--json")
    ran = run(*words, stdin=Terminal())
    assert (ran.status, answers) == (0, [])
    assert json.loads(ran.out)["email"] == EMAIL
    assert _log_in(PASSWORD).email == EMAIL


def test_without_a_terminal_a_password_is_not_asked_for(run, tenant_id):
    """A script would wait for ever."""
    asked = run("user", "add", EMAIL, "--tenant", tenant_id, "--name", "Carol Diaz")
    assert asked.refused("--password-stdin", status=2)


def test_a_weak_password_is_refused_by_every_rule_that_it_breaks(add_user, sql):
    """Without being shown."""
    ran = add_user("--json", stdin="carol")
    assert ran.refused("must have at least 8 characters", "must have a digit")
    assert "carol" not in ran.err
    assert sql("SELECT * FROM user") == []


def test_an_address_that_is_taken_or_none_is_refused(add_user):
    """Before a password is asked for."""
    assert add_user("--provider", "oidc").status == 0
    assert add_user("--json").refused("Another account has this email address")
    assert add_user("--json", email="carol").refused("EMAIL must be an e-mail address")


def test_a_user_needs_a_tenant_that_there_is(run, tenant_id):
    """Its id is not a secret, and is named."""
    ran = run("user", "add", EMAIL, "--tenant", "tnt_0", "--name", "Carol", "--password-stdin")
    assert ran.refused("There is no tenant tnt_0")
    assert tenant_id not in ran.err


def test_a_user_is_disabled(run, add_user):
    """For good: there is no way back yet."""
    add_user("--provider", "oidc")
    assert run("user", "disable", EMAIL, "--json").json["disabled"] is True
    assert run("user", "disable", "nobody@example.com").refused("no user nobody@example.com")


def test_roles_are_given_and_taken(run, add_user):
    """Both at once, each as often as one likes."""
    add_user("--provider", "oidc")
    words = ("--add", "owner", "--add", "editor", "--remove", "member", "--json")
    assert run("user", "role", EMAIL, *words).json["roles"] == ["owner", "editor"]
    assert run("user", "role", EMAIL, "--add", "OWNER").refused("roles must be at most")
    assert run("user", "role", EMAIL).refused("--add ROLE", status=2)


def test_a_client_is_added_and_shows_its_secret_once(run, tenant_id, sql):
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
    assert run(*words, "--scope", "keys:burn").refused("scopes must be among", "keys:write")


def test_a_client_gets_a_new_secret(run, tenant_id, sql):
    """The old one is no longer what is stored."""
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


def test_the_clients_of_a_tenant_are_listed_without_their_secrets(run, tenant_id):
    """Whoever has lost the id of one finds it there."""
    words = ("--tenant", tenant_id, "--scope", "keys:read", "--json")
    added = [run("client", "add", name, *words).json for name in ("one", "two")]
    other = run("tenant", "add", "Other", "--json").json["tenant_id"]
    listed = run("client", "list", "--tenant", tenant_id, "--json")
    assert [each["client_id"] for each in listed.json["clients"]] == [
        each["client_id"] for each in added
    ]
    assert not any(each["client_secret"] in listed.out for each in added)
    assert run("client", "list", "--tenant", other, "--json").json == {"clients": []}
    assert "none" in run("client", "list", "--tenant", other).out
    assert run("client", "list", "--tenant", "tnt_0").refused("There is no tenant", "tenant list")


def test_a_public_client_has_no_secret(run, tenant_id):
    """It could not keep one (RFC 6749 section 2.1); whom its tokens are for is fixed."""
    words = ("client", "add", "spa", "--tenant", tenant_id, "--scope", "me/profile:read")
    added = run(*words, "--public", "--audience", "https://api.example", "--json").json
    assert added["client_secret"] is None
    assert run("client", "renew", added["client_id"]).refused("that has a secret")
    assert added["audiences"] == ["https://api.example"]
    assert "cannot be shown again" not in run(*words, "--public").out
    assert run(*words, "--audience", "a b\n").refused("audiences must be")


# The demo, and the database


def test_the_demo_is_one_json_object(run):
    """The contract suite reads it; test_demo_data.py says what is in it."""
    made = run("demo", "--json").json
    assert set(made) == {"base", "other_tenant", "sso_user", "disabled_user"}
    assert run("demo", "--json").json["base"]["user_id"] == made["base"]["user_id"]


def test_the_demo_for_people_shows_every_token_in_one_line(run, sql):
    """So that it can be copied, also where the output is no terminal."""
    ran = run("demo")
    key = next(word for word in ran.out.split() if word.startswith("ipto_"))
    assert ran.status == 0
    assert key.split("_")[1] in str(sql("SELECT prefix FROM api_key"))
    assert len(key) == len("ipto_") + 12 + 1 + 43 + 6
    assert "sso user" in ran.out


def test_an_access_token_that_cannot_be_read_is_made_anew(run, sql):
    """The seal of a row is broken, and the demo needs a token to show."""
    before = run("demo", "--json").json["base"]["access_token"]
    sql("UPDATE access_token SET token_sealed = x'00'")
    assert run("demo", "--json").json["base"]["access_token"] != before


def test_a_signing_key_that_cannot_be_read_is_said_to_be(run, sql):
    """The seal of a row is broken, and the rest of the demo is not made."""
    run("demo")
    sql("UPDATE signing_key SET private_sealed = x'00'")
    assert run("demo", "--json").refused("Restore the row")


def test_a_database_is_made_upgraded_and_checked(run, folder):
    """No key is made, for none is needed."""
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


def test_tables_that_differ_are_said_to(run, sql):
    """With the differences on standard output, for a program too, and the status 1."""
    run("db", "upgrade")
    sql("DROP TABLE user_settings")
    checked = run("db", "check", "--json")
    assert (checked.status, len(checked.err.splitlines())) == (1, 1)
    found = json.loads(checked.out)
    assert found["up_to_date"] is False
    assert "add_table" in found["differences"]


def test_a_database_of_another_version_is_refused(run, tenant_id, sql):
    """A revision that is not known here is one of a newer version."""
    sql("UPDATE alembic_version SET version_num = '9999'")
    assert run("tenant", "disable", tenant_id).refused("9999", REVISION, "oneself db upgrade")
    assert run("db", "upgrade", "--json").refused("9999", "newer")
    assert run("db", "check").status == 1
