"""The Containerfile and compose.yaml, as far as they can be tested without a container engine.

They are parsed, and the files that the image copies run without the rest of the checkout.
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import typer
import yaml
from sqlalchemy import make_url

from oneself.commands.serve import serve
from oneself.commands.storage import db
from oneself.settings import Settings
from tests.support.deadlines import patient
from tests.support.service import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if name != "database"}


def _instructions():
    """Return each instruction with its words, without comments, with continued lines joined."""
    lines = (ROOT / "Containerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


INSTRUCTIONS = _instructions()


def _all(name):
    return [words for instruction, words in INSTRUCTIONS if instruction == name]


def _copied():
    """Return source and target of each copy from the checkout."""
    return [words.split() for words in _all("COPY") if not words.startswith("--from")]


def _can_be_read(words):
    """Return whether our command line accepts the words; the command is not run."""
    app = typer.Typer()
    if words[0] == "serve":
        app.command()(serve)
        assert typer.main.get_command(app).make_context("serve", words[1:])
    else:
        commands = typer.main.get_command(db.app).commands
        assert words[0] == "db"
        assert commands[words[1]].make_context(words[1], words[2:])
    return True


def test_instructions_are_known():
    """SC-06: a wrongly joined line would begin with another word."""
    known = {"ARG", "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "VOLUME", "EXPOSE"}
    known |= {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in INSTRUCTIONS} == known


def test_only_hashed_wheels_are_installed():
    """SC-01, SC-06."""
    [install] = [words for words in _all("RUN") if "pip" in words]
    assert "pip install" in install
    assert {"--require-hashes", "--only-binary", ":all:"} <= set(install.split())
    assert install.split()[-1] == "/tmp/runtime.txt"  # noqa: S108 # of the image
    assert ["requirements/runtime.txt", "/tmp/"] in _copied()  # noqa: S108 # as above


def test_image_runs_as_an_unprivileged_user():
    """SC-06: by number, so that an orchestrator can check it; no file is added afterwards."""
    [user] = _all("USER")
    assert all(int(each) >= 10_000 for each in user.split(":"))
    after = INSTRUCTIONS[INSTRUCTIONS.index(("USER", user)) + 1 :]
    assert {name for name, _ in after} == {"VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_commands_are_valid():
    """In the image, and in each service of compose.yaml."""
    [entrypoint], [command] = _all("ENTRYPOINT"), _all("CMD")
    assert json.loads(entrypoint) == ["python", "-m", "oneself"]
    assert _can_be_read(json.loads(command))
    assert all(_can_be_read(each["command"]) for each in OURS.values())
    with pytest.raises(Exception, match="--loud"):
        _can_be_read(["serve", "--loud"])


def test_build_context_contains_only_copied_files():
    """SC-06: no .git, no data and no key can get into an image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    everything, *others = [line for line in lines if line and not line.startswith("#")]
    assert everything == "*"
    assert {each[1:] for each in others if each.startswith("!")} == {each for each, _ in _copied()}
    assert all((ROOT / source).exists() for source, _ in _copied())


def test_the_one_file_contains_the_same_files():
    """SC-06, newcomer F12: `bin/build_pyz.py` and the image agree about what the service needs."""
    files = set(runpy.run_path(str(ROOT / "bin" / "build_pyz.py"))["FILES"])
    assert files == {source for source, _ in _copied()} - {"requirements/runtime.txt"}


def test_named_settings_exist():
    """A misspelt variable would be set without effect."""
    known = {f"ONESELF_{name.upper()}" for name in Settings.model_fields}
    named = {name for each in OURS.values() for name in each["environment"]}
    named |= set(re.findall(r"ONESELF_[A-Z_]+", (ROOT / "Containerfile").read_text()))
    assert named
    assert named <= known


@pytest.mark.parametrize("name", OURS)
def test_service_has_a_read_only_root_and_no_capabilities(name):
    """SC-06."""
    service = OURS[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 # of the container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert "privileged" not in service
    assert "user" not in service


def test_secrets_have_no_default():
    """OP-04: compose does not start without them, and its first lines create them."""
    text = (ROOT / "compose.yaml").read_text()
    for name in ("DATABASE_PASSWORD", "OWNER_PASSWORD", "ROOT_SECRET"):
        assert f"${{{name}:?" in text
        assert f"{name}:-" not in text
        assert f"export {name}=" in text


def test_ports_are_on_loopback_and_there_is_time_to_drain():
    """OP-01, OP-04: plain HTTP is for a proxy on the same machine."""
    published = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    grace = int(OURS["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default


def test_migration_runs_once_before_the_service():
    """DB-15."""
    assert OURS["service"]["depends_on"] == {
        "migration": {"condition": "service_completed_successfully"}
    }
    assert OURS["migration"]["command"] == ["db", "upgrade"]
    assert "restart" not in OURS["migration"]


def test_service_is_a_role_that_owns_no_tables():
    """LO-04, attack finding 22: the triggers that keep events are not its to drop."""
    urls = {
        name: make_url(each["environment"]["ONESELF_DATABASE_URL"]) for name, each in OURS.items()
    }
    assert {name: url.username for name, url in urls.items()} == {
        "migration": "oneself_owner",
        "service": "oneself_service",
    }
    assert "OWNER_PASSWORD" not in json.dumps(OURS["service"])
    # The roles are made before the tables, by a file that is in the repository.
    database = COMPOSE["services"]["database"]
    [mounted] = [each for each in database["volumes"] if "initdb" in each]
    source, target, mode = mounted.split(":")
    assert (target, mode) == ("/docker-entrypoint-initdb.d/roles.sql", "ro")
    statements = (ROOT / source).read_text()
    for name in re.findall(r"^\\getenv \w+ (\w+)$", statements, re.MULTILINE):
        assert name in database["environment"]
    # The server of the initialisation does not listen there yet.
    assert "--host=127.0.0.1" in database["healthcheck"]["test"]


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_service_runs_from_the_copied_files_and_writes_nothing_there(tmp_path):
    """SC-06: as on a read-only root, with the data directory elsewhere."""
    image = tmp_path / "image"
    for source, target in _copied():
        if target.startswith("/"):
            continue
        place = image / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    before, port = _files(image), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        "PYTHONDONTWRITEBYTECODE": "1",
        "ONESELF_DATA_DIR": str(tmp_path / "data"),
        "ONESELF_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    [entrypoint], [command] = _all("ENTRYPOINT"), _all("CMD")
    words = [*json.loads(entrypoint), *json.loads(command), "--allow-http"]
    words = [str(port) if word == "8080" else word for word in words]
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]  # noqa: S104 # not here
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words[1:]], cwd=image, env=environment, stdout=log, stderr=log
        )
    try:
        for path in ("/readyz", "/docs", "/openapi.json", "/reset-password"):
            _get(f"http://127.0.0.1:{port}{path}", process)
    finally:
        process.terminate()
        assert process.wait(patient(30)) == 0, (tmp_path / "log").read_text()
    assert _files(image) == before


def _get(url, process):
    deadline = time.monotonic() + patient(30)
    while True:
        try:
            with urllib.request.urlopen(url, timeout=patient(5)) as response:  # noqa: S310 # loopback's
                assert response.status == 200
                return
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
