"""The same request many times at once, over several workers: it is done once."""

import json
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from uuid import uuid4

import pytest

from oneself.conformance.http_client import Request
from tests.support.service import started

AT_ONCE = 10


@pytest.fixture(scope="module")
def service(storage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("idempotency")
    settings = {**storage.settings(), "throttle_signup": "100000/1"}
    with started(folder, workers=2, **settings) as running:
        yield running


def _ask_at_once(service, path, body, **headers):
    """The answers to the same request, sent by as many clients as fit."""
    sent = [("Content-Type", "application/json"), *headers.items()]
    request = Request("POST", path, tuple(sent), json.dumps(body).encode())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: service.ask(request), range(AT_ONCE)))


def _session_of(service):
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    [answer, *_] = _ask_at_once(service, "/v1/auth/signup", body, **{"Idempotency-Key": "first"})
    return {"Authorization": f"Bearer {answer.json()['data']['session_token']}"}


def test_of_ten_that_make_the_same_thing_at_once_one_does(service):
    """HT-18: all ten are told of the same key, and there is no other."""
    session = _session_of(service)
    body = {"name": "CI", "scopes": ["keys:read"]}
    for number in range(5):
        key = {"Idempotency-Key": f"key {number}".replace(" ", "-")}
        answers = _ask_at_once(service, "/v1/api-keys", body, **session, **key)
        assert {answer.status for answer in answers} == {HTTPStatus.CREATED}
        assert len({answer.json()["data"]["key"] for answer in answers}) == 1
    listed = service.ask(Request("GET", "/v1/api-keys", tuple(session.items())))
    assert len(listed.json()["data"]["items"]) == 5


def test_of_ten_that_open_the_same_account_at_once_one_does(service):
    """HT-18: a hash lies between the look and the write, in which the others look as well."""
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    answers = _ask_at_once(service, "/v1/auth/signup", body, **{"Idempotency-Key": "once"})
    assert {answer.status for answer in answers} == {HTTPStatus.CREATED}
    assert len({answer.json()["data"]["session_token"] for answer in answers}) == 1


def test_of_ten_that_open_the_same_account_without_a_key_one_does_and_nine_are_told(service):
    """UN-01: what the key makes a difference to."""
    body = {
        "email": f"{uuid4()}@example.com",
        "password": "s3cur3P@ssw0rd!",
        "display_name": "Alice Chen",
        "tenant_name": "Acme Corp",
    }
    statuses = [answer.status for answer in _ask_at_once(service, "/v1/auth/signup", body)]
    assert sorted(statuses) == [HTTPStatus.CREATED, *[HTTPStatus.CONFLICT] * (AT_ONCE - 1)]
