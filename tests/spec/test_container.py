"""The Containerfile and compose.yaml, as far as they can be tried without an engine for containers.

They are read, and what would be copied into the image is run without the rest of the checkout.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import typer
import yaml

from oneself.commands.serve import serve
from oneself.commands.storage import db
from oneself.settings import Settings
from tests.support.service import free_port

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if name != "database"}


def _instructions():
    """Each instruction with its words, comments left out and lines that go on joined."""
    lines = (ROOT / "Containerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


INSTRUCTIONS = _instructions()


def _all(name):
    return [words for instruction, words in INSTRUCTIONS if instruction == name]


def _copied():
    """Source and target of what is copied out of the checkout."""
    return [words.split() for words in _all("COPY") if not words.startswith("--from")]


def _can_be_read(words):
    """Whether the service's command line is one that it takes; it is not run."""
    app = typer.Typer()
    if words[0] == "serve":
        app.command()(serve)
        assert typer.main.get_command(app).make_context("serve", words[1:])
    else:
        commands = typer.main.get_command(db.app).commands
        assert words[0] == "db"
        assert commands[words[1]].make_context(words[1], words[2:])
    return True


def test_every_instruction_is_one():
    """SC-06: a line that is joined wrongly would begin with another word."""
    known = {"ARG", "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "VOLUME", "EXPOSE"}
    known |= {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in INSTRUCTIONS} == known


def test_only_packages_whose_hashes_are_written_down_are_installed():
    """SC-01, SC-06: and nothing is built out of sources."""
    [install] = [words for words in _all("RUN") if "pip" in words]
    assert "pip install" in install
    assert {"--require-hashes", "--only-binary", ":all:"} <= set(install.split())
    assert install.split()[-1] == "/tmp/runtime.txt"  # noqa: S108 # of the image
    assert ["requirements/runtime.txt", "/tmp/"] in _copied()  # noqa: S108 # as above


def test_whoever_runs_is_nobody_and_nothing_is_done_after():
    """SC-06: by number, so that an orchestrator can see that it is not root."""
    [user] = _all("USER")
    assert all(int(each) >= 10_000 for each in user.split(":"))
    after = INSTRUCTIONS[INSTRUCTIONS.index(("USER", user)) + 1 :]
    assert {name for name, _ in after} == {"VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_the_command_is_ours():
    """In the image, and of each service."""
    [entrypoint], [command] = _all("ENTRYPOINT"), _all("CMD")
    assert json.loads(entrypoint) == ["python", "-m", "oneself"]
    assert _can_be_read(json.loads(command))
    assert all(_can_be_read(each["command"]) for each in OURS.values())
    with pytest.raises(Exception, match="--loud"):
        _can_be_read(["serve", "--loud"])


def test_the_builder_gets_what_is_copied_and_nothing_else():
    """SC-06: no .git, no data and no key can come into an image."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    everything, *others = [line for line in lines if line and not line.startswith("#")]
    assert everything == "*"
    assert {each[1:] for each in others if each.startswith("!")} == {each for each, _ in _copied()}
    assert all((ROOT / source).exists() for source, _ in _copied())


def test_settings_that_are_named_are_settings():
    """A misspelt variable would be set, and do nothing."""
    known = {f"ONESELF_{name.upper()}" for name in Settings.model_fields}
    named = {name for each in OURS.values() for name in each["environment"]}
    named |= set(re.findall(r"ONESELF_[A-Z_]+", (ROOT / "Containerfile").read_text()))
    assert named
    assert named <= known


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_can_write_nowhere_and_do_nothing_special(name):
    """SC-06: a read-only root, no capability, and no way to get one."""
    service = OURS[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 # of the container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert "privileged" not in service
    assert "user" not in service


def test_no_secret_has_a_default():
    """OP-04: it does not start without them, and each is named where it is made."""
    text = (ROOT / "compose.yaml").read_text()
    for name in ("DATABASE_PASSWORD", "ROOT_SECRET"):
        assert f"${{{name}:?" in text
        assert f"{name}:-" not in text
        assert f"export {name}=" in text


def test_only_this_machine_reaches_a_port_and_there_is_time_to_drain():
    """OP-01, OP-04: plain http is for the proxy beside it."""
    published = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    grace = int(OURS["service"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default


def test_tables_are_made_before_anybody_serves():
    """DB-15: and once, whatever is started again."""
    assert OURS["service"]["depends_on"] == {
        "migration": {"condition": "service_completed_successfully"}
    }
    assert OURS["migration"]["command"] == ["db", "upgrade"]
    assert "restart" not in OURS["migration"]


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_is_copied_is_all_that_it_needs_and_it_writes_nothing_there(tmp_path):
    """SC-06: as on a read-only root, with the data elsewhere."""
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
            _ask(f"http://127.0.0.1:{port}{path}", process)
    finally:
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    assert _files(image) == before


def _ask(url, process):
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 # loopback's
                assert answer.status == 200
                return
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
