"""The image is built, and runs on a read-only root without any privilege."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.images import ROOT, Image, build_image
from tests.support.deadlines import patient
from tests.support.ports import free_port

pytestmark = pytest.mark.nightly

NOBODY = 65_534
#: As `tests/support/service.py` sets them for rows, which all come from one address.
LIMITS = {
    f"ONESELF_THROTTLE_{name}": "100000/1" for name in ("SOURCE", "SIGNUP", "ACCOUNT", "WRITE")
} | {"ONESELF_PASSWORD_COST": "10", "ONESELF_BODY_SECONDS": "1"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    yield build_image(folder)
    shutil.rmtree(folder)  # two gigabytes


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    url: str
    how: Mapping[str, Any]
    log: Path


def _volume(folder: Path, user: int) -> Path:
    """Create an empty volume for /data, which belongs to the user of the container."""
    folder.mkdir(mode=0o700)
    os.chown(folder, user, user)
    return folder


@contextmanager
def _serving(image: Image, folder: Path, user: int) -> Iterator[Container]:
    """Start the command of the image, on another port; SIGTERM must stop it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {**LIMITS, "ONESELF_ALLOW_HTTP": "true", "ONESELF_PUBLIC_URL": url}
    how = {"data": _volume(folder / "data", user), "user": user, "more": settings}
    words = [str(port) if word == "8080" else word for word in image.config["Cmd"]]
    with (folder / "log").open("wb") as log:
        process = image.start(words, **how, stdout=log, stderr=log)
    container = Container(url, how, folder / "log")
    try:
        _wait(container, process)
        yield container
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(patient(30))
    assert status == 0, container.log.read_text()


def _wait(container: Container, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + patient(60)
    while True:
        assert process.poll() is None, container.log.read_text()
        try:
            url = f"{container.url}/readyz"
            with urllib.request.urlopen(url, timeout=patient(5)) as answer:  # noqa: S310 # loopback
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() < deadline, container.log.read_text()
            time.sleep(0.1)


def test_image_passes_contract_rows_on_a_read_only_root(image: Image, tmp_path: Path):
    """SC-06: as its own user, with the command line that it starts."""
    with _serving(image, tmp_path, image.user) as container:
        demo = image.run(["demo", "--json"], **container.how)
        assert demo.returncode == 0, demo.stderr
        credentials = tmp_path / "people.json"
        credentials.write_text(demo.stdout)
        proved = subprocess.run(
            [
                *(sys.executable, "-m", "oneself", "prove", "--json", "--suite", "rows"),
                *("--url", container.url, "--credentials", credentials),
                *("--dialect", "hyperclast"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert proved.returncode == 0, f"{proved.stdout[-4000:]}\n{container.log.read_text()}"
        assert json.loads(proved.stdout)["counts"]["rows"]["passed"] > 40
        doctor = image.run(["doctor", "--json"], **container.how)
        assert json.loads(doctor.stdout)
    assert "Traceback" not in container.log.read_text()


def test_image_runs_as_nobody(image: Image, tmp_path: Path):
    """SC-06: an orchestrator may choose any user."""
    with _serving(image, tmp_path, NOBODY):
        assert {path.stat().st_uid for path in (tmp_path / "data").iterdir()} == {NOBODY}


def test_health_check_of_the_image_tells_a_running_service_from_none(image: Image, tmp_path: Path):
    """OP-02."""
    kind, program, *words = image.config["Healthcheck"]["Test"]
    assert (kind, program) == ("CMD", "python")
    with _serving(image, tmp_path, image.user) as container:
        port = container.url.rpartition(":")[2]
        check = Image(image.root, {**image.config, "Entrypoint": ["python"]})
        command = [word.replace("127.0.0.1:8080", f"127.0.0.1:{port}") for word in words]
        assert check.run(command, **container.how).returncode == 0
    assert check.run(command, **container.how).returncode != 0


def test_service_has_no_privilege_and_cannot_write_its_root(image: Image, tmp_path: Path):
    """SC-06: the test itself would notice a root that can be written."""
    how = {"data": _volume(tmp_path / "data", image.user), "user": image.user, "more": {}}
    shell = Image(image.root, {**image.config, "Entrypoint": ["sh", "-c"]})
    for path in ("/srv/oneself/x", "/x", "/opt/oneself/x"):
        refused = shell.run([f"touch {path}"], **how)
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr
    assert shell.run(["touch /data/x /tmp/x"], **how).returncode == 0
    status = shell.run(["cat /proc/self/status"], **how).stdout
    held = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert {name: int(value, 16) for name, value in held.items()} == dict.fromkeys(held, 0)


def test_image_has_only_the_copied_files_and_none_is_writable(image: Image):
    """SC-06: no repository, test, data or key is in it."""
    files = {path.name for path in (image.root / "srv" / "oneself").iterdir()}
    assert files == {
        *("accounts", "handlers", "locales", "models", "oneself", "openapi"),
        *("policies", "templates", "pyproject.toml"),
    }
    for folder in ("srv/oneself", "opt/oneself"):
        for path in (image.root / folder).rglob("*"):
            if not path.is_symlink():
                information = path.stat()
                assert information.st_uid == 0
                assert not information.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert [*(image.root / "data").iterdir()] == []
    # How this machine reached the packages is in no layer.
    mounted = image.root / "etc" / "pip.conf"
    assert not mounted.exists() or not mounted.stat().st_size
    assert "PIP" not in json.dumps(image.config)
