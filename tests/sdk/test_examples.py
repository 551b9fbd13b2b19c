"""The examples, run unchanged against the started service."""

import asyncio
import base64
import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import jwt
import pytest
import yaml
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser
from tests.support.ports import free_port
from tests.support.service import ROOT

EXAMPLES = ROOT / "examples"
AUDIENCE = "https://reports.example.com"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


def attempt(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command, which may fail, in the checkout."""
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
    """Run a command in the checkout; return its standard output."""
    done = attempt(*command, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ── A FastAPI service ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def reports(service, new_user, monkeypatch) -> tuple[Callable[[], ModuleType], tuple[str, str]]:
    """Loads the example service on demand; also returns its client credentials."""
    added = run(
        *(
            sys.executable,
            "-m",
            "oneself",
            "client",
            "add",
            "reports",
            "--tenant",
            new_user.tenant_id,
        ),
        *("--scope", "me/profile:read", "--scope", "me/profile:write"),
        *("--audience", AUDIENCE, "--json"),
        **service.environment,
    )
    client = yaml.safe_load(added)
    for name, value in {
        "ONESELF_URL": new_user.url,
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
        # FastAPI resolves annotations through it.
        monkeypatch.setitem(sys.modules, "example", module)
        spec.loader.exec_module(module)
        return module

    return load, (client["client_id"], client["client_secret"])


def request_report(load: Callable[[], ModuleType], *tokens: str) -> list[httpx2.Response]:
    """Request the report with each token, within one lifespan of the example."""

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


def test_service_accepts_jwts_for_its_audience(new_user, reports):
    load, client = reports
    with Oneself(new_user.url, client=client) as program:

        def exchange(**wanted: str) -> str:
            token: str = program.oauth.issue_token(
                **EXCHANGE, subject_token=new_user.session, **wanted
            ).access_token
            return token

        ours = exchange(audience=AUDIENCE, scope="me/profile:read")
        others = exchange(scope="me/profile:read")
        writing = exchange(audience=AUDIENCE, scope="me/profile:write")
    valid, other_audience, lacking, broken = request_report(
        load, ours, others, writing, ours[:-4] + "AAAA"
    )
    assert (valid.status_code, valid.json()) == (200, {"for": new_user.user_id})
    assert (other_audience.status_code, broken.status_code) == (401, 401)
    assert lacking.status_code == 403
    assert 'error="insufficient_scope"' in lacking.headers["WWW-Authenticate"]


def create_pat(me: Oneself, client: tuple[str, str]) -> Any:
    """Create a personal access token with a client."""
    return me.hantera.create_pat(
        name="reports",
        expires_at=datetime.now(UTC) + timedelta(days=1),
        scopes=["me/profile:read"],
        client_id=client[0],
        client_secret=client[1],
    )


def test_service_accepts_a_personal_access_token_until_revoked(new_user, reports):
    load, client = reports
    with Oneself(new_user.url, token=new_user.session) as me:
        pat = create_pat(me, client)
        (right,) = request_report(load, pat.token)
        assert (right.status_code, right.json()) == (200, {"for": new_user.user_id})
        me.hantera.revoke_pat(pat.id)
    revoked, session = request_report(load, pat.token, new_user.session)
    assert (revoked.status_code, session.status_code) == (401, 401)


def test_service_rejects_a_personal_access_token_of_another_service(new_user, reports):
    """Attack finding 15: that service got it from the user, and could use it here."""
    load, _ = reports
    with Oneself(new_user.url, token=new_user.session) as me:
        pat = create_pat(me, (new_user.client_id, new_user.client_secret))
        (answer,) = request_report(load, pat.token)
        assert answer.status_code == 401
        assert me.using(token=pat.token).hantera.get_profile().email == new_user.email


def make_jwt(header: object) -> str:
    """Make a JWT with this header and an invalid signature."""
    parts = json.dumps(header).encode(), b"{}", b"no signature"
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


INVALID_TOKENS = {
    "an unknown key": make_jwt({"alg": "RS256", "typ": "at+jwt", "kid": "nope"}),
    "no key": make_jwt({"alg": "RS256", "typ": "at+jwt"}),
    "a key that is a number": make_jwt({"alg": "RS256", "typ": "at+jwt", "kid": 1}),
    "no algorithm": make_jwt({"typ": "at+jwt", "kid": "nope"}),
    "a type that is a number": make_jwt({"typ": 1}),
    "a type that is a list": make_jwt({"typ": ["at+jwt"]}),
    "no type": make_jwt({}),
    "a header that is a list": make_jwt(["at+jwt"]),
    "no JWT": "nope",
    "a personal access token that is too long": "pat_" + "A" * 5000,
}


def test_service_rejects_invalid_tokens(reports):
    load, _ = reports
    answers = request_report(load, *INVALID_TOKENS.values())
    statuses = dict(zip(INVALID_TOKENS, (answer.status_code for answer in answers), strict=True))
    assert statuses == dict.fromkeys(INVALID_TOKENS, 401)
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {
        'Bearer error="invalid_token"'
    }


def test_unknown_keys_do_not_refetch_the_key_set_each_time(reports, monkeypatch):
    load, _ = reports
    fetches = []
    fetch = jwt.PyJWKClient.fetch_data
    monkeypatch.setattr(
        jwt.PyJWKClient, "fetch_data", lambda self: fetches.append(self.uri) or fetch(self)
    )
    made_up = [make_jwt({"alg": "RS256", "typ": "at+jwt", "kid": str(n)}) for n in range(5)]
    assert {answer.status_code for answer in request_report(load, *made_up)} == {401}
    assert len(fetches) == 1


@pytest.mark.parametrize(
    "token", [INVALID_TOKENS["an unknown key"], "pat_nope"], ids=["JWT", "personal access token"]
)
def test_service_returns_503_when_it_cannot_check_tokens(reports, monkeypatch, token):
    load, _ = reports
    monkeypatch.setenv("ONESELF_URL", f"http://127.0.0.1:{free_port()}")
    (answer,) = request_report(load, token)
    assert (answer.status_code, answer.json()) == (
        503,
        {"detail": "Tokens cannot be checked at the moment."},
    )


# ── A token for a job of a CI ────────────────────────────────────────────────────────────────────


WORKFLOW = yaml.safe_load((EXAMPLES / "ci/workflow.yaml").read_text())
STEPS = [step for step in WORKFLOW["jobs"]["report"]["steps"] if "run" in step]


def secrets_of(new_user: NewUser) -> dict[str, str]:
    return {
        "ROBOT_EMAIL": new_user.email,
        "ROBOT_PASSWORD": new_user.password,
        "CLIENT_ID": new_user.client_id,
        "CLIENT_SECRET": new_user.client_secret,
    }


def test_workflow_creates_and_revokes_its_token(new_user, tmp_path):
    """The steps run in order, with the environment that the workflow gives each of them."""
    secrets = secrets_of(new_user)
    github_env = tmp_path / "environment"
    github_env.touch()
    for step in STEPS:
        assert {f"${{{{ secrets.{name} }}}}" for name in step.get("env", {})} == set(
            step.get("env", {}).values()
        )
        before = dict(line.split("=", 1) for line in github_env.read_text().splitlines())
        said = run(
            *("bash", "-e", "-c", step["run"].replace("profile.json", str(tmp_path / "profile"))),
            **{name: secrets[name] for name in step.get("env", {})},
            **before,
            ONESELF_URL=new_user.url,
            GITHUB_ENV=str(github_env),
            PIP_NO_INDEX="1",  # the client's dependencies are installed here
        )
        after = dict(line.split("=", 1) for line in github_env.read_text().splitlines())
        if "TOKEN" in after:
            # The token is in the job's log only to be masked.
            assert said.replace(f"::add-mask::{after['TOKEN']}", "").count(after["TOKEN"]) == 0
    assert new_user.email in (tmp_path / "profile").read_text()
    with Oneself(new_user.url, token=after["TOKEN"]) as job, pytest.raises(errors.InvalidToken):
        job.hantera.get_profile()


def test_workflow_installs_the_client_first():
    """A runner has no client, and its own Python rejects pip install (PEP 668)."""
    install = "pip install dist/oneself_client-*.whl"
    assert f"`{install}`" in (EXAMPLES / "README.md").read_text()
    steps = [step.get("uses") or step["run"] for step in WORKFLOW["jobs"]["report"]["steps"]]
    assert install in steps
    before = steps[: steps.index(install)]
    assert any(step.startswith("actions/setup-python@") for step in before)
    assert not any("token_for_a_job.py" in step for step in before)


@pytest.mark.parametrize("wrong", ["ROBOT_PASSWORD", "CLIENT_SECRET"])
def test_workflow_without_a_token_fails_and_leaves_no_session(new_user, tmp_path, wrong):
    (step,) = (step for step in STEPS if "token_for_a_job.py make" in step["run"])
    secrets = {**secrets_of(new_user), wrong: "a guess"}
    github_env = tmp_path / "environment"
    github_env.touch()
    with Oneself(new_user.url, token=new_user.session) as me:
        before = me.ipto.list_sessions().data.items
        done = attempt(
            *("bash", "-e", "-c", step["run"]),
            **secrets,
            ONESELF_URL=new_user.url,
            GITHUB_ENV=str(github_env),
        )
        assert len(me.ipto.list_sessions().data.items) == len(before)
    assert (done.returncode, github_env.read_text(), done.stdout) == (1, "", "")
    assert new_user.password not in done.stderr
    assert new_user.client_secret not in done.stderr


# ── Users from another system ────────────────────────────────────────────────────────────────────


@pytest.fixture
def imported(service, new_user) -> str:
    script, export = "examples/move_in/move_in.sh", "examples/move_in/export.csv"
    return run("sh", script, export, new_user.tenant_id, **service.environment)


def test_imported_users_log_in_with_their_passwords(new_user, imported):
    assert "would import" in imported
    with Oneself(new_user.url) as visitor:
        for email, password in (
            ("alice.liddell@example.com", "correct Horse 7 battery"),
            ("bob@example.com", "Violet tangent 47 harbour"),
        ):
            assert visitor.ipto.log_in(email=email, password=password).data.email == email
        with pytest.raises(errors.InvalidCredentials):
            visitor.ipto.log_in(email="carol@example.com", password="Violet tangent 47 harbour")
        assert visitor.ipto.request_password_reset(email="carol@example.com").data.success


def convert(export: str) -> list[dict[str, str]]:
    """Convert an export as `move_in.sh` does."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "move_in/convert.py")],
        input=export,
        capture_output=True,
        text=True,
        check=True,
    )
    return list(csv.DictReader(done.stdout.splitlines()))


def test_addresses_are_imported_as_verified_only_where_the_export_says_so():
    """Attack finding 16: the other system has accounts under addresses of other people."""
    lines = (EXAMPLES / "move_in/export.csv").read_text()
    assert [row["email_verified"] for row in convert(lines)] == ["true", "false", ""]
    without_column = "\n".join(line.rpartition(",")[0] for line in lines.splitlines())
    assert [row["email_verified"] for row in convert(without_column)] == [""] * 3
