"""The reimplementations do as the reference pages say, and each of their mutants does not."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from oneself_conformance.cli import main as conform
from tests.examples.programs import each_example, run_example
from tests.examples.reimplementations import (
    HYPERCLAST,
    HYPERCLAST_MUTANTS,
    JITSUDO,
    JITSUDO_MUTANTS,
    Mutant,
    Started,
    serve_hyperclast,
    start,
    start_jitsudo,
)

USER, TOKEN = "/api/users/me/", "/api/users/me/token/"
REGENERATE = "/api/users/me/token/regenerate/"
LOG_IN, SESSION = "/api/browser/v1/auth/login", "/api/browser/v1/auth/session"
STRONG_PASSWORD = "another horse, another battery"

#: Those that start slowly; the shell runs by default.
OTHER_LANGUAGES = (".go", ".mjs", ".php", ".py", ".rb")

#: The fields of Hyperclast's page, with the types of its example.
FIELDS = {
    "external_id": str,
    "email": str,
    "email_verified": bool,
    "username": str,
    "first_name": str,
    "last_name": str,
    "is_authenticated": bool,
    "access_token": str,
}


def read_field(response: httpx.Response, name: str) -> object:
    """Return a field of a JSON object, or None."""
    return response.json().get(name)


class Page:
    """Collects the sentences of a page that do not hold."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def expect(self, sentence: str, *holds: bool) -> None:
        """Note the sentence unless all conditions hold."""
        if not all(holds):
            self.broken.add(sentence)


def check_hyperclast(server: Started) -> set[str]:
    """Return the sentences of the Users page that a server breaks."""
    page, base, other = Page(), server.people["base"], server.people["other_tenant"]
    with httpx.Client(base_url=server.url) as http:

        def ask(path: str, token: str, method: str = "GET") -> httpx.Response:
            return http.request(method, path, headers={"Authorization": f"Bearer {token}"})

        user = ask(USER, base["access_token"])
        page.expect(
            "Get Current User: Response (200)",
            user.status_code == 200,
            {name: type(value) for name, value in user.json().items()} == FIELDS,
        )
        for person in (base, other):
            user = ask(USER, person["access_token"])
            page.expect(
                "Returns the authenticated user's profile and access token.",
                read_field(user, "email") == person["email"],
                read_field(user, "access_token") == person["access_token"],
            )
        page.expect(
            "Error (401): Not authenticated",
            http.get(USER).status_code == 401,
            http.get(TOKEN).status_code == 401,
            http.post(REGENERATE).status_code == 401,
            ask(USER, "NhqPaZgfmRLxcBvYS").status_code == 401,
        )
        session = http.get(TOKEN, headers={"X-Session-Token": base["session_token"]})
        page.expect("Bearer token or session", session.status_code == 200)
        old = base["access_token"]
        page.expect(
            "Returns only the access token.", ask(TOKEN, old).json() == {"access_token": old}
        )
        regenerated = ask(REGENERATE, old, "POST")
        new = str(read_field(regenerated, "access_token"))
        page.expect("Regenerate Access Token: Response (200)", regenerated.status_code == 200)
        page.expect("Generate a new token", new != old, ask(USER, new).status_code == 200)
        page.expect("The old token is immediately invalidated.", ask(USER, old).status_code == 401)
    return page.broken


def check_jitsudo(server: Started) -> set[str]:
    """Return the sentences of the page about passwords that a server breaks."""
    page, base, other = Page(), server.people["base"], server.people["other_tenant"]
    errors: list[httpx.Response] = []
    with httpx.Client(base_url=server.url) as http:

        def change(
            *,
            current: str = base["password"],
            new: str = STRONG_PASSWORD,
            token: str | None = base["session_token"],
            tenant: str | None = base["tenant_uuid"],
        ) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            response = http.post(
                "/v1/users/me/password",
                json={"current_password": current, "new_password": new},
                headers=headers | ({"X-Tenant-ID": tenant} if tenant else {}),
            )
            if response.is_error:
                errors.append(response)
            return response

        def log_in(person: str, password: str) -> bool:
            body = {"email": server.people[person]["email"], "password": password}
            return http.post("/v1/auth/login", json=body).is_success

        sso_token = server.people["sso_user"]["session_token"]
        mismatch = change(tenant=other["tenant_uuid"])
        for sentence, status, response in (
            ("X-Tenant-ID required", 400, change(tenant=None)),
            ("string format: uuid", 400, change(tenant="acme-corp")),
            ("Unauthenticated", 401, change(token=None)),
            ("Unauthenticated", 401, change(token="example")),
            ("Forbidden (not a local auth user)", 403, change(token=sso_token)),
            ("Must match the tenant associated with the credential.", 403, mismatch),
            ("Invalid input (wrong current password)", 400, change(current=STRONG_PASSWORD)),
            ("Invalid input (weak new password)", 400, change(new="example")),
        ):
            page.expect(sentence, response.status_code == status)
        page.expect(
            "Returns 403 tenant_mismatch",
            mismatch.is_error and read_field(mismatch, "code") == "tenant_mismatch",
        )
        page.expect(
            "Human-readable description of the error.",
            *(isinstance(read_field(error, "message"), str) for error in errors),
        )
        changed = change(tenant=base["tenant_uuid"].upper())
        page.expect("string format: uuid", changed.is_success)
        page.expect("Password changed", not log_in("base", base["password"]))
        page.expect(
            "Change the current user's password",
            log_in("base", STRONG_PASSWORD),
            log_in("other_tenant", other["password"]),
        )
    return page.broken


def name_all(mutants: Sequence[Mutant], *, default: int = 1) -> list[Any]:
    """Return parameters with names; a change need not wait for those beyond the first."""
    return [
        pytest.param(each, id=each.name, marks=pytest.mark.nightly if number >= default else ())
        for number, each in enumerate(mutants)
    ]


@pytest.fixture(scope="module")
def hyperclast():
    with start([sys.executable, str(HYPERCLAST)]) as server:
        yield server


@pytest.fixture(scope="module")
def jitsudo():
    with start_jitsudo() as server:
        yield server


def test_hyperclast_does_as_its_page_says(hyperclast):
    assert check_hyperclast(hyperclast) == set()


def test_jitsudo_does_as_its_page_says(jitsudo):
    assert check_jitsudo(jitsudo) == set()


@each_example("hyperclast-users", "*", nightly=OTHER_LANGUAGES)
def test_example_of_the_page_runs_on_hyperclast(example: Path, hyperclast, tmp_path):
    session = {"X-Session-Token": hyperclast.people["base"]["session_token"]}

    def read_token() -> str:
        answer = httpx.get(f"{hyperclast.url}{TOKEN}", headers=session)
        token: str = answer.json()["access_token"]
        return token

    replacements = {"<BASE_URL>": hyperclast.url, "<ACCESS_TOKEN>": read_token()}
    printed = run_example(example, tmp_path, replacements)
    assert read_token() in printed


@each_example("jitsudo-change-password", "*")
def test_example_of_the_page_is_rejected_by_jitsudo(example: Path, jitsudo, tmp_path):
    user = jitsudo.people["base"]
    replacements = {
        "https://example.com": jitsudo.url,
        "<token>": user["session_token"],
        "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0": user["tenant_uuid"].upper(),
    }
    answer = json.loads(run_example(example, tmp_path, replacements))
    assert answer["message"] == "The current password is not correct."


def test_app_of_hyperclast_signs_up_and_logs_in(hyperclast):
    form = {"email": "new@example.com", "password": STRONG_PASSWORD}
    with httpx.Client(base_url=f"{hyperclast.url}/api/app/v1/auth") as http:
        signed_up = http.post("/signup", json=form)
        logged_in = http.post("/login", json=form)
        rejected = [
            http.post("/signup", json=form),
            http.post("/signup", json={"email": "short@example.com", "password": "short"}),
            http.post("/login", json=form | {"password": "wrong"}),
            http.post("/login", json=form | {"email": "unknown@example.com"}),
        ]
    assert signed_up.status_code == logged_in.status_code == 200
    assert {each.status_code for each in rejected} == {400}
    session_token = logged_in.json()["meta"]["session_token"]
    token = httpx.get(f"{hyperclast.url}{TOKEN}", headers={"X-Session-Token": session_token})
    assert len(token.json()["access_token"]) == 43


def test_browser_of_hyperclast_sends_its_csrf_token_with_each_write(hyperclast):
    person = hyperclast.people["other_tenant"]
    form = {"email": person["email"], "password": person["password"]}

    def csrf() -> dict[str, str]:
        return {"X-CSRFToken": http.cookies["csrftoken"]}

    with httpx.Client(base_url=hyperclast.url) as http:
        assert http.get(SESSION).status_code == 401
        assert http.post(LOG_IN, json=form).status_code == 403
        assert http.post(LOG_IN, json=form, headers=csrf()).status_code == 200
        assert http.get(SESSION).json()["meta"] == {"is_authenticated": True}
        assert http.get(USER).json()["email"] == person["email"]
        for wrong in ({}, {"X-CSRFToken": "example"}):
            assert http.post(REGENERATE, headers=wrong).status_code == 403
            assert http.delete(SESSION, headers=wrong).status_code == 403
        assert http.post(REGENERATE, headers=csrf()).status_code == 200
        ended = http.cookies["sessionid"]
        assert http.delete(SESSION, headers=csrf()).status_code == 401
        http.cookies.set("sessionid", ended)
        assert http.get(USER).status_code == 401


def test_profile_of_jitsudo_is_replaced_unless_its_provider_manages_it(jitsudo):
    def ask(person: str, **changes: object) -> httpx.Response:
        user = jitsudo.people[person]
        return httpx.request(
            "PUT" if changes else "GET",
            f"{jitsudo.url}/v1/users/me/profile",
            json=changes or None,
            headers={
                "Authorization": f"Bearer {user['session_token']}",
                "X-Tenant-ID": user["tenant_uuid"],
            },
        )

    assert ask("base", display_name="Jo", avatar_base64="data:image/png;base64,").is_success
    assert ask("base", avatar_base64="x" * 300_000).status_code == 400
    assert ask("base", avatar_base64="https://example.com/me.png").status_code == 400
    assert ask("base").json()["name"] == "Jo"
    assert ask("sso_user", first_name="Jim").status_code == 400
    assert ask("sso_user").json() == {
        "id": ask("sso_user").json()["id"],
        "email": "jim@acme.example",
        "auth_provider": "oidc",
        "name": "jim@acme.example",
        "first_name": None,
        "last_name": None,
        "display_name": None,
        "avatar_base64": None,
    }


def hold(server: Started, example: Path, folder: Path) -> int:
    """Run the conformance tests at level published, and return the exit status."""
    people = folder / "people.json"
    people.write_text(json.dumps(server.people))
    recipe = example.with_name("recipe.yaml")
    command = ["--url", server.url, "--credentials", str(people), "--recipe", str(recipe)]
    return conform([*command, "--dialect", example.parent.name, "--hold", "published"])


def test_conformance_tests_pass_on_hyperclast(tmp_path, capsys):
    """contract F3: nothing broken, nothing left out, twice in a row with the same file."""
    with serve_hyperclast() as server:
        assert hold(server, HYPERCLAST, tmp_path) == 0
        assert "Skipped" not in capsys.readouterr().out
        assert hold(server, HYPERCLAST, tmp_path) == 0


def test_conformance_tests_pass_on_jitsudo(tmp_path, capsys):
    """contract F3: as above."""
    with start_jitsudo() as server:
        assert hold(server, JITSUDO, tmp_path) == 0
        assert "Skipped" not in capsys.readouterr().out
        assert hold(server, JITSUDO, tmp_path) == 0


@pytest.mark.parametrize("mutant", name_all(HYPERCLAST_MUTANTS, default=2))
def test_conformance_tests_catch_mutant_of_hyperclast(mutant: Mutant, tmp_path):
    """contract F1: each fault breaks a sentence of the page."""
    with serve_hyperclast(mutant.write(HYPERCLAST, tmp_path)) as server:
        assert hold(server, HYPERCLAST, tmp_path) == 1


@pytest.mark.parametrize("mutant", name_all(JITSUDO_MUTANTS, default=2))
def test_conformance_tests_catch_mutant_of_jitsudo(mutant: Mutant, tmp_path):
    """contract F1: as above."""
    with start_jitsudo(mutant.write(JITSUDO, tmp_path)) as server:
        assert hold(server, JITSUDO, tmp_path) == 1


@pytest.mark.parametrize("mutant", name_all(HYPERCLAST_MUTANTS))
def test_mutant_of_hyperclast_breaks_the_page(mutant: Mutant, tmp_path):
    with serve_hyperclast(mutant.write(HYPERCLAST, tmp_path)) as server:
        assert mutant.breaks in check_hyperclast(server)


@pytest.mark.parametrize("mutant", name_all(JITSUDO_MUTANTS))
def test_mutant_of_jitsudo_breaks_the_page(mutant: Mutant, tmp_path):
    with start_jitsudo(mutant.write(JITSUDO, tmp_path)) as server:
        assert mutant.breaks in check_jitsudo(server)
