"""Access to the threads that hash passwords."""

import pytest

from accounts.crypto import tokens
from oneself import app
from oneself.runtime.thread_pools import Pool
from oneself_conformance.http_client import Request, json_request
from tests.support.in_process import InProcess

OLD, NEW = "Violet tangent 47 harbour", "Ochre lantern 58 meadow"
CHANGE = {"current_password": OLD, "new_password": NEW}
CHANGES = {
    "/v1/me/password": CHANGE,
    "/api/v1/me/password": CHANGE,
    "/resources/me/password": {"currentPassword": OLD, "newPassword": NEW},
    "/v1/users/me/password": CHANGE,
}
MADE_UP = {
    "nothing": None,
    "a session": tokens.mint(tokens.SESSION),
    "an access token": tokens.mint(tokens.ACCESS_TOKEN),
    "nonsense": "nonsense",
}


@pytest.fixture(scope="module")
def full(storage, tmp_path_factory):
    """An application whose threads for passwords refuse everything with a 503.

    One for all tests, since each request is refused and changes nothing.
    """

    def make_pool(name, *, queue, **options):
        return Pool(name, queue=-options["threads"] if name == "password" else queue, **options)

    folder = tmp_path_factory.mktemp("full")
    location = storage.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Pool", make_pool)
        application = InProcess(folder, location)
    yield application
    application.close()
    storage.drop(location)


def _ask(application, path, body, credential=None):
    request = json_request("POST", path, body)
    headers = [*request.headers, ("X-Tenant-ID", application.actors["base"]["tenant_uuid"])]
    if credential is not None:
        headers.append(("Authorization", f"Bearer {credential}"))
    return application.ask(Request("POST", path, tuple(headers), request.body))


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("credential", MADE_UP.values(), ids=MADE_UP)
def test_made_up_credential_does_not_wait_for_a_hash(full, path, credential):
    """LG-13, attack finding 21: it is refused as such, however long the queue is."""
    assert _ask(full, path, CHANGES[path], credential).status == 401


@pytest.mark.parametrize("path", CHANGES)
def test_request_that_may_not_change_the_password_does_not_wait(full, path):
    """LG-13, attack finding 21: nor does a malformed one."""
    user = full.actors["base"]
    assert _ask(full, path, CHANGES[path], user["access_token"]).status == 403
    assert _ask(full, path, {"nonsense": 1}, user["session_token"]).status in {400, 422}


def test_made_up_reset_does_not_wait_for_a_hash(full):
    """LG-13, attack finding 21."""
    for secret in (tokens.mint(tokens.ONE_TIME_SECRET), "nonsense"):
        body = {"secret": secret, "new_password": NEW}
        answer = _ask(full, "/v1/auth/password/reset", body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "secret_invalid")


@pytest.mark.parametrize("path", ["/v1/auth/login", "/v1/auth/signup"])
def test_malformed_login_does_not_wait_for_a_hash(full, path):
    """LG-13, attack finding 21."""
    assert _ask(full, path, {}).status == 400


@pytest.mark.parametrize("path", CHANGES)
def test_good_credential_waits_for_a_hash(full, path):
    """LG-13: so that the tests above prove something."""
    session = full.actors["base"]["session_token"]
    assert _ask(full, path, CHANGES[path], session).status == 503


def test_login_waits_for_a_hash(full):
    """LG-13: also with an unknown address, or accounts would be revealed."""
    for email in (full.actors["base"]["email"], "ghost@example.com"):
        body = {"email": email, "password": OLD}
        assert _ask(full, "/v1/auth/login", body).status == 503
