"""Tests that a credential revoked during slow work writes nothing (ADR 11)."""

from functools import partial

import bcrypt
import pytest

from accounts.flows.profile import pictures
from oneself_conformance.http_client import Request, json_request
from tests.support.pictures import encoded, gradient

OLD, NEW = "Violet tangent 47 harbour", "Ochre lantern 58 meadow"


def _asked(application, method, path, session, body):
    bearer = ("Authorization", f"Bearer {session}")
    request = json_request(method, path, body)
    return application.ask(Request(method, path, (*request.headers, bearer), request.body))


@pytest.fixture
def session(application):
    """The session token of a user who has just signed up."""
    body = {
        "email": "carol@example.net",
        "password": OLD,
        "display_name": "Carol",
        "tenant_name": "Carol's",
    }
    answer = application.ask(json_request("POST", "/v1/auth/signup", body))
    return answer.json()["data"]["session_token"]


@pytest.fixture
def during(monkeypatch, run_in_thread):
    """Run a callback in another thread, once, before a function."""

    def during(module, name, happen):
        work = getattr(module, name)

        def first(*arguments):
            monkeypatch.setattr(module, name, work)
            run_in_thread(happen)
            return work(*arguments)

        monkeypatch.setattr(module, name, first)

    return during


def test_password_stays_when_session_ends_during_the_hash(application, session, during):
    """SE-06: the owner ends an attacker's session."""
    log_out = partial(_asked, application, "POST", "/v1/auth/logout", session, None)
    during(bcrypt, "checkpw", log_out)
    body = {"current_password": OLD, "new_password": NEW}
    answer = _asked(application, "POST", "/v1/me/password", session, body)
    assert (answer.status, answer.json()["error"]["code"]) == (401, "invalid_token")
    log_in = {"email": "carol@example.net", "password": OLD}
    assert application.ask(json_request("POST", "/v1/auth/login", log_in)).status == 200


def test_picture_stays_when_session_ends_during_the_encoding(application, session, during):
    """SE-06."""
    before = application.stored("login_session", "security_event", "attempt_budget")
    log_out = partial(_asked, application, "POST", "/v1/auth/logout", session, None)
    during(pictures, "encode_picture", log_out)
    head = (("Authorization", f"Bearer {session}"), ("Content-Type", "image/png"))
    upload = Request("PUT", "/resources/me/profile/picture", head, encoded(gradient()))
    answer = application.ask(upload)
    assert (answer.status, answer.json()["code"]) == (401, "invalid_token")
    assert application.stored("login_session", "security_event", "attempt_budget") == before
