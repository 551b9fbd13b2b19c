"""`user import`: imported users, and errors in the file."""

import sys

import bcrypt
import pytest

from accounts.flows.sign_in.sessions import log_in
from oneself import commands
from oneself.database import Database, sqlite_driver
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.commands import CommandResult

PASSWORD = "Violet tangent 47 harbour"
HASHED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_PASSWORD_COST", "10")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def tenant_id(run):
    return run("tenant", "add", "Example", "--json").json["tenant_id"]


@pytest.fixture
def import_lines(run, tenant_id, tmp_path):
    """Imports a file of these lines."""

    def import_lines(*lines, options=(), encoding="utf-8"):
        file = tmp_path / "users.csv"
        file.write_bytes("\r\n".join(lines).encode(encoding))
        return run("user", "import", str(file), "--tenant", tenant_id, *options)

    return import_lines


@pytest.fixture
def emails(tmp_path):
    """Returns the addresses in the database."""

    def emails():
        driver = sqlite_driver()
        with driver.connect(tmp_path / "data" / "oneself.sqlite3") as connection:
            found = connection.execute("SELECT email FROM user ORDER BY email").fetchall()
        connection.close()
        return [email for (email,) in found]

    return emails


def counts(**others):
    """Return the counts of an import, of which those not given are 0."""
    names = ("imported", "skipped", "refused", "without_password", "unverified")
    return dict.fromkeys(names, 0) | others


HEADER = "email,name,password_hash,email_verified,roles"


def test_imported_user_logs_in_with_the_old_password(import_lines, emails, tmp_path):
    ran = import_lines(
        HEADER,
        f"carol@example.com,Carol,{HASHED},true,owner billing",
        'dave@example.com,"Dave, the other",,,',
        options=["--json"],
        encoding="utf-8-sig",
    )
    assert ran.json == counts(imported=2, unverified=1, without_password=1)
    assert emails() == ["carol@example.com", "dave@example.com"]
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings.location, keys=open_keyring(settings), limits=settings.limits)
    with database.transaction(writing=True) as session:
        opened = log_in(session, email="carol@example.com", password=PASSWORD, user_agent=None)
    database.close()
    assert opened.user.email_verified


def test_dry_run_changes_nothing(import_lines, emails):
    ran = import_lines("email,name", "carol@example.com,Carol", options=["--dry-run", "--json"])
    assert ran.json == counts(unverified=1, without_password=1) | {"would_import": 1}
    assert emails() == []


def test_no_user_is_added_when_a_line_is_invalid(import_lines, emails):
    ran = import_lines(
        HEADER,
        f"carol@example.com,Carol,{HASHED},true,",
        "no address,Dave,,,",
        "erin@example.com,Erin,5f4dcc3b5aa765d61d8327deb882cf99,,",
        f"CAROL@example.com,Carol,{HASHED},,",
    )
    assert (ran.status, ran.out, emails()) == (1, "", [])
    assert ran.err == (
        "No user was added: line 3: email must be an e-mail address; line 4: password_hash must be"
        " of a known scheme, such as bcrypt, with parameters that a login can afford; line"
        " 5: the address is already in line 2.\n"
    )


def test_first_problems_are_shown_when_there_are_many(import_lines):
    ran = import_lines("email,name", *("no address,Name" for _ in range(9)))
    assert ran.err.count("must be an e-mail address") == 5
    assert ran.err.endswith("; and 4 more.\n")


def test_existing_user_is_rejected_or_skipped(import_lines, emails):
    lines = ["email,name", "carol@example.com,Carol"]
    assert import_lines(*lines).status == 0
    again = import_lines(*lines, "dave@example.com,Dave")
    assert again.status == 1
    assert "line 2: the address has an account (see --skip-existing)" in again.err
    skipping = import_lines(*lines, "dave@example.com,Dave", options=["--skip-existing", "--json"])
    assert skipping.json == counts(imported=1, skipped=1, unverified=1, without_password=1)
    assert emails() == ["carol@example.com", "dave@example.com"]


def test_many_users_are_added_in_batches(import_lines, emails):
    ran = import_lines(
        "email,name", *(f"user{each}@example.com,User" for each in range(450)), options=["--json"]
    )
    assert ran.json == counts(imported=450, unverified=450, without_password=450)
    assert len(emails()) == 450


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["email"], "has no column name"),
        ([""], "has no column email and no name"),
        (["email,name,password"], "has unknown columns: password"),
        (["email,name", "carol@example.com"], "line 2: the number of fields differs"),
        (["email,name", "carol@example.com,Carol,x"], "line 2: the number of fields differs"),
        (["email,name,email_verified", "c@example.com,C,perhaps"], "line 2: email_verified must"),
        (["email,name", 'carol@example.com,"Carol'], "is not a CSV file in UTF-8 (Error)"),
        (
            ["email,name", "carol@example.com,Zoë"],
            "is not a CSV file in UTF-8 (UnicodeDecodeError)",
        ),
    ],
)
def test_malformed_file_is_rejected_in_one_line(import_lines, emails, lines, message):
    ran = import_lines(*lines, encoding="latin-1")
    assert (ran.status, ran.out, emails()) == (1, "", [])
    assert len(ran.err.splitlines()) == 1
    assert message in ran.err


def test_missing_file_or_tenant_is_named(run, tenant_id, tmp_path):
    file = tmp_path / "users.csv"
    ran = run("user", "import", str(file), "--tenant", tenant_id)
    assert ran.status == 1
    assert "users.csv" in ran.err
    file.write_text("email,name\n")
    ran = run("user", "import", str(file), "--tenant", "tnt_000000000000")
    assert (ran.status, "There is no tenant tnt_000000000000" in ran.err) == (1, True)


def test_invalid_entries_are_skipped_and_reported(import_lines, emails, tmp_path):
    """PW-14: the report names places and rules, and never a hash or an address."""
    unknown = "5f4dcc3b5aa765d61d8327deb882cf99"
    report = tmp_path / "report.csv"
    ran = import_lines(
        f"{HEADER},phone",
        f"carol@example.com,Carol,{HASHED},true,,+4930123456",
        "no address,Dave,,,,",
        f"erin@example.com,Erin,{unknown},,,",
        f"CAROL@example.com,Carol,{HASHED},,,",
        "frank@example.com,Frank,,,,12",
        options=["--skip-invalid", "--report", str(report), "--json"],
    )
    assert ran.json == counts(imported=2, refused=3, without_password=1, unverified=1)
    assert emails() == ["carol@example.com", "frank@example.com"]
    lines = report.read_text().splitlines()
    assert [line[:11] for line in lines] == [
        *("place,comes", "line 3,no,e", 'line 4,no,"', "line 6,yes,", "line 5,no,t")
    ]
    assert unknown not in report.read_text()
    assert "@" not in report.read_text()


def test_users_come_without_hashes_that_are_not_accepted(import_lines, emails):
    slow = "pbkdf2_sha256$600000$salt$" + "A" * 43
    lines = [HEADER, f"carol@example.com,Carol,{slow},,"]
    refused = import_lines(*lines)
    assert "takes as long as bcrypt with cost 13" in refused.err
    ran = import_lines(*lines, options=["--drop-hashes", "--json"])
    assert ran.json == counts(imported=1, without_password=1, unverified=1)
    assert emails() == ["carol@example.com"]


def test_external_ids_and_user_names_are_kept(import_lines, tmp_path):
    """UN-02: a user name of another user is replaced, an external id of another is refused."""
    header = "email,name,external_id,username"
    lines = ["a@example.com,A,AbCdEfGh12,alpha", "b@example.com,B,,ALPHA", "c@example.com,C,,root"]
    assert import_lines(header, *lines).status == 0
    with sqlite_driver().connect(tmp_path / "data" / "oneself.sqlite3") as connection:
        query = "SELECT username, external_id FROM user ORDER BY email"
        (name, external_id), (other, _), (reserved, _) = connection.execute(query).fetchall()
    connection.close()
    assert (name, external_id) == ("alpha", "AbCdEfGh12")
    assert other.startswith("alpha")
    assert other != "alpha"
    assert reserved not in {"root", ""}
    again = import_lines(header, "d@example.com,D,AbCdEfGh12,delta", "e@example.com,E,short,")
    assert "line 2: another user has the external_id" in again.err
    assert "line 3: external_id must be 10 letters and digits" in again.err
    twice = import_lines(header, "f@example.com,F,0000000000,", "g@example.com,G,0000000000,")
    assert "line 3: the external_id is already in line 2" in twice.err


def test_report_that_cannot_be_written_is_named(import_lines, emails, tmp_path):
    ran = import_lines("email,name", "a@example.com,A", options=["--report", str(tmp_path)])
    assert (ran.status, emails()) == (1, [])
    assert "cannot be written" in ran.err
