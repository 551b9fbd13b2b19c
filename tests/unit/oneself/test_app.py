"""Settings reach the parts of the application that they are for."""

from accounts.crypto.keyring import Purpose
from oneself_conformance.http_client import Request, json_request
from tests.support.in_process import InProcess


def test_settings_reach_the_reference_and_the_headers(location, tmp_path):
    """HT-15, HT-23, attack finding 22: no reference, and https for all subdomains."""
    settings = {"docs": "false", "hsts_subdomains": "true"}
    application = InProcess(tmp_path, location, **settings)
    page = application.ask(Request("GET", "/docs"))
    assert page.status == 404
    assert page.values("strict-transport-security") == ["max-age=31536000; includeSubDomains"]
    application.close()


def test_write_whose_response_is_kept_counts_apart(location, tmp_path):
    """LG-18, attack finding 8: by its own limit, so that kept responses are bounded."""
    application = InProcess(tmp_path, location, throttle_write="1/600")
    user = application.actors["base"]
    bearer = ("Authorization", f"Bearer {user['session_token']}")
    body = {"name": "A key", "scopes": ["me/profile:read"]}
    statuses = [
        application.ask(json_request("POST", "/v1/api-keys", body, (bearer, *key))).status
        for key in ((), (), (("Idempotency-Key", "first"),), (("Idempotency-Key", "second"),))
    ]
    assert statuses == [201, 429, 201, 201]
    name = f"idempotency|session|{user['user_id']}"
    digest = repr(application.keys.digest(Purpose.ATTEMPTS, name))
    assert sum(digest in row for row in application.stored()["attempt_budget"]) == 1
    application.close()
