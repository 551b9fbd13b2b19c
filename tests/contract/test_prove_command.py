"""`python -m oneself prove`, against the running service and against one that lacks nearly all."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from oneself.conformance.http_client import Answer, Request
from tests.support.faults import drop_field, faulty
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.support.services import started_as
from tests.support.tampering import spoiled

PAGE = (ROOT / "docs" / "conformance.md").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: some rows sign up by an address that can be taken only once."""
    with started_as(None, tmp_path_factory.mktemp("proven")) as running:
        yield running


@pytest.fixture
def credentials(service: Service, tmp_path: Path) -> Path:
    path = tmp_path / "people.json"
    path.write_text(json.dumps(service.people))
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


def proven(url: str, credentials: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = prove(url, credentials, "--json", *options)
    return done.returncode, json.loads(done.stdout)


def test_a_right_deployment_keeps_its_promises(service: Service, credentials: Path, tmp_path: Path):
    junit, html = tmp_path / "proof.xml", tmp_path / "proof.html"
    options = ("--suite", "rows", "--dialect", "hyperclast")
    done = prove(service.url, credentials, *options, "--junit", str(junit), "--html", str(html))
    assert done.returncode == 0, done.stdout
    assert "rows" in done.stderr  # how far it is
    assert "Not asked" in done.stdout
    assert junit.stat().st_size
    assert html.stat().st_size


def test_a_broken_promise_is_told_with_what_repeats_it(service: Service, credentials: Path):
    with faulty(service, {("GET", "/api/users/me/"): drop_field("username")}) as url:
        done = prove(url, credentials, "--suite", "rows", "--dialect", "hyperclast")
    assert done.returncode == 1
    assert "body/username: is missing" in done.stdout
    assert "source:  " in done.stdout
    assert "repeat:  curl --include" in done.stdout
    assert re.search(r"^[1-9]\d* of \d+ promises are broken\.", done.stderr.splitlines()[-1])


def test_a_reimplementation_of_one_dialect_is_asked_for_that_alone(
    service: Service, credentials: Path
):
    """What leads through another dialect is left out, and counts as neither kept nor broken."""

    def only_hyperclast(request: Request, ask: Callable[[Request], Answer]) -> Answer:
        if request.target.startswith("/api/users/"):
            return ask(request)
        return ask(replace(request, method="GET", target="/nowhere", headers=(), body=b""))

    with spoiled(service.port, only_hyperclast) as port:
        url = f"http://127.0.0.1:{port}"
        options = ("--suite", "rows", "--dialect", "hyperclast", "--behind-proxy")
        status, found = proven(url, credentials, *options)
    numbers = found["counts"]["rows"]
    broken = [each["promise"] for each in found["outcomes"] if each["verdict"] == "broken"]
    # The proxy of this test waits for the whole of a body, and so answers none that dribbles.
    assert [each for each in broken if "dribbles" not in each] == []
    assert status == int(bool(broken))
    assert numbers["kept"] > 40
    assert {each["dialect"] for each in found["outcomes"]} == {"hyperclast"}


def test_a_proof_of_nothing_proves_nothing(service: Service, tmp_path: Path):
    """With credentials of nobody, nothing can be asked, and that is no success."""
    path = tmp_path / "nobody.json"
    path.write_text('{"base": {}}')
    done = prove(service.url, path, "--json", "--suite", "fuzz", "--dialect", "jitsudo")
    assert json.loads(done.stdout)["counts"]["fuzz"]["kept"] == 0
    assert done.returncode == 1
    assert "Nothing could be asked" in done.stderr.splitlines()[-1]


def test_the_workflow_of_the_readme_proves_a_deployment(service: Service, credentials: Path):
    """Its last step is run as it stands, but for where the deployment is and how much is asked."""
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
    done = subprocess.run([sys.executable, *narrowed], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--dialect", "klingon"), "must be one of ipto"),
        (("--suite", "all"), "must be one of rows"),
        (("--examples", "0"), "greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_named(
    service: Service, credentials: Path, options: tuple[str, ...], says: str
):
    done = prove(service.url, credentials, *options)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_wrong_address_is_named(credentials: Path):
    done = prove("localhost:8080", credentials)
    assert done.returncode == 2
    assert "is no address such as https://" in done.stderr


@pytest.mark.parametrize("suite", ["rows", "probes", "fuzz"])
def test_a_deployment_that_is_not_there_is_named_and_nothing_is_asked(
    credentials: Path, suite: str
):
    url = f"http://127.0.0.1:{free_port()}"
    done = prove(url, credentials, "--json", "--suite", suite)
    assert (done.returncode, done.stdout) == (1, "")
    said = " ".join(done.stderr.split())
    assert said.startswith(f"{url} cannot be reached: nobody listens there.")


def test_a_missing_file_is_named(service: Service, tmp_path: Path):
    done = prove(service.url, tmp_path / "nothing.json")
    assert done.returncode == 1
    assert "nothing.json" in done.stderr
    assert "Traceback" not in done.stderr
