"""The examples, run as they stand against the started service."""

import asyncio
import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import httpx2
import jwt
import pytest
import yaml
from oneself_client import Oneself, errors

from tests.sdk.newcomer import Newcomer
from tests.support.ports import free_port
from tests.support.service import ROOT

EXAMPLES = ROOT / "examples"
AUDIENCE = "https://reports.example.com"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


def attempt(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command in the checkout, which may fail."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": path, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def run(*command: str, **settings: str) -> str:
    """A command in the checkout; its standard output."""
    done = attempt(*command, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ── A FastAPI service ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def reports(service, newcomer, monkeypatch) -> tuple[Callable[[], ModuleType], tuple[str, str]]:
    """Loads the service of the example; and the client that it is known by."""
    added = run(
        *(
            sys.executable,
            "-m",
            "oneself",
            "client",
            "add",
            "reports",
            "--tenant",
            newcomer.tenant_id,
        ),
        *("--scope", "me/profile:read", "--scope", "me/profile:write"),
        *("--audience", AUDIENCE, "--json"),
        **service.environment,
    )
    client = yaml.safe_load(added)
    for name, value in {
        "ONESELF_URL": newcomer.url,
        "AUDIENCE": AUDIENCE,
        "CLIENT_ID": client["client_id"],
        "CLIENT_SECRET": client["client_secret"],
    }.items():
        monkeypatch.setenv(name, value)

    def load() -> ModuleType:
        path = EXAMPLES / "fastapi_service/app.py"
        spec = importlib.util.spec_from_file_location("example", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # FastAPI looks the annotations up there.
        monkeypatch.setitem(sys.modules, "example", module)
        spec.loader.exec_module(module)
        return module

    return load, (client["client_id"], client["client_secret"])


def ask(load: Callable[[], ModuleType], *tokens: str) -> list[httpx2.Response]:
    """Ask for the report, once with each token, from the start of the example to its end."""

    async def ask_all() -> list[httpx2.Response]:
        app = load().app
        transport = httpx2.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://reports") as http,
        ):
            return [
                await http.get("/report", headers={"Authorization": f"Bearer {token}"})
                for token in tokens
            ]

    return asyncio.run(ask_all())


def test_a_service_of_yours_takes_the_jwts_that_are_for_it(newcomer, reports):
    load, client = reports
    with Oneself(newcomer.url, client=client) as program:

        def exchange(**wanted: str) -> str:
            token: str = program.oauth.issue_token(
                **EXCHANGE, subject_token=newcomer.session, **wanted
            ).access_token
            return token

        ours = exchange(audience=AUDIENCE, scope="me/profile:read")
        others = exchange(scope="me/profile:read")
        writing = exchange(audience=AUDIENCE, scope="me/profile:write")
    right, other, lacking, broken = ask(load, ours, others, writing, ours[:-4] + "AAAA")
    assert (right.status_code, right.json()) == (200, {"for": newcomer.user_id})
    assert (other.status_code, broken.status_code) == (401, 401)
    assert lacking.status_code == 403
    assert 'error="insufficient_scope"' in lacking.headers["WWW-Authenticate"]


def test_it_takes_a_personal_access_token_until_that_is_revoked(newcomer, reports):
    load, _ = reports
    with Oneself(newcomer.url, token=newcomer.session) as me:
        pat = me.hantera.create_pat(
            name="reports",
            expires_at=datetime.now(UTC) + timedelta(days=1),
            scopes=["me/profile:read"],
            client_id=newcomer.client_id,
            client_secret=newcomer.client_secret,
        )
        (right,) = ask(load, pat.token)
        assert (right.status_code, right.json()) == (200, {"for": newcomer.user_id})
        me.hantera.revoke_pat(pat.id)
    revoked, session = ask(load, pat.token, newcomer.session)
    assert (revoked.status_code, session.status_code) == (401, 401)


def jwt_with(header: object) -> str:
    """A JWT that somebody made up."""
    parts = json.dumps(header).encode(), b"{}", b"no signature"
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


STRANGE = {
    "an unknown key": jwt_with({"alg": "RS256", "typ": "at+jwt", "kid": "nope"}),
    "no key": jwt_with({"alg": "RS256", "typ": "at+jwt"}),
    "a key that is a number": jwt_with({"alg": "RS256", "typ": "at+jwt", "kid": 1}),
    "no algorithm": jwt_with({"typ": "at+jwt", "kid": "nope"}),
    "a type that is a number": jwt_with({"typ": 1}),
    "a type that is a list": jwt_with({"typ": ["at+jwt"]}),
    "no type": jwt_with({}),
    "a header that is a list": jwt_with(["at+jwt"]),
    "no JWT": "nope",
    "a personal access token that is too long": "pat_" + "A" * 5000,
}


def test_it_refuses_whatever_is_no_token(reports):
    load, _ = reports
    answers = ask(load, *STRANGE.values())
    told = dict(zip(STRANGE, (answer.status_code for answer in answers), strict=True))
    assert told == dict.fromkeys(STRANGE, 401)
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {
        'Bearer error="invalid_token"'
    }


def test_made_up_keys_do_not_have_it_fetch_the_key_set_each_time(reports, monkeypatch):
    load, _ = reports
    fetched = []
    fetch = jwt.PyJWKClient.fetch_data
    monkeypatch.setattr(
        jwt.PyJWKClient, "fetch_data", lambda self: fetched.append(self.uri) or fetch(self)
    )
    made_up = [jwt_with({"alg": "RS256", "typ": "at+jwt", "kid": str(n)}) for n in range(5)]
    assert {answer.status_code for answer in ask(load, *made_up)} == {401}
    assert len(fetched) == 1


@pytest.mark.parametrize(
    "token", [STRANGE["an unknown key"], "pat_nope"], ids=["JWT", "personal access token"]
)
def test_it_says_so_when_tokens_cannot_be_checked(reports, monkeypatch, token):
    load, _ = reports
    monkeypatch.setenv("ONESELF_URL", f"http://127.0.0.1:{free_port()}")
    (answer,) = ask(load, token)
    assert (answer.status_code, answer.json()) == (
        503,
        {"detail": "Tokens cannot be checked just now."},
    )


# ── A token for a job of a CI ────────────────────────────────────────────────────────────────────


WORKFLOW = yaml.safe_load((EXAMPLES / "ci/workflow.yaml").read_text())
STEPS = [step for step in WORKFLOW["jobs"]["report"]["steps"] if "run" in step]


def secrets_of(newcomer: Newcomer) -> dict[str, str]:
    return {
        "ROBOT_EMAIL": newcomer.email,
        "ROBOT_PASSWORD": newcomer.password,
        "CLIENT_ID": newcomer.client_id,
        "CLIENT_SECRET": newcomer.client_secret,
    }


def test_the_job_of_the_workflow_has_a_token_and_ends_it(newcomer, tmp_path):
    """The steps are run one after the other, with what the workflow gives each of them."""
    secrets = secrets_of(newcomer)
    given = tmp_path / "environment"
    given.touch()
    for step in STEPS:
        assert {f"${{{{ secrets.{name} }}}}" for name in step.get("env", {})} == set(
            step.get("env", {}).values()
        )
        before = dict(line.split("=", 1) for line in given.read_text().splitlines())
        said = run(
            *("bash", "-e", "-c", step["run"].replace("profile.json", str(tmp_path / "profile"))),
            **{name: secrets[name] for name in step.get("env", {})},
            **before,
            ONESELF_URL=newcomer.url,
            GITHUB_ENV=str(given),
            PIP_NO_INDEX="1",  # what the client needs is installed here
        )
        after = dict(line.split("=", 1) for line in given.read_text().splitlines())
        if "TOKEN" in after:
            # The token is in the job's log only as what is to be hidden.
            assert said.replace(f"::add-mask::{after['TOKEN']}", "").count(after["TOKEN"]) == 0
    assert newcomer.email in (tmp_path / "profile").read_text()
    with (
        Oneself(newcomer.url, token=after["TOKEN"]) as job,
        pytest.raises(errors.InvalidToken),
    ):
        job.hantera.get_profile()


def test_the_job_installs_the_client_as_the_examples_say_before_it_uses_it():
    """A runner has nothing of ours, and its own Python lets nobody install into it (PEP 668)."""
    install = "pip install dist/oneself_client-*.whl"
    assert f"`{install}`" in (EXAMPLES / "README.md").read_text()
    steps = [step.get("uses") or step["run"] for step in WORKFLOW["jobs"]["report"]["steps"]]
    assert install in steps
    before = steps[: steps.index(install)]
    assert any(step.startswith("actions/setup-python@") for step in before)
    assert not any("token_for_a_job.py" in step for step in before)


@pytest.mark.parametrize("wrong", ["ROBOT_PASSWORD", "CLIENT_SECRET"])
def test_a_job_that_gets_no_token_fails_there_and_leaves_nothing_open(newcomer, tmp_path, wrong):
    (step,) = (step for step in STEPS if "token_for_a_job.py make" in step["run"])
    secrets = {**secrets_of(newcomer), wrong: "a guess"}
    given = tmp_path / "environment"
    given.touch()
    with Oneself(newcomer.url, token=newcomer.session) as me:
        before = me.ipto.list_sessions().data.items
        done = attempt(
            *("bash", "-e", "-c", step["run"]),
            **secrets,
            ONESELF_URL=newcomer.url,
            GITHUB_ENV=str(given),
        )
        assert len(me.ipto.list_sessions().data.items) == len(before)
    assert (done.returncode, given.read_text(), done.stdout) == (1, "", "")
    assert newcomer.password not in done.stderr
    assert newcomer.client_secret not in done.stderr


# ── Users from another system ────────────────────────────────────────────────────────────────────


@pytest.fixture
def moved_in(service, newcomer) -> str:
    script, export = "examples/move_in/move_in.sh", "examples/move_in/export.csv"
    return run("sh", script, export, newcomer.tenant_id, **service.environment)


def test_users_move_in_and_log_in_with_their_passwords(newcomer, moved_in):
    assert "would import" in moved_in
    with Oneself(newcomer.url) as anybody:
        for email, password in (
            ("alice.liddell@example.com", "correct Horse 7 battery"),
            ("bob@example.com", "Violet tangent 47 harbour"),
        ):
            assert anybody.ipto.log_in(email=email, password=password).data.email == email
        with pytest.raises(errors.InvalidCredentials):
            anybody.ipto.log_in(email="carol@example.com", password="Violet tangent 47 harbour")
        assert anybody.ipto.request_password_reset(email="carol@example.com").data.success
