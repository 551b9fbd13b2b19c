"""The folder of a run, and its check: it refuses folders that contradict the tests."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
import yaml

from oneself_conformance.cli import main
from oneself_conformance.reports import facts, folder, verification
from tests.support.reimplementation import serving_reimplementation

RECIPE = """
log_in:
  path: /sign-in
  json: {email: "${email}", password: "${password}"}
  keep: {session_token: /ticket}
"""
LEVEL = ("--dialect", "jitsudo", "--hold", "published")


def write_run(work: Path, fault: str | None = None, *options: str) -> tuple[Path, int, list[str]]:
    """Run the tests on a stand-in, and return the folder, the exit status, and the secrets."""
    people, recipe = work / "people.json", work / "recipe.yaml"
    recipe.write_text(RECIPE)
    with serving_reimplementation(fault) as server:
        users = server.users
        # The recipe has to log in, so that a secret is known only during the run.
        people.write_text(
            json.dumps({**users, "base": {**users["base"], "session_token": "ended"}})
        )
        status = main(
            ["--url", server.url, "--credentials", str(people), "--recipe", str(recipe), *LEVEL,
             "--output", str(work / "run"), "--product", "Jitsudo", "--product-version", "1.2",
             *options]
        )  # fmt: skip
    names = ("session_token", "password")
    secrets = [value for user in users.values() for name, value in user.items() if name in names]
    return work / "run", status, secrets


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, status, _ = write_run(tmp_path_factory.mktemp("passed"))
    assert status == 0
    return path


@pytest.fixture
def copy(passed: Path, tmp_path: Path) -> Path:
    shutil.copytree(passed, tmp_path / "run")
    return tmp_path / "run"


def test_folder_has_the_parts_of_a_conformance_result(passed: Path):
    assert {each.name for each in passed.iterdir()} == {*folder.FILES}
    assert yaml.safe_load((passed / "PRODUCT.yaml").read_text())["name"] == "Jitsudo"
    assert "# Conformance of Jitsudo 1.2\n\n**Passed: " in (passed / "README.md").read_text()
    assert "# seeds: [1]\n" in (passed / "run.log").read_text()
    badge = json.loads((passed / "badge.json").read_text())
    assert (badge["schemaVersion"], badge["color"]) == (1, "brightgreen")
    assert badge["message"].startswith("published, ")


def test_archive_names_the_row_of_each_exchange(passed: Path):
    entries = json.loads((passed / "run.har").read_text())["log"]["entries"]
    assert len(entries) > 15
    own = [each for each in entries if not each["comment"].startswith("step of ")]
    assert {each["comment"].split(": ")[0] for each in own} == {"jitsudo", "published/jitsudo"}
    assert {each["response"]["status"] for each in entries} == {204, 400, 401, 403}
    headers = {each["value"] for entry in entries for each in entry["request"]["headers"]}
    assert "Bearer $SESSION_TOKEN" in headers


@pytest.mark.parametrize("fault", [None, "any tenant"])
def test_no_secret_is_in_any_artefact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str | None
):
    """contract F6: neither of the file nor of a log-in during the run, in any form."""
    path, _, secrets = write_run(tmp_path, fault, "--junit", str(tmp_path / "a.xml"))
    captured = capsys.readouterr()
    written = [each.read_bytes() for each in (*path.iterdir(), tmp_path / "a.xml")]
    for content in (*written, captured.out.encode(), captured.err.encode()):
        for secret in secrets:
            data = secret.encode()
            assert data not in content
            assert quote(secret).encode() not in content
            assert json.dumps(secret).encode() not in content
            for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
                assert encoded.rstrip(b"=")[:-1] not in content


def test_written_folder_verifies(passed: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["verify", str(passed)]) == 0
    assert "is whole and consistent. Passed: " in capsys.readouterr().out


def test_folder_of_a_failed_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, status, _ = write_run(tmp_path, "any tenant")
    assert status == 1
    assert main(["verify", str(path)]) == 1
    # It is consistent, so nothing else is wrong.
    [problem, _] = capsys.readouterr().out.splitlines()[-2:]
    assert problem.startswith("the run did not pass: ")
    assert verification.verify(path).problems == (problem,)


def edit(name: str, pattern: str, replacement: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        file = path / name
        text = file.read_text()
        changed = re.sub(pattern, replacement, text, count=1, flags=re.DOTALL)
        assert changed != text
        file.write_text(changed)

    return act


def remove_a_test(path: Path) -> None:
    """Remove a test everywhere, with its number."""
    tree = ET.parse(path / "junit.xml")  # noqa: S314 # our own file
    [suite] = tree.getroot()
    case = suite.findall("testcase")[0]
    suite.remove(case)
    suite.set("tests", str(len(suite.findall("testcase"))))
    tree.write(path / "junit.xml")
    log = path / "run.log"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if case.get("name", "") not in line))


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (edit("README.md", r"\*\*Passed: \d+", "**Passed: 99"), "verdict of README.md"),
        (edit("report.html", "Passed: ", "Perfect: "), "verdict of report.html"),
        (edit("run.log", "# verdict: .*", "# verdict: fine\n"), "verdict of run.log"),
        (edit("badge.json", "published, ", "house, "), "badge.json is not"),
        (edit("PRODUCT.yaml", "verdict: 'Passed", "verdict: 'Best"), "PRODUCT.yaml is about"),
        (edit("junit.xml", "<testcase [^>]*>", ""), "the counts of suite rows"),
        (remove_a_test, "has no 1 tests of suite rows"),
        (edit("junit.xml", r"published/jitsudo: [^\"]*", "rows: another"), "should not have 1"),
        (edit("run.log", " passed rows ", " failed rows "), "run.log and junit.xml differ"),
        (edit("run.log", r"# seeds: \[1\]", "# seeds: [2]"), "another seeds"),
        (edit("run.har", r'"status": 204', '"status": 500'), "run.har has no response with 2xx"),
        (edit("run.har", '"log"', '"log_"'), "run.har is not an HTTP archive"),
        (edit("run.har", "{", ""), "run.har is not JSON"),
        (edit("junit.xml", 'document" value="&quot;....', 'document" value="&quot;0000'),
         "another document"),
        (edit("junit.xml", 'rows" value="&quot;....', 'rows" value="&quot;0000'), "another rows"),
        (edit("junit.xml", 'version" value="', 'version" value="&quot;9'), "not say what was run"),
        (edit("junit.xml", 'value="&quot;published', 'value="&quot;all'), "does not say what"),
        (edit("junit.xml", "<testsuites", "<!DOCTYPE a><testsuites"), "document type"),
        (edit("junit.xml", "</testsuites>", ""), "junit.xml is not XML"),
        (edit("PRODUCT.yaml", "name:", "[:"), "PRODUCT.yaml is not YAML"),
        (lambda path: (path / "README.md").write_bytes(b"\xff"), "README.md is not text"),
        (lambda path: (path / "run.har").unlink(), "has no run.har"),
        (lambda path: (path / "junit.xml").write_text("<testsuites/>"), "has no test"),
    ],
)  # fmt: skip
def test_tampered_folder_is_refused(copy: Path, tamper: Callable[[Path], None], problem: str):
    tamper(copy)
    assert problem in "\n".join(verification.verify(copy).problems)


def test_hidden_failure_is_refused(tmp_path: Path):
    """A failure that is removed from the report of a run, with all of its counts."""
    path, _, _ = write_run(tmp_path, "any tenant")
    tree = ET.parse(path / "junit.xml")  # noqa: S314 # our own file
    [suite] = tree.getroot()
    suite.set("failures", "0")
    for case in suite.iter("testcase"):
        for failure in case.findall("failure"):
            case.remove(failure)
    tree.write(path / "junit.xml")
    problems = "\n".join(verification.verify(path).problems)
    assert "run.log and junit.xml differ" in problems
    assert "run.har has no response with 403" in problems


def test_folder_of_a_throttled_run_is_refused(tmp_path: Path):
    """contract 3: tests that a rate limit hides have not passed."""
    path, status, _ = write_run(tmp_path, "throttled")
    assert status in {1, 3}
    assert " overloaded rows " in (path / "run.log").read_text()
    [problem] = verification.verify(path).problems
    assert problem.startswith("the run did not pass: ")


def test_folder_of_other_tests_is_refused(passed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verification, "kit_version", lambda: "9.9")
    [problem] = verification.verify(passed).problems
    assert problem == f"the run had another version: {facts.kit_version()} is not 9.9"


def test_folder_must_be_new(passed: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--url", "http://localhost", "--output", str(passed)])
    assert "is not an empty folder" in capsys.readouterr().err
