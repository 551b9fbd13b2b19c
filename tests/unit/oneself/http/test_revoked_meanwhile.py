"""What was revoked while a request did slow work writes nothing (ADR 11)."""

from functools import partial

import bcrypt
import pytest

from accounts.flows.profile import pictures
from oneself.conformance.http_client import Request, json_request
from oneself.conformance.pictures import encoded, gradient

OLD, NEW = "Violet tangent 47 harbour", "Ochre lantern 58 meadow"


def _asked(there, method, path, session, body):
    bearer = ("Authorization", f"Bearer {session}")
    request = json_request(method, path, body)
    return there.ask(Request(method, path, (*request.headers, bearer), request.body))


@pytest.fixture
def session(there):
    """That of somebody who has just signed up."""
    body = {
        "email": "carol@example.net",
        "password": OLD,
        "display_name": "Carol",
        "tenant_name": "Carol's",
    }
    answer = there.ask(json_request("POST", "/v1/auth/signup", body))
    return answer.json()["data"]["session_token"]


@pytest.fixture
def during(monkeypatch, elsewhere):
    """Has a function preceded, once, by something that happens in another thread."""

    def during(module, name, happen):
        work = getattr(module, name)

        def first(*arguments):
            monkeypatch.setattr(module, name, work)
            elsewhere(happen)
            return work(*arguments)

        monkeypatch.setattr(module, name, first)

    return during


def test_a_session_that_ends_during_the_hash_changes_no_password(there, session, during):
    """SE-06: a thief's, which the owner ends meanwhile."""
    log_out = partial(_asked, there, "POST", "/v1/auth/logout", session, None)
    during(bcrypt, "checkpw", log_out)
    body = {"current_password": OLD, "new_password": NEW}
    answer = _asked(there, "POST", "/v1/me/password", session, body)
    assert (answer.status, answer.json()["error"]["code"]) == (401, "invalid_token")
    log_in = {"email": "carol@example.net", "password": OLD}
    assert there.ask(json_request("POST", "/v1/auth/login", log_in)).status == 200


def test_a_session_that_ends_while_a_picture_is_written_anew_changes_none(there, session, during):
    """SE-06: as above."""
    before = there.stored("login_session", "security_event")
    log_out = partial(_asked, there, "POST", "/v1/auth/logout", session, None)
    during(pictures, "encode_picture", log_out)
    head = (("Authorization", f"Bearer {session}"), ("Content-Type", "image/png"))
    upload = Request("PUT", "/resources/me/profile/picture", head, encoded(gradient()))
    answer = there.ask(upload)
    assert (answer.status, answer.json()["code"]) == (401, "invalid_token")
    assert there.stored("login_session", "security_event") == before
