"""The same request many times at once, at several workers, is done once."""

import json
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from uuid import uuid4

import pytest

from oneself_conformance.http_client import Request
from tests.support.service import started

PARALLEL = 10


@pytest.fixture(scope="module")
def service(storage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("idempotency")
    settings = {**storage.settings(), "throttle_signup": "100000/1"}
    with started(folder, workers=2, **settings) as running:
        yield running


def _send_in_parallel(service, path, body, **headers):
    """Send the same request from several clients at once, and return the responses."""
    request_headers = [("Content-Type", "application/json"), *headers.items()]
    request = Request("POST", path, tuple(request_headers), json.dumps(body).encode())
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda _: service.ask(request), range(PARALLEL)))


def _session_of(service):
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    [response, *_] = _send_in_parallel(
        service, "/v1/auth/signup", body, **{"Idempotency-Key": "first"}
    )
    return {"Authorization": f"Bearer {response.json()['data']['session_token']}"}


def test_parallel_requests_with_one_key_create_one_api_key(service):
    """HT-18: all ten get the same API key, and there is no other."""
    session = _session_of(service)
    body = {"name": "CI", "scopes": ["keys:read"]}
    for number in range(5):
        key = {"Idempotency-Key": f"key {number}".replace(" ", "-")}
        responses = _send_in_parallel(service, "/v1/api-keys", body, **session, **key)
        assert {response.status for response in responses} == {HTTPStatus.CREATED}
        assert len({response.json()["data"]["key"] for response in responses}) == 1
    listed = service.ask(Request("GET", "/v1/api-keys", tuple(session.items())))
    assert len(listed.json()["data"]["items"]) == 5


def test_parallel_signups_with_one_key_create_one_account(service):
    """HT-18: between its check and its write a signup hashes, while others check as well."""
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    responses = _send_in_parallel(service, "/v1/auth/signup", body, **{"Idempotency-Key": "once"})
    assert {response.status for response in responses} == {HTTPStatus.CREATED}
    assert len({response.json()["data"]["session_token"] for response in responses}) == 1


def test_parallel_signups_without_a_key_conflict(service):
    """UN-01."""
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    statuses = [response.status for response in _send_in_parallel(service, "/v1/auth/signup", body)]
    assert sorted(statuses) == [HTTPStatus.CREATED, *[HTTPStatus.CONFLICT] * (PARALLEL - 1)]
