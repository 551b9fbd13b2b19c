"""The command against a reimplementation of one dialect, written from its page."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oneself_conformance.actors import Actors
from oneself_conformance.cli import _suites, main
from oneself_conformance.commands import offline
from oneself_conformance.credentials_file import read_credentials
from oneself_conformance.http_client import Request
from oneself_conformance.levels import Level
from oneself_conformance.options import SUITES
from oneself_conformance.recipe import Recipe, read_recipe
from oneself_conformance.reports.folder import FILES
from oneself_conformance.suite import Step, Suite
from oneself_conformance.targets import RATE_LIMITS, Deployment, Unreachable
from tests.support.deadlines import patient
from tests.support.ports import free_port
from tests.support.reimplementation import Reimplementation, serving_reimplementation

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"
PASSWORD = "Violet tangent 47"
RECIPE = """
log_in:
  path: /sign-in
  json: {email: "${email}", password: "${password}"}
  keep: {session_token: /ticket}
"""


def run(server: Reimplementation, folder: Path, *options: str) -> int:
    path = folder / "people.json"
    path.write_text(json.dumps(server.users))
    suite = () if "--suite" in options else ("--suite", "rows")
    address = ("--url", server.url, "--credentials", str(path))
    return main([*address, "--dialect", "jitsudo", *suite, *options])


@pytest.fixture
def server() -> Iterator[Reimplementation]:
    with serving_reimplementation() as running:
        yield running


@pytest.mark.parametrize("hold", ["published", "standard"])
def test_faithful_reimplementation_passes(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str], hold: str
):
    """contract F3: its own sentences, headers and media types are its own affair."""
    assert run(server, tmp_path, "--hold", hold) == 0
    out = capsys.readouterr().out
    assert "jitsudo.changePassword  passed   passed  400 401 403" in out
    # Twice in a row with the same file: what was changed has been changed back.
    assert run(server, tmp_path) == 0


@pytest.mark.parametrize(
    "fault",
    [
        "does nothing",
        "changes nothing",
        "any password",
        "any tenant",
        "weak passwords",
        "no message",
    ],
)
def test_fault_of_meaning_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str):
    """contract F1: with nothing but a token, a password and a tenant."""
    with serving_reimplementation(fault) as server:
        assert run(server, tmp_path) == 1
    assert "[published: jitsudo, Change the current user's password" in capsys.readouterr().out


def test_probes_of_standards_are_sent_to_others(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """contract F3: the sections of RFCs that demand an outcome of every server, and no other."""
    options = ("--hold", "standard", "--suite", "probes", "--promise", "space before the colon")
    assert run(server, tmp_path, *options) == 0
    assert "probes  -          3/0/0     -" in capsys.readouterr().out
    # Nothing of the document's extensions, which others do not have.
    assert server.requests < 12


def test_probes_are_run_at_level_standard():
    """contract F3: published is about the page alone; generated requests are house rules."""
    assert [_suites(level) for level in Level] == [SUITES[:1], SUITES[:2], SUITES]


def test_house_rules_are_cited_as_such(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """contract F3: the page is not cited for what it does not say."""
    options = ("--hold", "house", "--suite", "rows", "--promise", "wrong current password")
    assert run(server, tmp_path, *options) == 1
    broken = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert len(broken) > 5
    assert all(line.endswith("[house: house rule]") for line in broken)


@pytest.mark.parametrize("fault", ["throttled", "overloaded"])
def test_throttled_deployment_is_incomplete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
):
    """contract 3: not asked, with what to set, and neither broken nor kept."""
    with serving_reimplementation(fault) as server:
        assert run(server, tmp_path, "--operation", "jitsudo.changePassword") == 3
        captured = capsys.readouterr()
        assert "raise the rate limits" in captured.out or "when it is idle" in captured.out
        assert "tests met a rate limit" in captured.err
        assert captured.err.splitlines()[-1].startswith("Raise its rate limits")
        # A refusal in place of which a 429 comes could otherwise pass as one of many skipped rows.
        assert run(server, tmp_path, "--promise", "Another tenant than") == 3
        house = ("--hold", "house", "--suite", "rows", "--promise", "Another tenant than")
        assert run(server, tmp_path, *house) == 3
    assert "export ONESELF_THROTTLE_ACCOUNT=" in capsys.readouterr().err


def test_throttled_login_is_not_asked(tmp_path: Path):
    """contract 3: the same for what prepares a test."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    users = {"base": {"email": "john@example.com", "password": PASSWORD}}
    with serving_reimplementation("throttled sign-in") as server:
        deployment = Deployment(server.url, users, recipe=read_recipe(path), hold=Level.PUBLISHED)
        with pytest.raises(Unreachable, match="429; raise the rate limits") as caught:
            Actors(deployment).find("base")["session_token"]
    assert caught.value.is_overload


def test_slow_answers_extend_the_deadline(server: Reimplementation):
    """contract F8: a busy machine breaks nothing; a time that was chosen stays."""
    deployment = Deployment(server.url, server.users, timeout=0.5)
    request = Request("GET", "/healthz")
    server.delay = 1
    with pytest.raises(TimeoutError):
        deployment.ask(request)
    server.delay = 0.2
    deployment.ask(request)
    assert 2 <= deployment.deadline < 300
    server.delay = 1
    deployment.ask(request)
    with pytest.raises(TimeoutError):
        replace(deployment, is_strict=True).ask(request)


def test_deployment_that_is_down_is_found_out_at_once(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """contract 3: exit status 2 within five seconds, even if the address swallows everything."""
    server.url = f"http://127.0.0.1:{free_port()}"
    assert run(server, tmp_path) == 2
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        server.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        assert run(server, tmp_path) == 2
        assert time.monotonic() - began < patient(5)
    assert capsys.readouterr().err.count("cannot be reached") == 2


def test_unknown_user_is_found_out_first(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """contract 3: one sentence, and no row."""
    people = tmp_path / "people.json"
    people.write_text('{"base": {"session_token": "of-another-deployment"}}')
    options = ["--url", server.url, "--credentials", str(people), "--dialect", "jitsudo"]
    assert main(options) == 2
    assert "base is not known" in capsys.readouterr().err
    assert server.requests == 2
    assert main(["--url", server.url, "--dialect", "jitsudo"]) == 2
    assert "no user to test with" in capsys.readouterr().err


def test_file_of_users_stays_as_it_was(server: Reimplementation, tmp_path: Path):
    """contract F4."""
    path = tmp_path / "people.json"
    before = json.dumps(server.users)
    assert run(server, tmp_path) == 0
    assert path.read_text() == before
    assert [*tmp_path.iterdir()] == [path]


def test_no_secret_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """contract F6: not even of a run in which much fails."""
    reports = tmp_path / "reports"
    reports.mkdir()
    with serving_reimplementation("any tenant") as server:
        asked = ("--operation", "jitsudo.changePassword", "--timeout", "1")
        options = ("--hold", "house", "--suite", "rows", *asked)
        files = ("--html", str(reports / "a.html"), "--junit", str(reports / "a.xml"))
        assert run(server, tmp_path, *options, *files) == 1
        assert run(server, tmp_path, *options, "--json") == 1
        secrets = [value for user in server.users.values() for name, value in user.items()
                   if name in {"session_token", "password"}]  # fmt: skip
    captured = capsys.readouterr()
    for text in (captured.out, captured.err, *(each.read_text() for each in reports.iterdir())):
        assert [each for each in secrets if each in text] == []
    assert "$SESSION_TOKEN" in captured.out


def test_secrets_are_masked_in_the_log_of_actions(
    server: Reimplementation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """contract F6: a workflow command for each secret, before any line that could have it."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run(server, tmp_path, "--operation", "jitsudo.changePassword") == 0
    lines = capsys.readouterr().err.splitlines()
    assert f"::add-mask::{PASSWORD}" in lines[:4]
    assert "::add-mask::a-token-of-a-local-user" in lines[:4]


def test_token_or_email_and_password_are_enough(
    server: Reimplementation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """contract 2: without a file, at the cost of rows that need more of the user."""
    monkeypatch.setenv("PASSWORD", PASSWORD)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    command = ["--url", server.url, "--dialect", "jitsudo", "--promise", "without a credential"]
    assert main([*command, "--token", "a-token-of-a-local-user"]) == 0
    user = ["--email", "john@example.com", "--password-env", "PASSWORD"]
    assert main([*command, *user]) == 2
    assert main([*command, *user, "--recipe", str(recipe)]) == 0


def test_run_can_be_narrowed(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(server, tmp_path, "--promise", "tenant may be written", "--json") == 0
    [outcome] = [
        each
        for each in json.loads(capsys.readouterr().out)["outcomes"]
        if each["dialect"] == "jitsudo" and "published/" in each["promise"]
    ]
    assert outcome["levels"] == {"published": "passed"}
    assert run(server, tmp_path, "--operation", "jitsudo.doNothing") == 2
    assert run(server, tmp_path, "--timeout", "20", "--operation", "jitsudo.changePassword") == 0


@pytest.mark.nightly
@pytest.mark.parametrize("hold", ["published", "standard"])
def test_fuzzer_judges_by_the_level_and_changes_the_password_back(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str], hold: str
):
    """contract F3, F4: the probe of another service is its own, and so are its error messages."""
    passwords = {**server.passwords}
    options = ("--suite", "fuzz", "--hold", hold, "--examples", "5")
    assert run(server, tmp_path, *options) == 0, capsys.readouterr().out
    assert server.passwords == passwords
    assert server.requests > 10


@pytest.mark.nightly
def test_fuzzer_finds_a_success_that_is_none(tmp_path: Path):
    """contract F3: the page has a success, and no redirect."""
    with serving_reimplementation("wrong success") as server:
        assert run(server, tmp_path, "--suite", "fuzz", "--hold", "published") == 1


def test_first_failure_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with serving_reimplementation("does nothing") as server:
        assert run(server, tmp_path, "--fail-fast") == 1
    err = capsys.readouterr().err
    assert "Ended by --fail-fast" in err
    assert "1 of" in err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT interrupt, which a process ignores that a shell has started in the background."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_run_reports_what_is_known(
    server: Reimplementation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
):
    """contract F7."""
    steps = Suite.steps

    def interrupted(suite: Suite) -> Iterator[Step]:
        for step in steps(suite):
            yield step
            signal.raise_signal(number)

    monkeypatch.setattr(Suite, "steps", interrupted)
    html, folder = tmp_path / "report.html", tmp_path / "run"
    options = ("--html", str(html), "--output", str(folder))
    assert run(server, tmp_path, *options) == 128 + number
    captured = capsys.readouterr()
    assert "tests were not run" in captured.err
    assert "rows   1/0/0" in captured.out
    assert html.stat().st_size
    assert {each.name for each in folder.iterdir()} == {*FILES}
    assert " passed rows jitsudo: " in (folder / "run.log").read_text()
    assert len(json.loads((folder / "run.har").read_text())["log"]["entries"]) == 1
    assert main(["verify", str(folder)]) == 1
    assert "before its last test" in capsys.readouterr().out


def test_reports_are_written_despite_a_second_signal(
    server: Reimplementation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """contract F7: a cancelled job gets SIGINT, and soon SIGTERM."""
    monkeypatch.setattr(
        "oneself_conformance.reports.html.write_html",
        lambda *_arguments: signal.raise_signal(signal.SIGTERM),
    )
    assert run(server, tmp_path, "--html", str(tmp_path / "a.html")) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_progress_is_written_without_a_terminal(
    server: Reimplementation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(server, tmp_path) == 0
    assert any(line.startswith("rows 1/") for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("sign_in: {path: /a}", "may have"),
        ("log_in: {json: {}}", "needs a path"),
        ("send: {session: {prefix: Bearer}}", "needs a header or a cookie"),
        ("send: {session: {headers: X}}", "may have"),
        ("[", "is not YAML"),
    ],
)
def test_malformed_recipe_is_rejected(
    server: Reimplementation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    message: str,
):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    assert run(server, tmp_path, "--recipe", str(path)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--document", "/nowhere.yaml"),
        ("--recipe", "/nowhere.yaml"),
        ("--password-env", "NO_SUCH_VARIABLE"),
    ],
)
def test_missing_file_or_variable_is_reported(
    server: Reimplementation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, str],
):
    monkeypatch.setenv("ONESELF_CONFORMANCE_DOCUMENT", "")
    if options[0] == "--document":
        monkeypatch.setattr(offline, "load_document", lambda: open(options[1]))  # noqa: PTH123, SIM115
    assert run(server, tmp_path, *options) == 2
    assert options[1].strip("/") in capsys.readouterr().err


def test_documented_users_and_recipe_are_read(tmp_path: Path):
    blocks = re.findall(r"```(?:json|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    users, recipe, _workflow = blocks
    (tmp_path / "people.json").write_text(users)
    assert {*read_credentials(tmp_path / "people.json")} == {"base", "other_tenant"}
    (tmp_path / "recipe.yaml").write_text(recipe)
    read = read_recipe(tmp_path / "recipe.yaml")
    assert read.headers("session", "abc", {}) == [("X-Session-Token", "abc")]
    assert read.headers("jwt", "abc", {}) == []


def test_documented_rate_limits_are_those_of_the_tests():
    """contract 3: printed, documented, and set by `serve --for-conformance` (test_serve.py)."""
    written = dict(re.findall(r"(ONESELF_THROTTLE_\w+)=(\S+)", PAGE.read_text()))
    assert written == RATE_LIMITS


def test_recipe_sends_cookies_with_their_csrf_token():
    """contract 8: as origin-checked frameworks have it."""
    with_token = {"Cookie": "csrftoken=${csrf}", "X-CSRFToken": "${csrf}"}
    recipe = Recipe(send={"cookie": {"cookie": "sessionid", "with": with_token}})
    assert recipe.headers("cookie", "abc", {"csrf": "def"}) == [
        ("Cookie", "sessionid=abc; csrftoken=def"),
        ("X-CSRFToken", "def"),
    ]


def test_level_below_house_needs_a_dialect(server: Reimplementation, capsys):
    assert main(["--url", server.url, "--token", "a", "--hold", "published"]) == 2
    assert "needs --dialect" in capsys.readouterr().err
