"""The contents of dist/, each started in an empty environment: `tox run -e dist`."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.support.deadlines import patient
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif("ONESELF_DIST" not in os.environ, reason="tox run -e dist")

ROOT = Path(__file__).parents[2]
PASSWORD = "s3cur3P@ssw0rd!"
#: How this machine reaches package registries, for the dependencies of the client.
REGISTRIES = re.compile(r"(PIP|UV|SSL)_.*")


@pytest.fixture(scope="session")
def dist() -> Path:
    return Path(os.environ["ONESELF_DIST"])


def empty_environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


def run(command: list[object], cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def get_json(url: str, data: object = None, **headers: str) -> dict[str, object]:
    body = None if data is None else json.dumps(data).encode()
    request = Request(url, body, {"Content-Type": "application/json", **headers})  # noqa: S310
    with urlopen(request, timeout=patient(30)) as answer:  # noqa: S310 # loopback
        return dict(json.load(answer))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The empty folder from which the service is started."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "home").mkdir()
    return folder


@pytest.fixture(scope="module")
def service(dist: Path, folder: Path) -> Iterator[str]:
    """The service, started from its file with two workers; SIGTERM must end it with 0."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # Threads that hash yield to all others, so on a busy machine they take minutes.
    settings = {"ONESELF_PUBLIC_URL": url, "ONESELF_PASSWORD_COST": "10"}
    environment = {**empty_environment(folder / "home"), **settings}
    with (folder / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", dist / "oneself.pyz", "serve", f"--port={port}", "--workers=2"],
            cwd=folder,
            env=environment,
            stderr=log,
        )
    deadline = time.monotonic() + patient(120)
    try:
        while True:
            assert process.poll() is None, (folder / "stderr.log").read_text()
            assert time.monotonic() < deadline
            try:
                assert get_json(f"{url}/healthz") == {"status": "ok"}
                break
            except OSError:
                time.sleep(0.2)
        assert len(children(process.pid)) >= 2
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(60)) == 0
    finally:
        if process.poll() is None:
            process.kill()


@pytest.fixture(scope="module")
def session(service: str) -> str:
    user = {"email": "alice.chen@example.com", "password": PASSWORD}
    names = {"display_name": "Alice Chen", "tenant_name": "Acme Corp"}
    signed_up = get_json(f"{service}/v1/auth/signup", {**user, **names})
    return str(signed_up["data"]["session_token"])  # type: ignore[index] # an envelope


def test_service_runs_from_one_file(service, session, folder):
    """newcomer F12: the document, policies, tables and mail templates are inside."""
    user = get_json(f"{service}/v1/me", Authorization=f"Bearer {session}")
    assert user["data"]["email"] == "alice.chen@example.com"
    assert get_json(f"{service}/openapi.json")["openapi"].startswith("3.")
    with urlopen(f"{service}/docs", timeout=patient(30)) as page:  # noqa: S310 # loopback
        assert b"<title>" in page.read()
    # Data is below the working directory, and nothing else.
    assert {path.name for path in folder.iterdir()} == {"data", "home", "stderr.log"}
    get_json(f"{service}/v1/auth/password/forgot", {"email": "alice.chen@example.com"})
    deadline = time.monotonic() + patient(60)
    while not [*(folder / "data").rglob("*.eml")]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.usefixtures("service")
def test_commands_run_from_the_same_file(dist, folder):
    environment = empty_environment(folder / "home")
    pyz = dist / "oneself.pyz"
    version = run([sys.executable, "-I", pyz, "--version"], folder, environment)
    assert f'version = "{version.strip()}"' in (ROOT / "pyproject.toml").read_text()
    tenants = run([sys.executable, pyz, "tenant", "list", "--json"], folder, environment)
    assert "Acme Corp" in tenants


def test_environment_of_the_caller_is_not_imported(dist, folder, tmp_path):
    """A module of the same name elsewhere does not run."""
    (tmp_path / "oneself.py").write_text("raise SystemExit('not this one')")
    environment = {**empty_environment(folder / "home"), "PYTHONPATH": str(tmp_path)}
    assert run([sys.executable, dist / "oneself.pyz", "--version"], tmp_path, environment)


def test_python_client_makes_a_call(dist, service, session, tmp_path):
    """newcomer F12."""
    registries = {name: value for name, value in os.environ.items() if REGISTRIES.fullmatch(name)}
    environment = {**empty_environment(tmp_path), **registries}
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "venv" / "bin" / "python"
    make = [uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"]
    run(make, tmp_path, environment)
    for pattern in ("*.whl", "*.tar.gz"):
        (package,) = dist.glob(f"oneself_client-{pattern}")
        install = [uv, "pip", "install", "--quiet", "--reinstall-package", "oneself-client"]
        run([*install, "--python", python, package], tmp_path, environment)
        program = (
            "import sys; from oneself_client import Oneself; me = Oneself(*sys.argv[1:2],"
            " token=sys.argv[2]); print(me.ipto.get_current_user().data.display_name)"
        )
        printed = run([python, "-I", "-c", program, service, session], tmp_path, environment)
        assert printed == "Alice Chen\n"


@pytest.fixture(scope="module")
def conformance(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the conformance tests, in an environment with nothing else."""
    folder = tmp_path_factory.mktemp("conformance")
    registries = {name: value for name, value in os.environ.items() if REGISTRIES.fullmatch(name)}
    environment = {**empty_environment(folder), **registries}
    uv = Path(sys.executable).with_name("uv")
    run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder, environment)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = dist.glob("oneself_conformance-*.whl")
    run([uv, "pip", "install", "--quiet", "--python", python, wheel], folder, environment)
    sys.stdout.write(run([uv, "pip", "list", "--python", python], folder, environment))
    return python.with_name("oneself-conformance")


def test_conformance_tests_need_nothing_of_the_service(conformance):
    """contract 7.1: two direct dependencies, and no package of the service."""
    python = conformance.with_name("python")
    program = (
        "import importlib.metadata as m; print(*(each.name.lower() for each in m.distributions()))"
    )
    names = run([python, "-I", "-c", program], conformance.parent, {}).split()
    service = {"connexion", "granian", "pillow", "sqlalchemy", "sqlmodel", "starlette", "typer"}
    assert "oneself-conformance" in names
    assert not service & {*names}
    assert len(names) < 25


def test_conformance_tests_run_from_their_wheel(conformance, service, session, tmp_path):
    """contract 7.1: the document and the rows are inside."""
    people = tmp_path / "people.json"
    people.write_text(json.dumps({"base": {"session_token": session}}))
    options = ("--dialect", "status", "--suite", "rows", "--json")
    command = [conformance, "--url", service, "--credentials", people, *options]
    report = json.loads(run(command, tmp_path, empty_environment(tmp_path)))
    assert report["counts"]["rows"]["passed"] > 20


def test_typescript_client_makes_a_call(dist, service, session, tmp_path):
    """newcomer F12."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    environment = {**empty_environment(tmp_path), "PATH": path}
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    (package,) = dist.glob("*.tgz")
    run(["npm", "install", "--offline", "--ignore-scripts", package], tmp_path, environment)
    program = (
        "import { createOneself } from 'oneself-client';"
        "const [baseUrl, token] = process.argv.slice(1);"
        "const { data } = await createOneself({ baseUrl, token }).ipto.getCurrentUser();"
        "console.log(data.data.display_name);"
    )
    command = ["node", "--input-type=module", "--eval", program, service, session]
    assert run(command, tmp_path, environment) == "Alice Chen\n"


def test_document_of_each_dialect_is_written(dist):
    command = [sys.executable, "-m", "oneself", "document", "--help"]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("there is no command `document`")
    documents = [json.loads(path.read_text()) for path in (dist / "openapi").glob("*.json")]
    assert len(documents) > 5
    assert all(document["paths"] for document in documents)


def test_files_record_no_folder_or_index_of_this_machine(dist):
    """SC-01: pex records requirements by name and hash."""
    with zipfile.ZipFile(dist / "oneself.pyz") as archive:
        recorded = archive.read("PEX-INFO").decode()
        names = archive.namelist()
    assert "://" not in recorded
    assert str(ROOT) not in recorded
    assert not [name for name in names if name.endswith(("direct_url.json", ".pyc", ".sqlite3"))]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in {".pyz", ".whl", ".gz", ".tgz"}
    }


def test_builds_are_reproducible(dist, tmp_path):
    """SC-01: a second build has equal bytes."""
    work = Path(os.environ["ONESELF_DIST_WORK"])
    environment = dict(os.environ)
    again = tmp_path / "dist"
    run(
        [sys.executable, ROOT / "bin/build_pyz.py", work / "runtime", again / "oneself.pyz"],
        tmp_path,
        environment,
    )
    python = work / "generator" / "bin" / "python"
    run([python, ROOT / "sdk" / "build.py", work / "sdk", again], tmp_path, environment)
    build = [Path(sys.executable).with_name("uv"), "build", "--quiet", "--wheel"]
    build += ["--no-build-isolation", "--python", python, ROOT / "contracts", "--out-dir", again]
    run(build, tmp_path, environment)
    assert len(digests(dist)) == 5
    assert digests(again) == digests(dist)
