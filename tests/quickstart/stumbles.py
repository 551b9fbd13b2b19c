"""Stumbles of the first users, by their number: each check fails when one comes back."""

import json
import re
import time
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import yaml

from tests.quickstart.shell import Readme, Shell
from tests.support.deadlines import patient

ASK = "curl --silent --show-error"
#: Another origin, such as the development server of a web application.
APP = "http://localhost:5173"
#: Where users go on after a page or a mail, as an operator would name it.
BRAND = "ONESELF_APP_URL=https://app.example.com ONESELF_SUPPORT=help@example.com"
ALICE = "alice.chen@example.com"


def check_banner(printed: str, shell: Shell, port: int) -> None:
    """F16: five lines say where to look, the login, the folders and how to stop."""
    names = re.findall(r"^(Open|Log in as|Data|Mail|Stop) ", printed, re.MULTILINE)
    assert names == ["Open", "Log in as", "Data", "Mail", "Stop"]
    assert f"http://localhost:{port}/docs" in printed
    assert str(shell.checkout / "data" / "mail") in printed


def check_settings(shell: Shell) -> None:
    """F11: a misspelled name is a problem for `doctor`, without its value."""
    doctor = "python -m oneself doctor || true"
    found = " ".join(shell.run(doctor, ONESELF_PASWORD_COST="canary").split())
    assert "Did you mean ONESELF_PASSWORD_COST?" in found
    assert "canary" not in found


def check_doctor(shell: Shell) -> None:
    """F17: checks that could not run are no problems."""
    said = shell.run("python -m oneself doctor 2>&1 || true", ONESELF_SECRET_KEY="x" * 43)
    assert re.search(r"\b1 of \d+ checks found a problem, \d+ could not run", said), said


def check_lists(shell: Shell) -> None:
    """F8, F18: one line for each user, which a search narrows; F2: of the demo that runs."""
    head, *users = shell.run("python -m oneself user list").splitlines()
    assert head.startswith("user_id ")
    assert len(users) == 4
    (_, found) = shell.run("python -m oneself user list --search alice").splitlines()
    assert ALICE in found
    name = "emil.novak@example.com"
    assert "python -m oneself user enable" in shell.run(f"python -m oneself user disable {name}")
    shell.run(f"python -m oneself user enable {name}")


def check_hosts(shell: Shell, url: str) -> None:
    """F6: a load balancer may ask by any name; F10: metadata has the address that is served."""
    assert shell.run(f"{ASK} --fail -H 'Host: 10.0.0.5:8080' {url}/healthz")
    metadata = f"{url}/.well-known/oauth-authorization-server"
    assert json.loads(shell.run(f"{ASK} --fail {metadata}"))["issuer"] == url


def check_origins(shell: Shell, readme: Readme, url: str, *, allowed: bool) -> None:
    """F7: the README names the setting, which lets the pages of another origin call the API."""
    assert "Pages of another origin need `ONESELF_CORS_ORIGINS`" in readme.text
    preflight = (
        f"{ASK} --include -X OPTIONS {url}/v1/me -H 'Origin: {APP}'"
        " -H 'Access-Control-Request-Method: GET'"
        " -H 'Access-Control-Request-Headers: authorization'"
    )
    answered = f"access-control-allow-origin: {APP}" in shell.run(preflight).lower()
    assert answered is allowed


def check_workflows(shell: Shell) -> None:
    """F14: two workflows use the same actions, and install only into a Python of their own."""
    page = (shell.checkout / "docs" / "conformance.md").read_text()
    (prove,) = re.findall(r"```yaml\n(name: prove\n.*?)```", page, re.DOTALL)
    uses = []
    for text in (prove, (shell.checkout / "examples" / "ci" / "workflow.yaml").read_text()):
        (job,) = yaml.safe_load(text)["jobs"].values()
        commands = [step.get("run", "") for step in job["steps"]]
        install = next(n for n, command in enumerate(commands) if "pip install" in command)
        uses.append([step["uses"] for step in job["steps"][:install] if "uses" in step])
        assert any(each.startswith("actions/setup-python@") for each in uses[-1])
    assert uses[0] == uses[1]


def check_inner_loop(shell: Shell) -> None:
    """F15: CONTRIBUTING's command for a part of the unit tests does not run all of them."""
    text = (shell.checkout / "CONTRIBUTING.md").read_text()
    (command,) = re.findall(r"^`(tox run -e unit -- [^`]+)`", text, re.MULTILINE)
    said = shell.run(command)
    (passed,) = re.findall(r"(\d+) passed", said)
    assert 0 < int(passed) < 1000, said


def check_hints(shell: Shell, session: str, url: str) -> None:
    """F20: an error says what to do instead, and a browser gets pages."""
    bearer = f"-H 'Authorization: Bearer {session}'"
    # Without a Content-Type, curl says that the body is a form.
    for media in ("", "-H 'Content-Type:'"):
        changed = f"""{ASK} -X PATCH {url}/api/v1/me {bearer} {media} -d '{{"locale": "de-DE"}}'"""
        assert "application/json" in shell.run(changed)
    assert "without a final slash" in shell.run(f"{ASK} {url}/v1/me/ {bearer}")
    assert "with a final slash" in shell.run(f"{ASK} {url}/api/users/me {bearer}")
    assert "limit, cursor" in shell.run(f"{ASK} '{url}/v1/me/events?limt=3' {bearer}")
    page = "-H 'Accept: text/html' --output /dev/null --write-out '%{http_code} %{content_type}'"
    for path, found in (
        ("/docs/", "200 text/html; charset=utf-8"),
        ("/login", "404 text/html; charset=utf-8"),
        ("/favicon.ico", "200 image/vnd.microsoft.icon"),
    ):
        assert shell.run(f"{ASK} --location {page} {url}{path}") == found


def check_ends(shell: Shell, url: str) -> None:
    """F22: the settings give pages and mail a way on; without them, none leads nowhere."""
    settings = (shell.checkout / "docs" / "settings.md").read_text()
    for name in re.findall(r"ONESELF_\w+", BRAND):
        assert f"### `{name}`" in settings
    page = shell.run(f"{ASK} --fail {url}/reset-password")
    assert 'href="https://app.example.com"' in page
    assert 'href="mailto:help@example.com"' in page


def check_password_rule(shell: Shell, url: str, *, classes: bool) -> None:
    """F23: a setting allows a passphrase in lower case; by default, the refusal says why not."""
    assert "### `ONESELF_PASSWORD_CLASSES`" in (shell.checkout / "docs" / "settings.md").read_text()
    body = {"email": f"long-{classes}@example.com".lower(), "password": "correct-horse-9"}
    body |= {"display_name": "Long", "tenant_name": "Long"}
    said = shell.run(
        f"{ASK} {url}/v1/auth/signup -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    )
    assert ("upper-case" in said) is classes, said
    assert ('"session_token"' in said) is not classes, said


def check_alert(shell: Shell, session: str, url: str) -> None:
    """F21, F22: a mail about a new key says when and from where, and leads to pages that help."""
    folder = shell.checkout / "data" / "mail"
    before = {*folder.iterdir()}
    body = """{"name": "laptop", "scopes": ["me/profile:read"]}"""
    shell.run(
        f"{ASK} --fail {url}/v1/api-keys -H 'Authorization: Bearer {session}'"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
    text = _next_mail(folder, before)
    assert "laptop" in text
    assert re.search(r"^Time: \w+ \d+, \d{4}, \d\d:\d\d UTC$", text, re.MULTILINE)
    assert re.search(r"^IP address: [0-9.:]+$", text, re.MULTILINE)
    reset, app = re.findall(r"https?://\S+", text)
    assert reset == f"{url}/reset-password"
    assert "<form" in shell.run(f"{ASK} --fail {reset}")
    assert app == "https://app.example.com"
    assert "help@example.com" in text


def _next_mail(folder: Path, before: set[Path]) -> str:
    deadline = time.monotonic() + patient(60)
    while not (new := {*folder.glob("*.eml")} - before):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    message = message_from_bytes(new.pop().read_bytes(), policy=default)
    text = message.get_body(("plain",))
    assert text is not None
    return str(text.get_content())


#: F19: errors name the fields, printed models and clients hide secrets, and lists have all pages.
PYTHON_CLIENT = """
import os
from itertools import islice

from oneself_client import Oneself, errors

with Oneself("http://localhost:8080", token=os.environ["SESSION"]) as me:
    try:
        me.scaikey.update_profile(locale="no locale")
    except errors.InvalidRequest as error:
        assert "locale" in str(error), error
        made = me.ipto.create_api_key(name="printed", scopes=["me/profile:read"]).data
        assert made.key not in repr(made), "the key is printed"
        assert os.environ["SESSION"] not in repr(me), "the session is printed"
        print(len(list(islice(me.ipto.iterate_events(limit=1), 3))), "pages")
"""
TYPESCRIPT_CLIENT = """
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { createOneself, iterate } from 'oneself-client';

const token = process.env.SESSION ?? '';
const me = createOneself({ baseUrl: 'http://localhost:8080', token });
await assert.rejects(me.scaikey.updateProfile({ body: { locale: 'no locale' } }), (error) => {
  assert.match(String(error), /locale/);
  return true;
});
assert.ok(!inspect(me, { depth: Infinity }).includes(token), 'the session is printed');
let pages = 0;
for await (const _ of iterate((query) => me.ipto.listEvents({ query: { ...query, limit: 1 } }))) {
  if (++pages === 3) break;
}
console.log(pages, 'pages');
"""
