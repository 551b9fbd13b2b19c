"""`policy check`: the output for valid and invalid policies."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oneself.commands import policies
from oneself.commands.console.failures import REFUSED, USAGE, Failure, explain
from oneself.document import load_document
from oneself.runtime.policy_store import read_policies

DEFAULT = Path(__file__).parents[4] / "policies"


@pytest.fixture
def check(monkeypatch):
    """Runs the command on a folder."""

    def check(folder, *options):
        monkeypatch.setenv("ONESELF_POLICY_DIR", str(folder))
        return CliRunner().invoke(policies.app, ["check", *options])

    return check


def test_default_policies_are_valid(check):
    """AZ-03: the digest is the one in the service's log."""
    ran = check(DEFAULT, "--json")
    expected = read_policies(DEFAULT, load_document())
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == {
        "valid": True,
        "folder": str(DEFAULT),
        "count": len(expected.ids),
        "ids": list(expected.ids),
        "digest": expected.digest,
        "governs_public_acts": True,
        "closed_public_acts": [],
    }


def test_output_is_a_table_by_default(check):
    """AZ-08: with the id of each policy."""
    ran = check(DEFAULT)
    assert ran.exit_code == 0
    assert "password-kept-elsewhere" in ran.stdout


PERMIT = '@id("p") permit (principal, action, resource);'
NO_LOGINS = '@id("l") forbid (principal, action == Action::"ipto.logIn", resource);'


def _words(text):
    """The output without its line breaks, which depend on the width."""
    return " ".join(text.split())


def test_closed_public_acts_are_named(check, tmp_path):
    """AZ-07, attack finding 9: before a policy locks out all users."""
    (tmp_path / "a.cedar").write_text(PERMIT + NO_LOGINS)
    ran = check(tmp_path)
    assert ran.exit_code == 0
    assert "none permits it: ipto.logIn. Check that this is intended." in _words(ran.stdout)
    assert json.loads(check(tmp_path, "--json").stdout)["closed_public_acts"] == ["ipto.logIn"]


def test_set_from_before_public_acts_is_told_apart(check, tmp_path):
    """AZ-07: with what it means for them, and how to change it."""
    (tmp_path / "a.cedar").write_text(PERMIT)
    printed = _words(check(tmp_path).stdout)
    assert "No policy mentions acts without a login" in printed
    assert "policies/README.md" in printed
    assert "Check that this is intended" not in printed
    assert json.loads(check(tmp_path, "--json").stdout)["governs_public_acts"] is False
    (tmp_path / "b.cedar").write_text(NO_LOGINS)
    assert "No policy mentions" not in _words(check(tmp_path).stdout)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_each_problem_is_printed_on_its_own_line(check, tmp_path, options):
    """AZ-03: with --json, one object that cannot be mistaken for a valid set."""
    (tmp_path / "a.cedar").write_text("permit (principal, action, resource);")
    (tmp_path / "b.cedar").write_text("nonsense")
    ran = check(tmp_path, *options)
    assert isinstance(ran.exception, Failure)
    assert ran.exception.status == REFUSED
    first, second, next_step = str(ran.exception).splitlines()
    printed = {"valid": False, "problems": [first, second]}
    assert ran.stdout == (json.dumps(printed) + "\n" if options else "")
    assert first == "a.cedar: policy 1 has no @id, or an empty one."
    assert second.startswith("b.cedar: policy 1: ")
    assert str(tmp_path) in next_step
    assert "ONESELF_POLICY_DIR" in next_step


def test_missing_folder_is_named(check, tmp_path):
    """AZ-03: a mistyped setting is not an empty set of policies."""
    ran = check(tmp_path / "polices")
    failure = explain(ran.exception)
    assert (failure.status, ran.stdout) == (USAGE, "")
    assert str(failure).startswith(
        "ONESELF_POLICY_DIR must name a folder that can be read."
        f" {tmp_path / 'polices'}: No such file or directory."
    )
