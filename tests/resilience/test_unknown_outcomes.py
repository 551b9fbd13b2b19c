"""A commit of unknown outcome: absolute acts are begun again, the others say so (ADR 37)."""

import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection

from accounts.errors import OutcomeUnknown
from oneself.database import Database
from oneself.runtime.jobs import run_act
from oneself_conformance.actors import Actors
from oneself_conformance.cases.assertions import find_violations
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row
from oneself_conformance.http_client import Answer, Request
from tests.resilience.test_failing_statements import INLINE, ROWS
from tests.support.in_process import InProcess

_MAX_COMMITS = 10


def _lose(_connection: Connection) -> None:
    """Roll the transaction back."""
    raise OutcomeUnknown("lost", is_settled=True)


def _keep(connection: Connection) -> None:
    """Commit the transaction, but do not say so."""
    connection.connection.dbapi_connection.commit()  # type: ignore[union-attr] # the driver's
    raise OutcomeUnknown("kept", is_settled=True)


@pytest.fixture(scope="module")
def user(app: InProcess) -> Mapping[str, str]:
    return app.create_demo_user()


@pytest.fixture
def ask(app: InProcess, user: Mapping[str, str]) -> Callable[..., Answer]:
    """Sends a request of the user, with a fault in its first commit."""

    def ask(
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        fault: Callable[[Connection], None] | None = None,
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Authorization"] = f"Bearer {user['session_token']}"
        if body is not None:
            named["Content-Type"] = "application/json"
        sent = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, tuple(named.items()), sent)
        if fault is None:
            return app.ask(request)
        with app.faults.at("commit", 1, fault):
            answer = app.ask(request)
        assert app.faults.happened
        return answer

    return ask


@pytest.mark.nightly
@pytest.mark.parametrize(
    "row",
    [row for row in ROWS.values() if row.operation.method != "get"],
    ids=[name for name, row in ROWS.items() if row.operation.method != "get"],
)
def test_unknown_outcome_is_documented_for_every_act(row: Row, app: InProcess, actors: Actors):
    """DB-12, scale-out P2: in the shape of its dialect, and never as a 500.

    Before slow work nothing of the act itself is done, so that is a 503. On SQLite, which has no
    unknown outcomes, acts that share a commit are not begun again.
    """
    shared = app.faults.dialect == "sqlite" and row.operation_id in INLINE
    absolute = row.operation.method in {"put", "patch", "delete"} and not shared
    refusals: list[str] = []
    for number in count(1):
        assert number < _MAX_COMMITS
        runner = CaseRunner(row, app, actors)
        request = runner.prepare()
        with app.faults.at("commit", number, _lose):
            response = app.ask(request)
        expected = row
        if app.faults.happened and response.status in {503, 504}:
            refusals.append({503: "unavailable", 504: "outcome_unknown"}[response.status])
            expected = Row(row.file, {**row.raw, "expect": {"refusal": refusals[-1]}})
        violations = find_violations(
            expected, request, response, now=runner.now, look_up=runner.look_up
        )
        assert violations == [], f"commit {number}"
        if not app.faults.happened:
            break
    keyed = any(name.lower() == "idempotency-key" for name, _ in request.headers)
    assert ("outcome_unknown" in refusals) == (not absolute and not keyed)


def test_lost_deletion_is_made_again(ask: Callable[..., Answer]):
    """DB-12, scale-out P2."""
    created = ask("POST", "/v1/api-keys", {"name": "CI", "scopes": ["keys:read"]})
    path = f"/v1/api-keys/{created.json()['data']['api_key_id']}"
    assert ask("DELETE", path, fault=_lose).status == 204
    assert ask("DELETE", path).status == 404


def test_refused_repetition_of_a_deletion_is_no_answer(ask: Callable[..., Answer]):
    """DB-12: a 404 would say that there was nothing to delete."""
    created = ask("POST", "/v1/api-keys", {"name": "CI", "scopes": ["keys:read"]})
    path = f"/v1/api-keys/{created.json()['data']['api_key_id']}"
    answer = ask("DELETE", path, fault=_keep)
    assert (answer.status, answer.json()["error"]["code"]) == (504, "outcome_unknown")
    assert "retry-after" not in {name.lower() for name, _ in answer.headers}
    assert ask("DELETE", path).status == 404


@pytest.mark.only_on("postgresql")  # on SQLite changes of settings share a commit
def test_refused_repetition_of_a_conditional_change_is_no_answer(ask: Callable[..., Answer]):
    """DB-12: a 412 would say that another client was faster, and it may have been the same one."""
    path = "/resources/me/settings"
    assert ask("PUT", path, {"theme": "light"}).status == 200
    tag = dict(ask("GET", path).headers)["etag"]
    answer = ask("PATCH", path, {"theme": "dark"}, fault=_keep, If_Match=tag)
    assert (answer.status, answer.json()["code"]) == (504, "outcome_unknown")
    tag = dict(ask("GET", path).headers)["etag"]
    assert ask("PATCH", path, {"theme": "light"}, fault=_lose, If_Match=tag).status == 200


@pytest.mark.parametrize("fault", [_lose, _keep])
def test_act_with_an_idempotency_key_is_made_once(
    ask: Callable[..., Answer], fault: Callable[[Connection], None]
):
    """DB-12, HT-18: the repetition finds the response of the first attempt, if there was one."""
    name = f"once {fault.__name__}"
    body = {"name": name, "scopes": ["keys:read"]}
    created = ask("POST", "/v1/api-keys", body, fault=fault, Idempotency_Key=name.replace(" ", "-"))
    assert created.status == 201
    listed = ask("GET", "/v1/api-keys").json()["data"]["items"]
    assert [key["api_key_id"] for key in listed if key["name"] == name] == [
        created.json()["data"]["api_key_id"]
    ]


@pytest.mark.parametrize(("fault", "made"), [(_lose, 0), (_keep, 1)])
def test_other_act_is_not_repeated(
    ask: Callable[..., Answer], fault: Callable[[Connection], None], made: int
):
    """DB-12: a second API key could not be told from the first."""
    name = f"other {fault.__name__}"
    answer = ask("POST", "/v1/api-keys", {"name": name, "scopes": ["keys:read"]}, fault=fault)
    assert (answer.status, answer.json()["error"]["code"]) == (504, "outcome_unknown")
    listed = ask("GET", "/v1/api-keys").json()["data"]["items"]
    assert len([key for key in listed if key["name"] == name]) == made


def test_undecided_outcome_is_not_repeated(ask: Callable[..., Answer]):
    """DB-12: the first attempt may still be committed, after the second."""

    def _hang(_connection: Connection) -> None:
        raise OutcomeUnknown("in progress")

    created = ask("POST", "/v1/api-keys", {"name": "CI", "scopes": ["keys:read"]})
    path = f"/v1/api-keys/{created.json()['data']['api_key_id']}"
    assert ask("DELETE", path, fault=_hang).status == 504
    assert ask("DELETE", path).status == 204


def test_failed_repetition_leaves_the_outcome_unknown(app: InProcess):
    """DB-12: neither a 503 nor a 500 may hide the first attempt, which says that it may be done."""
    database: Database = app._database  # noqa: SLF001 # the one of the application
    errors = iter([OutcomeUnknown("lost", is_settled=True), ZeroDivisionError()])

    def fail() -> None:
        raise next(errors)

    with pytest.raises(OutcomeUnknown) as unknown:
        database.attempt(fail, repeatable=True)
    assert isinstance(unknown.value.__cause__, ZeroDivisionError)


def test_unknown_outcome_before_slow_work_changes_nothing(app: InProcess):
    """DB-11, DB-12: the counted attempt may stay, and the act has not begun, so it is a 503."""
    user = app.create_demo_user()
    body = json.dumps({"email": user["email"], "password": user["password"]}).encode()
    request = Request("POST", "/v1/auth/login", (("Content-Type", "application/json"),), body)
    with app.faults.at("commit", 1, _lose):
        answer = app.ask(request)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "unavailable")
    assert run_act(app._database, lambda _session: 1) == 1  # noqa: SLF001 # as above
