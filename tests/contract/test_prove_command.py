"""`python -m oneself prove`, on the started service and on incomplete or missing ones."""

import base64
import json
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from oneself.commands.console.session_setup import open_database
from oneself.commands.demo_spares import make_spares
from oneself_conformance.actors import Actor, Operator, create_session
from oneself_conformance.cli import main
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.reports.verification import verify
from oneself_conformance.targets import Deployment
from tests.support.faults import drop_field, faulty_proxy
from tests.support.hurl_files import run_hurl
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.support.services import started_as
from tests.support.stored import settings_of
from tests.support.tampering import tampering_proxy

PAGE = (ROOT / "docs" / "conformance.md").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A separate service, because some rows sign up with an address that can be taken only once."""
    with started_as(None, tmp_path_factory.mktemp("conformance")) as running:
        yield running


@pytest.fixture
def credentials(service: Service, tmp_path: Path) -> Path:
    path = tmp_path / "people.json"
    path.write_text(json.dumps(service.actors))
    return path


def prove(url: str, credentials: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oneself", "prove", "--url", url]
    return subprocess.run(
        [*command, "--credentials", str(credentials), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def prove_json(url: str, credentials: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = prove(url, credentials, "--json", *options)
    return result.returncode, json.loads(result.stdout)


def test_prove_passes_on_the_service(service: Service, credentials: Path, tmp_path: Path):
    junit, html, run = tmp_path / "report.xml", tmp_path / "report.html", tmp_path / "run"
    options = ("--suite", "rows", "--dialect", "hyperclast", "--hold", "house")
    files = ("--junit", str(junit), "--html", str(html), "--output", str(run))
    result = prove(service.url, credentials, *options, *files)
    assert result.returncode == 0, result.stdout
    assert "rows" in result.stderr  # progress
    assert "Skipped" in result.stdout
    assert junit.stat().st_size
    assert html.stat().st_size
    assert verify(run).problems == ()
    # contract F6: neither the secrets of the file nor those of users that signed up.
    written = b"".join(each.read_bytes() for each in (*run.iterdir(), junit, html))
    written += result.stdout.encode() + result.stderr.encode()
    for name, value in service.actors["base"].items():
        if re.search("token|password|secret|key|jwt|pat$", name):
            assert value.encode() not in written, name
            assert base64.b64encode(value.encode()).rstrip(b"=")[:-1] not in written, name
    assert not re.search(rb"\b(sess|tok|pat)_[0-9A-Za-z]{20,}", written)


@pytest.mark.nightly
def test_exported_hurl_files_pass_on_the_service(service: Service, tmp_path: Path):
    folder = tmp_path / "hurl"
    assert main(["--export", "hurl", str(folder)]) == 0
    variables = {"url": service.url, "nonce": secrets.token_hex(4)}
    for user, values in service.actors.items():
        prefix = "" if user == "base" else f"{user}_"
        variables |= {f"{prefix}{name}": value for name, value in values.items()}
    failed = {}
    files = sorted(folder.rglob("*.hurl"))
    for path in files:
        if problems := [*run_hurl(path.read_text(), variables)]:
            failed[path.relative_to(folder).as_posix()] = problems[0]
    assert failed == {}, f"{len(failed)} of {len(files)}"


def test_failure_is_reported_with_a_repeat_command(service: Service, credentials: Path):
    with faulty_proxy(service, {("GET", "/api/users/me/"): drop_field("username")}) as url:
        result = prove(url, credentials, "--suite", "rows", "--dialect", "hyperclast")
    assert result.returncode == 1
    assert "body/username: is missing" in result.stdout
    assert "source:  " in result.stdout
    assert "repeat:  curl --include" in result.stdout
    assert re.search(r"^[1-9]\d* of \d+ tests failed\.", result.stderr.splitlines()[-1])


#: The roots of Hyperclast's paths.
HYPERCLAST = ("/api/users/", "/api/v1/users/", "/api/app/v1/", "/api/browser/v1/")


def test_prove_tests_only_one_dialect_of_a_reimplementation(service: Service, credentials: Path):
    """Rows with steps in another dialect are skipped."""

    def only_hyperclast(request: Request, ask: Callable[[Request], Answer]) -> Answer:
        if request.target.startswith(HYPERCLAST):
            return ask(request)
        return ask(replace(request, method="GET", target="/nowhere", headers=(), body=b""))

    with tampering_proxy(service.port, only_hyperclast) as port:
        url = f"http://127.0.0.1:{port}"
        options = ("--suite", "rows", "--dialect", "hyperclast", "--behind-proxy")
        options = (*options, "--hold", "house")
        status, report = prove_json(url, credentials, *options)
    counts = report["counts"]["rows"]
    failed = [each["promise"] for each in report["outcomes"] if each["verdict"] == "failed"]
    # The proxy of this test waits for complete bodies, so it never answers slow ones.
    assert [each for each in failed if "arrives too slowly" not in each] == []
    assert status in {int(bool(failed)), 3}
    assert counts["passed"] > 40
    assert {each["dialect"] for each in report["outcomes"]} == {"hyperclast"}


def conform_json(
    capsys: pytest.CaptureFixture[str], service: Service, people: Path, *options: str
) -> list[dict[str, Any]]:
    """Run rows in this process, and return their outcomes."""
    command = ["--url", service.url, "--credentials", str(people), "--json", "--suite", "rows"]
    main([*command, "--hold", "house", *options])
    outcomes: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["outcomes"]
    return outcomes


#: The first changes the password, the second the profile; the third uses two clients.
OF_A_TENANT = (
    "A JWT with the scope changes",
    "names that jitsudo's has set",
    "bound to its client",
)


@pytest.mark.parametrize("promise", OF_A_TENANT)
def test_spare_users_are_borrowed_and_given_back(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], promise: str
):
    """contract F2: rows that need a client or a tenant, twice with the same file."""
    settings = settings_of(service)
    with open_database(settings) as database:
        spares = make_spares(database, 1, {})
    path = tmp_path / "people.json"
    path.write_text(json.dumps({**service.actors, **spares}))
    for _ in range(2):
        outcomes = conform_json(capsys, service, path, "--promise", promise)
        assert {each["verdict"] for each in outcomes} == {"passed"}
    user = Actor(Deployment(service.url, spares), Operator(), spares["spare_1"], "spare_1")
    assert create_session(user)
    assert user.ask("GET", "/api/v1/me")["first_name"] is None
    assert user.ask("GET", "/resources/me/pat") == []
    path.write_text(json.dumps(service.actors))
    skipped = conform_json(capsys, service, path, "--promise", "bound to its client")
    assert {each["verdict"] for each in skipped} == {"skipped"}


def test_operator_command_makes_the_other_rows_runnable(
    service: Service,
    credentials: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """contract F2: time, mail, and acts of an operator."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    (service.data / "demo.json").write_text(credentials.read_text())
    command = shlex.join([sys.executable, "-m", "oneself", "demo-operator"])
    options = ("--operator", command, "--dialect", "scaikey")
    outcomes = conform_json(capsys, service, credentials, *options, "--promise", "after 24 hours")
    assert {each["verdict"] for each in outcomes} == {"passed"}


def test_prove_does_not_begin_without_a_credential(service: Service, tmp_path: Path):
    """Without credentials nothing can run, and that is not a success."""
    path = tmp_path / "empty.json"
    path.write_text('{"base": {}}')
    result = prove(service.url, path, "--json", "--suite", "fuzz", "--dialect", "jitsudo")
    assert (result.returncode, result.stdout) == (2, "")
    assert "neither a token nor a password" in result.stderr.splitlines()[-1]


def test_readme_workflow_proves_a_deployment(service: Service, credentials: Path):
    """Its last step runs unchanged, except for addresses and a narrower selection."""
    [workflow] = re.findall(r"```yaml\n(name: prove.*?)```", PAGE, re.DOTALL)
    assert len(workflow.splitlines()) <= 20
    *_, last = yaml.safe_load(workflow)["jobs"]["prove"]["steps"]
    command = shlex.split(last["run"])
    values = {"--url": service.url, "--credentials": str(credentials)}
    values["--junit"] = str(credentials.with_suffix(".xml"))
    for option, value in values.items():
        command[command.index(option) + 1] = value
    python, *arguments = command
    assert python == "python"
    narrowed = (*arguments, "--suite", "rows", "--dialect", "jitsudo")
    result = subprocess.run([sys.executable, *narrowed], cwd=ROOT, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout.decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dialect", "klingon"), "must be one of ipto"),
        (("--suite", "all"), "choose from"),
        (("--examples", "0"), "must be at least 1"),
    ],
)
def test_invalid_option_is_reported(
    service: Service, credentials: Path, options: tuple[str, ...], message: str
):
    result = prove(service.url, credentials, *options)
    assert result.returncode == 2
    assert message in result.stderr


def test_malformed_address_is_reported(credentials: Path):
    result = prove("localhost:8080", credentials)
    assert result.returncode == 2
    assert "such as https://account.example.com" in " ".join(result.stderr.split())


@pytest.mark.parametrize("suite", ["rows", "probes", "fuzz"])
def test_unreachable_deployment_is_reported_before_any_test(credentials: Path, suite: str):
    url = f"http://127.0.0.1:{free_port()}"
    result = prove(url, credentials, "--json", "--suite", suite)
    assert (result.returncode, result.stdout) == (2, "")
    message = " ".join(result.stderr.split())
    assert message.startswith(f"{url} cannot be reached: the connection is refused.")


def test_missing_credentials_file_is_reported(service: Service, tmp_path: Path):
    result = prove(service.url, tmp_path / "nothing.json")
    assert result.returncode == 2
    assert "nothing.json" in result.stderr
    assert "Traceback" not in result.stderr
