"""`user import`: what it adds, and what it says of a file that is not right."""

import sys

import bcrypt
import pytest

from accounts.flows.sign_in.sessions import log_in
from oneself import commands
from oneself.database import Database, sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import Ran

PASSWORD = "Violet tangent 47 harbour"
HASHED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return Ran(ended.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def tenant_id(run):
    return run("tenant", "add", "Example", "--json").json["tenant_id"]


@pytest.fixture
def bring(run, tenant_id, tmp_path):
    """Imports a file of these lines."""

    def bring(*lines, options=(), encoding="utf-8"):
        file = tmp_path / "users.csv"
        file.write_bytes("\r\n".join(lines).encode(encoding))
        return run("user", "import", str(file), "--tenant", tenant_id, *options)

    return bring


@pytest.fixture
def users(tmp_path):
    """The addresses in the database."""

    def users():
        driver = sqlite_driver()
        with driver.connect(tmp_path / "data" / "oneself.sqlite3") as connection:
            found = connection.execute("SELECT email FROM user ORDER BY email").fetchall()
        connection.close()
        return [email for (email,) in found]

    return users


HEADER = "email,name,password_hash,email_verified,roles"


def test_the_users_of_a_file_log_in_with_their_passwords(bring, users, tmp_path):
    ran = bring(
        HEADER,
        f"carol@example.com,Carol,{HASHED},true,owner billing",
        'dave@example.com,"Dave, the other",,,',
        options=["--json"],
        encoding="utf-8-sig",
    )
    assert ran.json == {"imported": 2, "skipped": 0}
    assert users() == ["carol@example.com", "dave@example.com"]
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings.location, keys=open_keyring(settings), limits=settings.limits)
    with database.transaction(writing=True) as session:
        opened = log_in(session, email="carol@example.com", password=PASSWORD, user_agent=None)
    database.close()
    assert opened.user.email_verified


def test_a_dry_run_says_what_would_be_and_does_nothing(bring, users):
    ran = bring("email,name", "carol@example.com,Carol", options=["--dry-run", "--json"])
    assert ran.json == {"imported": 0, "skipped": 0, "would_import": 1}
    assert users() == []


def test_nobody_is_added_unless_every_line_is_right(bring, users):
    ran = bring(
        HEADER,
        f"carol@example.com,Carol,{HASHED},true,",
        "nobody,Dave,,,",
        "erin@example.com,Erin,5f4dcc3b5aa765d61d8327deb882cf99,,",
        f"CAROL@example.com,Carol,{HASHED},,",
    )
    assert (ran.status, ran.out, users()) == (1, "", [])
    assert ran.err == (
        "Nobody was added. line 3: email must be an e-mail address; line 4: password_hash must be"
        " bcrypt's: $2a$, $2b$ or $2y$; line 5: the address stands in line 2 already.\n"
    )


def test_of_many_problems_the_first_are_shown(bring):
    ran = bring("email,name", *("nobody,Nobody" for _ in range(9)))
    assert ran.err.count("must be an e-mail address") == 5
    assert ran.err.endswith("; and 4 more.\n")


def test_who_is_there_already_is_a_problem_or_left_out(bring, users):
    lines = ["email,name", "carol@example.com,Carol"]
    assert bring(*lines).status == 0
    again = bring(*lines, "dave@example.com,Dave")
    assert again.status == 1
    assert "line 2: the address has an account (--skip-existing)" in again.err
    skipping = bring(*lines, "dave@example.com,Dave", options=["--skip-existing", "--json"])
    assert skipping.json == {"imported": 1, "skipped": 1}
    assert users() == ["carol@example.com", "dave@example.com"]


def test_many_users_are_added_in_several_writes(bring, users):
    ran = bring(
        "email,name", *(f"user{each}@example.com,User" for each in range(450)), options=["--json"]
    )
    assert ran.json == {"imported": 450, "skipped": 0}
    assert len(users()) == 450


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["email"], "has no column name"),
        ([""], "has no column email and no name"),
        (["email,name,password"], "has columns that are not known: password"),
        (["email,name", "carol@example.com"], "line 2: it has more or fewer fields"),
        (["email,name", "carol@example.com,Carol,x"], "line 2: it has more or fewer fields"),
        (["email,name,email_verified", "c@example.com,C,perhaps"], "line 2: email_verified must"),
        (["email,name", 'carol@example.com,"Carol'], "is not a CSV file in UTF-8 (Error)"),
        (
            ["email,name", "carol@example.com,Zoë"],
            "is not a CSV file in UTF-8 (UnicodeDecodeError)",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(bring, users, lines, said):
    ran = bring(*lines, encoding="latin-1")
    assert (ran.status, ran.out, users()) == (1, "", [])
    assert len(ran.err.splitlines()) == 1
    assert said in ran.err


def test_a_file_and_a_tenant_that_are_not_there_are_named(run, tenant_id, tmp_path):
    file = tmp_path / "users.csv"
    ran = run("user", "import", str(file), "--tenant", tenant_id)
    assert ran.status == 1
    assert "users.csv" in ran.err
    file.write_text("email,name\n")
    ran = run("user", "import", str(file), "--tenant", "tnt_000000000000")
    assert (ran.status, "There is no tenant tnt_000000000000" in ran.err) == (1, True)
