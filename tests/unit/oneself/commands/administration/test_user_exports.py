"""`user export`: the files can be imported again, and contain no secret."""

import stat
import sys
from pathlib import Path

import pytest

from oneself import commands
from oneself.commands.administration.user_files import Format, read_users
from tests.support.commands import CommandResult

USERS = Path(__file__).parent / "exports" / "oneself.ndjson"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            commands.main()
        return CommandResult(exit_info.value.code or 0, capsys.readouterr())

    return run


@pytest.fixture
def tenant_id(run):
    id_ = run("tenant", "add", "Example", "--json").json["tenant_id"]
    assert run("user", "import", str(USERS), "--tenant", id_).status == 0
    return id_


def users(content, format_):
    return sorted((row.user for row in read_users(content, format_)), key=lambda user: user.email)


@pytest.mark.parametrize("format_", [Format.NDJSON, Format.KEYCLOAK, Format.AUTH0])
def test_exported_users_are_read_again(run, tenant_id, tmp_path, format_):
    """TK-08: and the file contains no password record."""
    file = tmp_path / "export"
    ran = run("user", "export", str(file), "--tenant", tenant_id, "--format", format_, "--json")
    assert ran.json == {"exported": 2}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_text()
    assert "$2b$" not in content
    alice, bob = users(content, format_)
    assert (alice.email, alice.is_verified, alice.is_enabled) == ("alice@example.com", True, True)
    assert (bob.email, bob.is_verified, bob.is_enabled) == ("bob@example.com", False, False)
    assert (alice.name, alice.username) == ("Alice Chen", "alice.c")


def test_ndjson_keeps_every_value_that_is_no_secret(run, tenant_id, tmp_path):
    file = tmp_path / "export"
    run("user", "export", str(file), "--tenant", tenant_id)
    exported, _ = users(file.read_text(), Format.NDJSON)
    [imported, _] = users(USERS.read_text(), Format.NDJSON)
    for name in ("name", "username", "external_id", "roles", "created_at"):
        assert getattr(exported, name) == getattr(imported, name)


def test_existing_file_and_unknown_tenant_are_rejected(run, tenant_id, tmp_path):
    file = tmp_path / "export"
    file.write_text("mine")
    ran = run("user", "export", str(file), "--tenant", tenant_id)
    assert (ran.status, "Give a new FILE" in ran.err, file.read_text()) == (1, True, "mine")
    missing = run("user", "export", str(tmp_path / "new"), "--tenant", "tnt_000000000000")
    assert (missing.status, "There is no tenant" in missing.err) == (1, True)
