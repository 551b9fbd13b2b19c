"""A shell of a new user: an empty home, nothing installed, and a table of what took how long."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rich.table import Table
from rich.text import Text

from tests.support.deadlines import patient

#: For one command, on an idle machine.
_SECONDS = 300
#: Variables to keep: how this machine reaches package registries.
KEPT = re.compile(r"(PIP|UV|SSL|NODE_EXTRA|NPM|npm|https?|no)_.*|LANG|TERM", re.IGNORECASE)


class Steps:
    """The steps of a new user, with their seconds and the stumbles that each would find again."""

    def __init__(self) -> None:
        self.table = Table("step", "stumbles", title="The first hour")
        self.table.add_column("seconds", justify="right")
        self.table.show_footer = True
        self.total = 0.0

    @contextmanager
    def step(self, what: str, stumbles: str = "") -> Iterator[None]:
        """Measure a step; one that fails is the last of the table."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(what, time.monotonic() - start, stumbles)

    def add(self, what: str, seconds: float, stumbles: str = "") -> None:
        """Add the seconds of a step."""
        self.total += seconds
        self.table.add_row(Text(what), stumbles, f"{seconds:.1f}")
        self.table.columns[0].footer = "in all"
        self.table.columns[2].footer = f"{self.total:.1f}"


class Shell:
    """A shell in an empty home, with a time limit for each command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "oneself"
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

    def run(self, command: str, **more: str) -> str:
        """Run a shell command in the checkout; return its output."""
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 # any bash
            cwd=self.checkout if self.checkout.exists() else self.folder,
            env={**self.environment, **more},
            timeout=patient(_SECONDS),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    @contextmanager
    def serving(self, command: str, port: int) -> Iterator[str]:
        """Start the service; yield its output once it responds."""
        printed = self.folder / f"printed-{port}"
        with printed.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],  # noqa: S607 # as above
                cwd=self.checkout,
                # Threads that hash yield to all others, so on a busy machine they take minutes.
                env={**self.environment, "ONESELF_PASSWORD_COST": "10"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + patient(_SECONDS)
        try:
            while not _responds(port):
                assert process.poll() is None, printed.read_text()
                assert time.monotonic() < deadline, printed.read_text()
                time.sleep(0.2)
            yield printed.read_text()
        finally:
            # Like Ctrl-C, to all processes of the shell.
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(patient(60)) == 0, "F16: Ctrl-C is the documented end"


def _responds(port: int) -> bool:
    try:
        with urlopen(f"http://localhost:{port}/healthz", timeout=1) as answer:  # loopback
            return bool(answer.status == 200)
    except OSError:
        return False


class Readme:
    """The README of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self.text = (checkout / "README.md").read_text()

    def find(self, pattern: str) -> Any:
        """Return what the only match of a pattern has in its groups."""
        (found,) = re.findall(pattern, self.text, re.MULTILINE | re.DOTALL)
        return found

    def program(self, heading: str, language: str) -> str:
        """Return the only program below a heading."""
        (found,) = re.findall(rf"```{language}\n(.*?)```", self._section(heading), re.DOTALL)
        return str(found)

    def command(self, heading: str, begins: str) -> str:
        """Return the only command below a heading that begins like this."""
        (found,) = re.findall(rf"`({begins} [^`]*)`", self._section(heading))
        return str(found)

    def _section(self, heading: str) -> str:
        found = self.text.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
        assert found, heading
        return found
