"""The examples of the reference pages, run as they stand, with another host and token.

If an example stores the response in a variable, its copy has one more line, which prints it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.examples.programs import each_example, run_example
from tests.http.running import Account, Running, open_account, running
from tests.support.deadlines import patient

ROOT = Path(__file__).parents[2]
CHANGED_PASSWORD = "n3wS3cur3P@ss!"

#: Prints the variable `data` of examples of the ipto page, which print nothing.
PRINT_DATA = {
    ".py": "\nimport json; print(json.dumps(data))",
    ".mjs": "\nconsole.log(JSON.stringify(data))",
}

IPTO_USER = {
    "user_id",
    "email",
    "email_verified",
    "display_name",
    "tenant_id",
    "tenant_display_name",
    "is_platform_admin",
    "roles",
}
HYPERCLAST_USER = {
    "external_id",
    "email",
    "email_verified",
    "username",
    "first_name",
    "last_name",
    "is_authenticated",
    "access_token",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("examples")
    with running(folder, password_cost=10, validate_responses=True) as started:
        yield started


_numbers = count()


@pytest.fixture
def account(service: Running) -> Account:
    """Creates an account, since some examples change theirs."""
    return open_account(service, f"reader{next(_numbers)}@example.com")


def _run_ipto(example: Path, folder: Path, service: Running, token: str) -> Any:
    """Run an example of the ipto page; return its `data`."""
    replacements = {"https://api.ipto.ai": f"http://127.0.0.1:{service.port}", "{token}": token}
    print_data = PRINT_DATA.get(example.suffix, "")
    return json.loads(run_example(example, folder, replacements, print_data=print_data))


def _run_hyperclast(example: Path, folder: Path, service: Running, token: str) -> str:
    replacements = {"<BASE_URL>": f"http://127.0.0.1:{service.port}", "<ACCESS_TOKEN>": token}
    return run_example(example, folder, replacements)


@each_example("ipto-users", "get_current_user")
def test_ipto_get_current_user(example: Path, service: Running, account: Account, tmp_path: Path):
    answer = _run_ipto(example, tmp_path, service, account.session)
    assert set(answer) == {"data", "request_id", "timestamp"}
    assert set(answer["data"]) == IPTO_USER
    assert (answer["data"]["email"], answer["data"]["roles"]) == (account.email, ["owner"])


@each_example("ipto-users", "change_password")
def test_ipto_change_password(example: Path, service: Running, account: Account, tmp_path: Path):
    answer = _run_ipto(example, tmp_path, service, account.session)
    assert answer["data"] == {"success": True}
    for password, status in ((account.password, 401), (CHANGED_PASSWORD, 200)):
        body = {"email": account.email, "password": password}
        assert service.ask("POST", "/v1/auth/login", body=body).status == status
    assert service.ask("GET", "/v1/me", headers=account.bearer).status == 200


@each_example("hyperclast-users", "get_user_info")
def test_hyperclast_get_user_info(
    example: Path, service: Running, account: Account, tmp_path: Path
):
    """Each language prints the object differently, with the same names and texts."""
    printed = _run_hyperclast(example, tmp_path, service, account.access_token)
    assert all(name in printed for name in HYPERCLAST_USER)
    assert account.email in printed
    assert account.access_token in printed


@each_example("hyperclast-users", "get_access_token")
def test_hyperclast_get_access_token(
    example: Path, service: Running, account: Account, tmp_path: Path
):
    for token in (account.access_token, account.session):
        printed = _run_hyperclast(example, tmp_path, service, token)
        assert "access_token" in printed
        assert account.access_token in printed
        assert not [name for name in HYPERCLAST_USER - {"access_token"} if name in printed]


@each_example("hyperclast-users", "regenerate_token")
def test_hyperclast_regenerate_token(
    example: Path, service: Running, account: Account, tmp_path: Path
):
    printed = _run_hyperclast(example, tmp_path, service, account.access_token)
    answer = service.ask("GET", "/api/users/me/token/", headers=account.bearer)
    new = answer.json["access_token"]
    assert new != account.access_token
    assert new in printed
    for token, status in ((account.access_token, 401), (new, 200)):
        bearer = {"Authorization": f"Bearer {token}"}
        assert service.ask("GET", "/api/users/me/", headers=bearer).status == status


@each_example("jitsudo-change-password", "change_password")
def test_jitsudo_change_password(example: Path, service: Running, tmp_path: Path):
    """The page's new password `example` is weak, hence the documented 400."""
    demo = subprocess.run(
        [sys.executable, "-m", "oneself", "demo", "--json"],
        cwd=ROOT,
        env={**os.environ, "ONESELF_DATA_DIR": str(service.folder / "data")},
        capture_output=True,
        check=True,
        timeout=patient(60),
    )
    caller = json.loads(demo.stdout)["base"]
    replacements = {
        "https://example.com": f"http://127.0.0.1:{service.port}",
        "<token>": caller["session_token"],
        "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0": caller["tenant_uuid"].upper(),
    }
    answer = json.loads(run_example(example, tmp_path, replacements))
    assert set(answer) <= {"code", "message", "details", "notices"}
    assert answer["code"] in {"weak_password", "wrong_password"}
