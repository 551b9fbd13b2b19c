"""Secrets that the suite plants are found again in no log line and in no refusal."""

import base64
import json
import secrets
import time
from urllib.parse import quote

import pytest

from accounts import tokens
from tests.support.asking import Request, json_request
from tests.support.people import People
from tests.support.service import Service

#: What a line about a request has, and nothing else.
FIELDS = {
    "time", "level", "logger", "message", "request_id", "method", "operation", "status", "code",
    "credential", "milliseconds",
}  # fmt: skip


def _canary() -> str:
    return f"canary{secrets.token_hex(12)}"


def _planted() -> dict[str, tuple[str, Request]]:
    """Requests with a secret where one can come to stand, by right or by mistake."""
    words = {name: _canary() for name in range(12)}
    session, key = tokens.mint(tokens.SESSION), tokens.mint_api_key("ipto").key
    secret = tokens.mint(tokens.ONE_TIME_SECRET)
    login = "/v1/auth/login"
    return {
        "a password": (
            words[0],
            json_request("POST", login, {"email": "a@example.com", "password": words[0]}),
        ),
        "a password that is too long": (
            words[1],
            json_request("POST", login, {"email": "a@example.com", "password": words[1] * 99}),
        ),
        "a password of the wrong type": (
            words[2],
            json_request("POST", login, {"email": "a@example.com", "password": [words[2]]}),
        ),
        "a password as a name": (
            words[3] * 2,
            json_request("POST", login, {words[3] * 2: "a"}),
        ),
        "a password in what is no JSON": (
            words[4],
            Request(
                "POST",
                login,
                (("Content-Type", "application/json"),),
                f'{{"password": "{words[4]}"'.encode(),
            ),
        ),
        "a secret in the path": (words[5], Request("GET", f"/v1/me/{words[5]}")),
        "a secret in the query": (words[6], Request("GET", f"/v1/me?access_token={words[6]}")),
        "a secret as a method": (words[7], Request(words[7].upper(), "/v1/me")),
        "a secret as a user agent": (
            words[8],
            Request("GET", "/v1/me", (("User-Agent", words[8]),)),
        ),
        "a secret as a host": (words[9], Request("GET", "/v1/me", (("Host", words[9]),))),
        "a bearer token": (
            words[10],
            Request("GET", "/v1/me", (("Authorization", f"Bearer {words[10]}"),)),
        ),
        "a basic password": (
            words[11],
            Request("GET", "/v1/me", (("Authorization", f"Basic {words[11]}"),)),
        ),
        "a session": (session, Request("GET", "/v1/me", (("Authorization", f"Bearer {session}"),))),
        "an API key": (key, Request("GET", "/v1/me", (("X-API-Key", key),))),
        "an API key as a bearer token": (
            key[::-1],
            Request("GET", "/v1/me", (("Authorization", f"Bearer {key[::-1]}"),)),
        ),
        "a one-time secret": (
            secret,
            json_request("POST", "/api/v1/me/verify-email/confirm", {"secret": secret}),
        ),
    }


def _spellings(secret: str) -> set[str]:
    raw = secret.encode()
    # base64 of a text begins differently at each of three offsets; the middle is always there.
    encoded = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}
    return {secret.lower(), quote(secret).lower(), raw.hex(), *map(str.lower, encoded)}


@pytest.fixture(scope="module")
def log(service: Service, people: People) -> tuple[str, list[str]]:
    """The log after every secret was planted, and the secrets."""
    known = []
    for secret, request in _planted().values():
        answer = service.ask(request)
        assert 400 <= answer.status < 500, (request, answer)
        assert secret.lower() not in answer.body.decode().lower(), request
        known.append(secret)
    person = people.sign_up(password=f"{_canary()}Xy9!")
    known += [
        person[name]
        for name in ("password", "session_token", "access_token", "api_key", "client_secret", "pat")
    ]
    wanted = {"email": f"new.{person['email']}"}
    known.append(person.ask("POST", "/resources/me/email/change", wanted)["secret"])
    time.sleep(0.2)
    return service.log, known


def test_no_planted_secret_stands_in_the_log(log: tuple[str, list[str]]):
    """Not as it is, and not in base64, hexadecimal or percent-encoding (LO-01)."""
    text, known = log
    lower = text.lower()
    assert len(known) > 20
    found = [secret for secret in known if any(each in lower for each in _spellings(secret))]
    assert found == []


def test_each_line_of_the_log_is_one_object_with_known_fields(log: tuple[str, list[str]]):
    """One line of JSON for each request, in which nothing that a caller chose can stand (LO-05)."""
    text, _ = log
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["logger"] == "oneself.requests"]
    assert len(requests) > 10
    assert all(line.keys() == FIELDS for line in requests)
