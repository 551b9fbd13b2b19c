"""Planted secrets must not appear in a log line, refusal, event or email."""

import base64
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from accounts.crypto import tokens
from oneself_conformance.actors import Actor, Actors
from oneself_conformance.cases.request_building import credential_header
from oneself_conformance.http_client import Answer, Request, form_request, json_request
from tests.support.databases import Storage
from tests.support.deadlines import patient
from tests.support.operator_acts import open_actors
from tests.support.service import ROOT, Service, started
from tests.support.stored import reading

#: The exact fields of a log line about a request.
FIELDS = {
    "time", "level", "logger", "message", "request_id", "method", "operation", "status", "code",
    "credential", "milliseconds", "trace_id",
}  # fmt: skip
#: Further fields of a line about a refused attempt at a password or a client secret.
ATTEMPT = {"address", "account"}
VERIFY, RESET = "Verify your email address", "Reset your password"
_LOGIN = "/v1/auth/login"
_EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}
_SECONDS_TO_DELIVER = 10


@dataclass(frozen=True)
class Planted:
    """The planted secrets, and everything the service has written since.

    `secrets` are by the name of the place, `mails` by subject; `refusals` are bodies with headers.
    """

    secrets: Mapping[str, str]
    refusals: tuple[str, ...]
    log: str
    events: tuple[str, ...]
    mails: Mapping[str, str]


class Planter:
    """Sends requests, and records every secret sent or received and every refusal."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.secrets: dict[str, str] = {}
        self.refusals: list[str] = []

    def keep(self, name: str, secret: str) -> str:
        """Record a secret by the name of its place."""
        assert len(secret) > 20, name
        self.secrets[name] = secret
        return secret

    def ask(self, request: Request) -> Answer:
        """Send a request, and record the response if it is a refusal."""
        answer = self._service.ask(request)
        assert answer.status < HTTPStatus.INTERNAL_SERVER_ERROR, (request, answer)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            self.refusals.append(f"{answer.headers}\n{answer.body.decode()}")
        return answer

    def get(self, request: Request) -> Any:
        """Send a request that must succeed, and return its JSON."""
        answer = self.ask(request)
        assert answer.status < HTTPStatus.BAD_REQUEST, (request, answer)
        return answer.json() if answer.body else None

    def refuse(self, request: Request) -> None:
        """Send a request that must be rejected."""
        answer = self.ask(request)
        assert answer.status >= HTTPStatus.BAD_REQUEST, (request, answer)


def _canary() -> str:
    return f"canary{secrets.token_hex(12)}"


def _strong_password() -> str:
    return f"{_canary()}Xy9!"


def _plant_by_mistake(planter: Planter) -> None:
    """Plant secrets in wrong places, and made-up secrets in right ones."""
    word = {
        # Longer than a misspelt field, which a refusal may name to suggest the spelling.
        name: planter.keep(f"by mistake: {name}", _canary() * 2)
        for name in (
            "password", "long", "type", "name", "json", "path", "query", "method", "agent", "host",
            "bearer", "basic", "scheme", "form", "field", "grant", "client", "reset", "type_hint",
            "cookie", "origin", "tenant", "request_id", "forwarded",
        )
    }  # fmt: skip
    broken = f'{{"password": "{word["json"]}"'.encode()
    as_json = (("Content-Type", "application/json"),)
    for request in (
        json_request("POST", _LOGIN, {"email": "a@example.com", "password": word["password"]}),
        json_request("POST", _LOGIN, {"email": "a@example.com", "password": word["long"] * 99}),
        json_request("POST", _LOGIN, {"email": "a@example.com", "password": [word["type"]]}),
        json_request("POST", _LOGIN, {word["name"]: "a"}),
        Request("POST", _LOGIN, as_json, broken),
        Request("GET", f"/v1/me/{word['path']}"),
        Request("GET", f"/v1/me?access_token={word['query']}"),
        Request(word["method"].upper(), "/v1/me"),
        Request("GET", "/v1/me", (("User-Agent", word["agent"]),)),
        Request("GET", "/v1/me", (("Host", f"tok_{word['host']}"),)),
        Request("GET", "/v1/me", (credential_header("bearer", word["bearer"]),)),
        Request("GET", "/v1/me", (credential_header("basic", f"a:{word['basic']}"),)),
        Request("GET", "/v1/me", (("Authorization", word["scheme"]),)),
        Request("GET", "/v1/me", (credential_header("cookie", word["cookie"]),)),
        Request("GET", "/v1/me", (("Origin", f"https://{word['origin']}.example"),)),
        Request("GET", "/v1/me", (("X-Tenant-ID", word["tenant"]),)),
        Request("GET", "/v1/me", (("X-Request-ID", word["request_id"]),)),
        Request("GET", "/v1/me", (("X-Forwarded-For", word["forwarded"]),)),
        Request("GET", f"/v1/me/events?cursor={word['query']}"),
        form_request("/oauth/token", {"grant_type": "refresh_token", "token": word["form"]}),
        form_request("/oauth/token", {word["field"]: [word["field"], word["field"]]}),
        form_request("/oauth/token", {"grant_type": word["grant"], "client_id": word["client"]}),
        form_request(
            "/oauth/introspect",
            {"token": word["form"], "token_type_hint": word["type_hint"]},
            (credential_header("client", f"{word['client']}:{word['basic']}"),),
        ),
        json_request(
            "POST", "/v1/auth/password/reset", {"secret": word["reset"], "new_password": "aB3$xY9z"}
        ),
    ):
        planter.refuse(request)

    minted = {
        prefix: planter.keep(f"made up: {prefix}", tokens.mint(prefix))
        for prefix in ("sess_", "tok_", "pat_", "ref_", "cls_", "ots_")
    }
    for prefix in ("sess_", "tok_", "pat_", "ref_", "cls_", "ots_"):
        bearer = credential_header("bearer", minted[prefix])
        planter.refuse(Request("GET", "/v1/me", (bearer,)))
        planter.refuse(form_request("/oauth/introspect", {"token": minted[prefix]}, (bearer,)))
    key = planter.keep("made up: API key", tokens.mint_api_key("ipto").key)
    planter.refuse(Request("GET", "/v1/me", (("X-API-Key", key),)))
    planter.refuse(
        json_request("POST", "/api/v1/me/verify-email/confirm", {"secret": minted["ots_"]})
    )
    planter.refuse(
        form_request(
            "/oauth/token",
            {"grant_type": "refresh_token", "refresh_token": minted["ref_"]},
            (credential_header("client", f"cli_0a1b2c3d4e5f:{minted['cls_']}"),),
        )
    )


def _plant_by_right(planter: Planter, user: Actor) -> None:
    """Use each secret that the service issues or accepts, correctly and incorrectly."""
    for name in ("password", "session_token", "access_token", "api_key", "client_secret", "pat"):
        planter.keep(f"by right: {name}", user[name])
    client = credential_header("client", user["client"])
    session = credential_header("bearer", user["session_token"])
    exchange = form_request(
        "/oauth/token", {**_EXCHANGE, "subject_token": user["session_token"]}, (client,)
    )
    issued = planter.get(exchange)
    jwt = planter.keep("by right: JWT", issued["access_token"])
    refresh = planter.keep("by right: refresh token", issued["refresh_token"])
    again = {"grant_type": "refresh_token", "refresh_token": refresh}
    rotated = planter.get(form_request("/oauth/token", again, (client,)))
    planter.keep("by right: second JWT", rotated["access_token"])
    planter.keep("by right: second refresh token", rotated["refresh_token"])
    planter.refuse(form_request("/oauth/token", again, (client,)))
    for token in (jwt, refresh, user["pat"], user["session_token"]):
        planter.get(form_request("/oauth/introspect", {"token": token}, (client,)))
    bearers = [("bearer", jwt), ("bearer", user["pat"]), ("bearer", user["access_token"])]
    for kind, value in (*bearers, ("api_key", user["api_key"])):
        planter.get(Request("GET", "/v1/me", (credential_header(kind, value),)))
        planter.refuse(
            json_request("POST", "/v1/me/password", {}, (credential_header(kind, value),))
        )
    for token in (jwt, f"{jwt}x", jwt.rpartition(".")[0]):
        where = form_request("/oauth/token", {**_EXCHANGE, "subject_token": token}, (client,))
        planter.refuse(where)
        planter.refuse(Request("GET", "/v1/me", (("X-API-Key", token),)))
    for path in ("/v1/me/password", "/api/v1/me/password"):
        body = {
            "current_password": planter.keep(
                f"by right: wrong password at {path}", _strong_password()
            ),
            "new_password": planter.keep(f"by right: new password at {path}", _strong_password()),
        }
        planter.refuse(json_request("POST", path, body, (session,)))
    moved = planter.get(
        json_request(
            "POST", "/resources/me/email/change", {"email": f"new.{user['email']}"}, (session,)
        )
    )
    planter.keep("by right: secret of a change of the address", moved["secret"])
    for token in (rotated["access_token"], rotated["refresh_token"], user["pat"]):
        planter.get(form_request("/oauth/revoke", {"token": token}, (client,)))


def _plant_by_mail(planter: Planter, service: Service, user: Actor) -> None:
    """Use the two emailed secrets, up to the reset that ends all credentials."""
    session = credential_header("bearer", user["session_token"])
    planter.get(Request("POST", "/api/v1/me/verify-email", (session,)))
    proof = planter.keep("by mail: verification", _mailed(service, user, VERIFY))
    planter.get(json_request("POST", "/api/v1/me/verify-email/confirm", {"secret": proof}))
    planter.get(json_request("POST", "/v1/auth/password/forgot", {"email": user["email"]}))
    reset = planter.keep("by mail: reset", _mailed(service, user, RESET))
    new = planter.keep("by mail: new password", _strong_password())
    for weak in (planter.keep("by mail: weak password", _canary()), new):
        planter.ask(
            json_request("POST", "/v1/auth/password/reset", {"secret": reset, "new_password": weak})
        )
    planter.refuse(
        json_request("POST", "/v1/auth/password/reset", {"secret": reset, "new_password": new})
    )
    opened = planter.get(json_request("POST", _LOGIN, {"email": user["email"], "password": new}))
    planter.keep("by mail: session afterwards", opened["data"]["session_token"])


def _mailed(service: Service, user: Actor, subject: str) -> str:
    """Wait for an email, and return its secret."""
    deadline = time.monotonic() + patient(_SECONDS_TO_DELIVER)
    while time.monotonic() < deadline:
        for recipient, title, text in _mails(service):
            if (recipient, title) == (user["email"], subject):
                [secret] = set(re.findall(r"ots_[0-9A-Za-z]{49}", text))
                return str(secret)
        time.sleep(0.05)
    message = f"no mail {subject!r}"
    raise AssertionError(message)


def _mails(service: Service) -> Iterator[tuple[str, str, str]]:
    for path in (service.data / "mail").glob("*.eml"):
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        texts = [mail.get_body((kind,)).get_content() for kind in ("plain", "html")]
        title, _, _ = mail["Subject"].rpartition(" \N{EN DASH} ")
        yield mail["To"], title, f"{mail.items()}\n{texts}"


@pytest.fixture(scope="module")
def planted(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Everything that a separate service has written, after it has stopped."""
    folder = tmp_path_factory.mktemp("canary")
    with started(folder, **storage.settings()) as service, open_actors(service) as actors:
        planter = Planter(service)
        _plant_by_mistake(planter)
        user = actors.sign_up(password=_strong_password())
        _plant_by_right(planter, user)
        _plant_by_mail(planter, service, user)
        _plant_in_demo(planter, actors)
    # The service is stopped so that batches are written; it does not wait for pending mail.
    subprocess.run(
        [sys.executable, "-m", "oneself", "mail", "deliver"],
        cwd=ROOT,
        env=dict(service.environment),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with reading(service) as connection:
        events = connection.exec_driver_sql("SELECT * FROM security_event").all()
    mails: dict[str, str] = {}
    for _, subject, text in _mails(service):
        mails[subject] = mails.get(subject, "") + text
    return Planted(
        planter.secrets, tuple(planter.refusals), service.log, tuple(map(repr, events)), mails
    )


def _plant_in_demo(planter: Planter, actors: Actors) -> None:
    base = actors.find("base")
    for name in ("password", "session_token", "access_token", "api_key", "client_secret", "pat"):
        planter.keep(f"demo: {name}", base[name])


def _spellings(secret: str) -> set[str]:
    raw = secret.encode()
    # base64 depends on the offset modulo three at both ends; the middle part always occurs.
    encoded = {base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)}
    encoded |= {each.translate(str.maketrans("+/", "-_")) for each in encoded}
    texts = {secret, quote(secret), quote_plus(secret), raw.hex(), *encoded}
    return {text.lower() for text in texts}


def _found(secrets_by_name: Mapping[str, str], text: str) -> list[str]:
    """Return the names of the secrets in a text, in any encoding."""
    lower = text.lower()
    return [
        name
        for name, secret in secrets_by_name.items()
        if any(each in lower for each in _spellings(secret))
    ]


def test_every_kind_of_secret_was_planted(planted: Planted):
    """LO-01: the control of the tests below."""
    assert len(planted.secrets) > 50
    assert len(set(planted.secrets.values())) == len(planted.secrets)
    kinds = ("sess_", "tok_", "pat_", "ref_", "cls_", "ots_", "ipto_", "eyJ", "canary")
    assert all(any(each.startswith(kind) for each in planted.secrets.values()) for kind in kinds)


@pytest.mark.parametrize("spelling", [str, quote, lambda text: text.encode().hex(), None])
def test_secret_is_found_in_text(spelling: Any):
    """LO-01: plain, encoded, or within encoded text."""
    secret = _strong_password()
    if spelling is None:
        text = base64.b64encode(f'{{"a":"{secret}"}}'.encode()).decode()
    else:
        text = f"before {spelling(secret)} after"
    assert _found({"present": secret}, text) == ["present"]
    assert _found({"absent": _strong_password()}, text) == []


def test_log_contains_no_planted_secret(planted: Planted):
    """LO-01: neither plain nor in base64, hexadecimal or percent-encoding."""
    assert len(planted.log.splitlines()) > 60
    assert _found(planted.secrets, planted.log) == []


def test_events_contain_no_planted_secret(planted: Planted):
    """LO-01: in any column of any row."""
    assert len(planted.events) > 15
    assert _found(planted.secrets, "\n".join(planted.events)) == []


def test_refusals_contain_no_planted_secret(planted: Planted):
    """LO-01: neither in the body nor in the headers."""
    assert len(planted.refusals) > 50
    assert _found(planted.secrets, "\n".join(planted.refusals)) == []


def test_emails_contain_only_the_secret_they_deliver(planted: Planted):
    """LO-01."""
    found = {subject: _found(planted.secrets, text) for subject, text in planted.mails.items()}
    assert found == {
        VERIFY: ["by mail: verification"],
        RESET: ["by mail: reset"],
        "Your password was changed": [],
        "An API key was created for your account": [],
        "A personal access token was created for your account": [],
        "Your email address is about to change": [],
    }


def test_log_line_is_one_object_with_known_fields(planted: Planted):
    """LO-05: one line of JSON per request, without text that the caller chose."""
    lines = [json.loads(line) for line in planted.log.splitlines()]
    requests = [line for line in lines if line["logger"] == "oneself.requests"]
    assert len(requests) > 60
    assert all(line.keys() - ATTEMPT == FIELDS for line in requests)
