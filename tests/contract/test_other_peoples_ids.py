"""Ids of other users get the same response as unknown ids, at every operation with an id."""

import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from sqlalchemy import Connection, inspect, text

from oneself.document import load_document, resolve
from oneself.http.request.forms import FORM
from oneself_conformance.actors import Actor, Actors
from oneself_conformance.cases.request_building import CREDENTIALS, build_target, credential_header
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.totp import totp_code
from tests.support.databases import Storage
from tests.support.deadlines import patient
from tests.support.operator_acts import open_actors
from tests.support.service import Service, started
from tests.support.stored import reading

#: Headers with values that the client chooses. A row of the rows of ipto tests that the
#: idempotency keys of other users are independent.
OF_REQUESTS = {"Idempotency-Key", "If-Match", "If-None-Match"}
#: Names of fields and query parameters that identify a row.
NAME_OF_ROW = re.compile(r"(^|_)ids?$|[a-z]Ids?$|^cursor$")
#: Tables that even a rejected request may write to: attempts and last uses.
NOT_COMPARED = {"attempt_budget", "security_event", "event_link"}
#: Columns that a job writes, at any time.
RECORDED_LATER = {"last_used_at", "source_digest"}
SECONDS_TO_DELIVER = 10

NEW_PASSWORD = "n3wS3cur3P@ss!"
NO_UUID = "01933e8f-7c45-7123-9abc-123456789abc"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


class IdField(NamedTuple):
    """A place in a request that identifies a row."""

    operation_id: str
    place: str
    name: str


#: Without a row of a user: a name, a derived token, the client that authenticates, and an id that a
#: client chooses for itself and that is looked up among the devices of its user only.
NO_ROW = {
    IdField("status.getDialectDocument", "path", "dialect"),
    IdField("hyperclast.endSession", "header", "X-CSRFToken"),
    IdField("oauth.introspectToken", "body", "client_id"),
    IdField("hyperclast.registerDevice", "body", "client_id"),
    # It is as secret as a token, and is no id of a row.
    IdField("ipto.completeLogIn", "body", "challenge_id"),
}


def _documented_id_fields() -> Iterator[IdField]:
    """Yield all path and header parameters, and query and body fields named like an id."""
    for operation_id, operation in OPERATIONS.items():
        for each in operation.parameters:
            if each["name"] in OF_REQUESTS:
                continue
            if each["in"] in {"path", "header"} or NAME_OF_ROW.search(each["name"]):
                yield IdField(operation_id, each["in"], each["name"])
        for body in operation.bodies.values():
            for name in resolve(load_document(), body).get("properties", {}):
                if NAME_OF_ROW.search(name):
                    yield IdField(operation_id, "body", name)


@dataclass
class Env:
    """Alice, the caller; Dora, of her tenant; Bruno, of another tenant; and their objects."""

    service: Service
    actors: Actors
    _made: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Alice's second factor, for requests about it with another tenant.
    factor_id: str = NO_UUID

    def find(self, who: str) -> Actor:
        return self.actors.find({"alice": "base", "dora": "sso_user", "bruno": "other_tenant"}[who])

    def row(self, object_kind: str, owner_name: str) -> str:
        """Return the id of a user's object, which is created on first use."""
        if (object_kind, owner_name) not in self._made:
            self._made[object_kind, owner_name] = FACTORIES[object_kind](self, owner_name)
        return self._made[object_kind, owner_name]

    def credential(self, kind: str, who: str = "alice") -> tuple[str, str]:
        """Return the header of a user's credential."""
        user = self.find(who)
        if kind == "client":
            return credential_header("basic", f"{user['client_id']}:{user['client_secret']}")
        if kind == "jwt":
            return credential_header("jwt", self.row("jwt", who))
        name = {"session": "session_token", "cookie": "session_token"}.get(kind, kind)
        return credential_header(kind, user[name])

    def request(self, case: "Case", value: str, kind: str, body: Mapping[str, Any]) -> Request:
        """Build Alice's request with the value in its place, and the other fields in `body`."""
        operation = OPERATIONS[case.named.operation_id]
        parts: dict[str, Any] = {case.named.place: {case.named.name: value}}
        if case.named.operation_id == "jitsudo.removeMfaMethod":
            tenant = self.find("alice").find_tenant_uuid()
            parts = {"header": {"X-Tenant-ID": tenant}, "path": {"id": self.factor_id}, **parts}
        headers = list(parts.get("header", {}).items())
        if kind != "none":
            headers.append(self.credential(kind))
        if kind == "cookie":
            headers.append(("Sec-Fetch-Site", "same-origin"))
        sent = b""
        if operation.bodies:
            media, content = next(iter(operation.bodies)), {**body, **parts.get("body", {})}
            sent = (urlencode(content) if media == FORM else json.dumps(content)).encode()
            headers.append(("Content-Type", media))
        target = build_target(operation.path, None, parts)
        return Request(operation.method.upper(), target, tuple(headers), sent)

    def post_form(self, path: str, form: Mapping[str, str], who: str) -> Answer:
        """Send a form as a user's client."""
        headers = (self.credential("client", who), ("Content-Type", FORM))
        return self.service.ask(Request("POST", path, headers, urlencode(form).encode()))

    def stored(self) -> Mapping[str, list[str]]:
        """Return the rows of all compared tables, once all mail is delivered."""
        deadline = time.monotonic() + patient(SECONDS_TO_DELIVER)
        with reading(self.service) as connection:
            waiting = "SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL"
            while connection.exec_driver_sql(waiting).scalar():
                assert time.monotonic() < deadline, "the mail is not delivered"
                time.sleep(0.05)
            names = set(inspect(connection).get_table_names()) - NOT_COMPARED
            return {name: sorted(_rows(connection, name)) for name in sorted(names)}


def _rows(connection: Connection, table: str) -> Iterator[str]:
    rows = connection.exec_driver_sql(f'SELECT * FROM "{table}"')  # noqa: S608 # a table of the schema
    for row in rows.mappings():
        yield repr({name: value for name, value in row.items() if name not in RECORDED_LATER})


# Objects of the users, by owner; "gone" is a deleted object of Alice.


def _session(env: Env, owner_name: str) -> str:
    alice = env.find("alice")
    if owner_name in {"dora", "bruno"}:
        items = env.find(owner_name).ask("GET", "/v1/me/sessions")["data"]["items"]
    else:
        body = {"email": alice["email"], "password": alice["password"]}
        token = alice.ask("POST", "/v1/auth/login", body)["data"]["session_token"]
        bearer = (credential_header("session", token),)
        items = env.service.ask(Request("GET", "/v1/me/sessions", bearer)).json()["data"]["items"]
        if owner_name == "gone":
            assert env.service.ask(Request("POST", "/v1/auth/logout", bearer)).status == 200
    return str(next(each["session_id"] for each in items if each["current"]))


def _api_key(env: Env, owner_name: str) -> str:
    user = env.find(owner_name if owner_name in {"dora", "bruno"} else "alice")
    body = {"name": "A key", "scopes": ["me/profile:read"]}
    created: str = user.ask("POST", "/v1/api-keys", body)["data"]["api_key_id"]
    if owner_name == "gone":
        _delete(env, f"/v1/api-keys/{created}")
    return created


def _pat(env: Env, owner_name: str) -> str:
    user = env.find(owner_name if owner_name in {"dora", "bruno"} else "alice")
    # A client belongs to a tenant, here to that of Alice and Dora.
    client = env.find("bruno" if owner_name == "bruno" else "alice")
    body = {**_pat_body(), "clientId": client["client_id"]}
    created: str = user.ask(
        "POST", "/resources/me/pat", {**body, "clientSecret": client["client_secret"]}
    )["id"]
    if owner_name == "gone":
        _delete(env, f"/resources/me/pat/{created}")
    return created


def _device(env: Env, owner_name: str) -> str:
    user = env.find("bruno" if owner_name == "bruno" else "alice")
    log_in = {"email": user["email"], "password": user["password"]}
    token = user.ask("POST", "/v1/auth/login", log_in)["data"]["session_token"]
    device = {"client_id": str(uuid.uuid4()), "name": "iPhone 15", "os": "ios"}
    headers = (credential_header("session", token), ("Content-Type", "application/json"))
    path = "/api/v1/users/me/devices/"
    registered = Request("POST", path, headers, json.dumps(device).encode())
    token = env.service.ask(registered).json()["access_token"]
    if owner_name == "gone":
        path += f"{device['client_id']}/"
        gone = Request("DELETE", path, (credential_header("session", token),))
        assert env.service.ask(gone).status == 204
    return device["client_id"]


def _factor(env: Env, owner_name: str) -> str:
    """Return the id of a new authenticator app; Alice has at most one."""
    user = env.actors.sign_up() if owner_name == "bruno" else env.find("alice")
    tenant = ("X-Tenant-ID", user.find_tenant_uuid())
    json_type = ("Content-Type", "application/json")
    headers = (credential_header("session", user["session_token"]), tenant, json_type)

    def ask(method: str, path: str, body: object = None) -> Any:
        sent = b"" if body is None else json.dumps(body).encode()
        answer = env.service.ask(
            Request(method, f"/v1/users/me/mfa{path}", headers[: 2 + bool(sent)], sent)
        )
        assert answer.status < 400, answer.body
        return answer.json() if answer.body else {}

    def remove() -> None:
        for each in ask("GET", "")["methods"]:
            ask("DELETE", f"/{each['id']}")

    remove()
    if owner_name == "none":
        return NO_UUID
    enrolled = ask("POST", "/totp")
    code = totp_code(enrolled["secret"])
    ask("POST", "/totp/confirm", {"code": code, "password": user["password"]})
    if owner_name == "gone":
        remove()
    return str(enrolled["id"])


def _delete(env: Env, path: str) -> None:
    request = Request("DELETE", path, (env.credential("session"),))
    assert env.service.ask(request).status == 204


def _pat_body() -> dict[str, Any]:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return {"name": "A token", "expiresAt": expires_at, "scopes": ["me/profile:read"]}


def _client(env: Env, owner_name: str) -> str:
    if owner_name in {"public", "bruno's public"}:
        owner = env.find("bruno" if owner_name == "bruno's public" else "alice")
        return str(owner.act("add client", public=True)["client_id"])
    return str(env.find("bruno" if owner_name == "bruno" else "alice")["client_id"])


def _identity(env: Env, owner_name: str) -> str:
    if owner_name != "disabled":
        identity = env.find("alice" if owner_name == "own" else owner_name)["identity_id"]
    else:  # a disabled user cannot read it
        email = env.actors.find("disabled_user")["email"]
        with reading(env.service) as connection:
            query = text('SELECT uuid FROM "user" WHERE email = :email')
            identity = connection.execute(query, {"email": email}).scalar_one()
    return str(identity)


def _tenant(env: Env, owner_name: str) -> str:
    if owner_name == "disabled":
        user = env.actors.sign_up()
        user.act("disable tenant")
    else:
        user = env.find("bruno" if owner_name == "bruno" else "alice")
    return user.find_tenant_uuid()


def _cursor(env: Env, owner_name: str) -> str:
    user = env.find("alice" if owner_name == "own" else owner_name)
    user.ask("PATCH", "/api/v1/me", {"locale": "de-DE"})
    user.ask("PATCH", "/api/v1/me", {"locale": "de-DE"})
    return str(user.ask("GET", "/v1/me/events?limit=1")["data"]["next_cursor"])


def _jwt(env: Env, owner_name: str) -> str:
    form = {**EXCHANGE, "subject_token": env.find(owner_name)["session_token"]}
    return str(env.post_form("/oauth/token", form, owner_name).json()["access_token"])


def _refresh_token(env: Env, owner_name: str) -> str:
    form = {**EXCHANGE, "subject_token": env.find(owner_name)["session_token"]}
    return str(env.post_form("/oauth/token", form, owner_name).json()["refresh_token"])


def _secret(env: Env, owner_name: str) -> str:
    user = env.find(owner_name)
    pending = user.ask("POST", "/resources/me/email/change", {"email": user["email"]})
    return str(pending["secret"])


FACTORIES: Mapping[str, Callable[[Env, str], str]] = {
    "session": _session,
    "API key": _api_key,
    "device": _device,
    "PAT": _pat,
    "factor": _factor,
    "client": _client,
    "identity": _identity,
    "tenant": _tenant,
    "cursor": _cursor,
    "jwt": _jwt,
    "refresh token": _refresh_token,
    "secret": _secret,
}


# The other fields of a body, by the owner of the id in it.


def _no_body(_env: Env, _whose: str) -> Mapping[str, Any]:
    return {}


def _body_of_device(_env: Env, _whose: str) -> Mapping[str, Any]:
    return {"name": "iPhone 16"}


def _body_of_pat(env: Env, owner_name: str) -> Mapping[str, Any]:
    """Return the body with the client's own secret, if it has one."""
    owner = env.find("bruno" if owner_name == "bruno" else "alice")
    return {**_pat_body(), "clientSecret": owner["client_secret"]}


def _body_of_validation(env: Env, _whose: str) -> Mapping[str, Any]:
    """Return the body with the secret of a change of Alice to her current address."""
    return {"secret": env.row("secret", "alice")}


def _body_of_profile(_env: Env, _owner_name: str) -> Mapping[str, Any]:
    """Return a change to a name that the user has never had."""
    return {"first_name": secrets.token_hex(8)}


def _body_of_password(env: Env, owner_name: str) -> Mapping[str, Any]:
    """Return a valid change; with Alice's own tenant, one that is rejected as weak."""
    current = env.find("alice")["password"]
    new = current if owner_name == "own" else NEW_PASSWORD
    return {"current_password": current, "new_password": new}


def _with_factor(env: Env, owner_name: str) -> Mapping[str, Any]:
    """Give Alice a second factor, if her own tenant is about to be named."""
    env.factor_id = _factor(env, "own") if owner_name == "own" else NO_UUID
    return {}


def _without_factor(env: Env, owner_name: str) -> Mapping[str, Any]:
    if owner_name == "own":
        _factor(env, "none")
    return {}


def _body_of_confirmation(env: Env, owner_name: str) -> Mapping[str, Any]:
    """Return a wrong code; with Alice's own tenant, an app waits for the right one."""
    alice = env.find("alice")
    if owner_name == "own":
        _factor(env, "none")
        tenant = ("X-Tenant-ID", alice.find_tenant_uuid())
        headers = (env.credential("session"), tenant)
        env.service.ask(Request("POST", "/v1/users/me/mfa/totp", headers))
    return {"code": "no code", "password": alice["password"]}


def _body_of_exchange(env: Env, _whose: str) -> Mapping[str, Any]:
    return {**EXCHANGE, "subject_token": env.find("alice")["session_token"]}


def _body_of_revocation(env: Env, _whose: str) -> Mapping[str, Any]:
    return {"token": _refresh_token(env, "alice")}


@dataclass(frozen=True)
class Case:
    """An id field, with the owners whose ids are tested and the expected responses.

    `own` is the response to Alice's own id, which shows that only the id is rejected. `kinds`
    default to those that the operation accepts.
    """

    named: IdField
    object_kind: str
    others: tuple[str, ...]
    unknown: str
    refusal: tuple[int, str]
    own: tuple[int, str | None]
    kinds: tuple[str, ...] = ()
    body: Callable[[Env, str], Mapping[str, Any]] = _no_body

    def accepted(self) -> tuple[str, ...]:
        """Return the kinds of credential to test."""
        accepted = OPERATIONS[self.named.operation_id].accepted
        by_session = ("cookie",) if "session" in accepted else ()
        return self.kinds or (*sorted(_KINDS[scheme] for scheme in accepted), *by_session)


_KINDS = {scheme: kind for kind, (scheme, _) in CREDENTIALS.items()}
NOT_FOUND = (404, "not_found")
OTHERS = ("dora", "bruno", "gone")
CASES = [
    Case(
        IdField("ipto.revokeSession", "path", "session_id"),
        "session", OTHERS, "ses_000000000000", NOT_FOUND, (204, None),
    ),
    Case(
        IdField("ipto.revokeApiKey", "path", "api_key_id"),
        "API key", OTHERS, "key_000000000000", NOT_FOUND, (204, None),
    ),
    Case(IdField("hantera.getPat", "path", "id"), "PAT", OTHERS, NO_UUID, NOT_FOUND, (200, None)),
    Case(
        IdField("hantera.rotatePat", "path", "id"),
        "PAT", OTHERS, NO_UUID, NOT_FOUND, (201, None),
    ),
    Case(
        IdField("hantera.revokePat", "path", "id"),
        "PAT", OTHERS, NO_UUID, NOT_FOUND, (204, None),
    ),
    Case(
        IdField("hyperclast.updateDevice", "path", "client_id"),
        "device", ("bruno", "gone"), NO_UUID, NOT_FOUND, (200, None), body=_body_of_device,
    ),
    Case(
        IdField("hyperclast.revokeDevice", "path", "client_id"),
        "device", ("bruno", "gone"), NO_UUID, NOT_FOUND, (204, None),
    ),
    # The cursor of a page identifies its last event.
    Case(
        IdField("ipto.listEvents", "query", "cursor"),
        "cursor", ("dora", "bruno"), "A" * 136, (400, "invalid_request"), (200, None),
    ),
    Case(
        IdField("hantera.createPat", "body", "clientId"),
        "client", ("bruno", "public", "bruno's public"), "cli_000000000000",
        (400, "invalid_client"), (201, None), body=_body_of_pat,
    ),
    Case(
        IdField("hantera.validateEmailChange", "body", "identityId"),
        "identity", ("dora", "bruno", "disabled"), NO_UUID,
        (400, "secret_invalid"), (200, None), ("none",), _body_of_validation,
    ),
    Case(
        IdField("jitsudo.changePassword", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID,
        (403, "tenant_mismatch"), (400, "weak_password"), body=_body_of_password,
    ),
    Case(
        IdField("jitsudo.getUserProfile", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (200, None),
    ),
    Case(
        IdField("jitsudo.updateUserProfile", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (200, None),
        body=_body_of_profile,
    ),
    Case(
        IdField("jitsudo.listMfaMethods", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (200, None),
    ),
    Case(
        IdField("jitsudo.enrolTotp", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (200, None),
        body=_without_factor,
    ),
    Case(
        IdField("jitsudo.confirmTotp", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (400, "wrong_code"),
        body=_body_of_confirmation,
    ),
    Case(
        IdField("jitsudo.removeMfaMethod", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (204, None),
        body=_with_factor,
    ),
    Case(
        IdField("jitsudo.regenerateBackupCodes", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID, (403, "tenant_mismatch"), (200, None),
        body=_with_factor,
    ),
    Case(
        IdField("jitsudo.removeMfaMethod", "path", "id"),
        "factor", ("bruno", "gone"), NO_UUID, NOT_FOUND, (204, None),
    ),
    # A client that authenticates cannot name another one.
    Case(
        IdField("oauth.revokeToken", "body", "client_id"),
        "client", ("bruno", "public", "bruno's public"), "cli_000000000000",
        (400, "invalid_request"), (200, None), ("client",), _body_of_revocation,
    ),
    Case(
        IdField("oauth.issueToken", "body", "client_id"),
        "client", ("bruno", "public", "bruno's public"), "cli_000000000000",
        (400, "invalid_request"), (200, None), ("client",), _body_of_exchange,
    ),
]  # fmt: skip
EACH_KIND = [(case, kind) for case in CASES for kind in case.accepted()]
EACH = [(case, kind, owner_name) for case, kind in EACH_KIND for owner_name in case.others]


def _id(value: object) -> str:
    if isinstance(value, Case):
        return f"{value.named.operation_id} {value.named.name}"
    return str(value)


def _comparable(answer: Answer) -> tuple[int, Mapping[str, str], Any]:
    """Return a response without the values that differ between all responses."""
    headers = {name.lower(): value for name, value in answer.headers}
    content = answer.json() if answer.body else {}
    return (
        answer.status,
        {name: headers[name] for name in headers.keys() - {"date", "x-request-id"}},
        {name: content[name] for name in content.keys() - {"request_id", "timestamp", "instance"}},
    )


def _code(answer: Answer) -> str | None:
    if answer.status < 400:
        return None
    content = answer.json()
    found = content.get("error", content.get("code"))
    return found["code"] if isinstance(found, dict) else found


@pytest.fixture(scope="module")
def env(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Env]:
    """The demo users of a separate service without rate limits."""
    ample = {"throttle_account_source": "100000/1", "throttle_mail": "100000/1"}
    with (
        started(tmp_path_factory.mktemp("ids"), **ample, **storage.settings()) as service,
        open_actors(service) as actors,
    ):
        yield Env(service, actors)


def test_cases_cover_every_documented_id_field():
    """AZ-10: a new operation with an id needs a case here."""
    assert {case.named for case in CASES} | NO_ROW == set(_documented_id_fields())


@pytest.mark.parametrize(("case", "kind", "owner_name"), EACH, ids=_id)
def test_foreign_id_gets_the_response_of_an_unknown_id(
    case: Case, kind: str, owner_name: str, env: Env
):
    """AZ-10, AZ-13: and nothing changes."""
    body = case.body(env, owner_name)
    foreign = env.request(case, env.row(case.object_kind, owner_name), kind, body)
    unknown = env.request(case, case.unknown, kind, body)
    before = env.stored()
    answers = env.service.ask(foreign), env.service.ask(unknown)
    assert env.stored() == before
    assert (answers[0].status, _code(answers[0])) == case.refusal, answers[0].body
    assert _comparable(answers[0]) == _comparable(answers[1])


@pytest.mark.parametrize(("case", "kind"), EACH_KIND, ids=_id)
def test_own_id_is_accepted(case: Case, kind: str, env: Env):
    """AZ-10: the same request with the same credential, so that only the id differs."""
    own = FACTORIES[case.object_kind](env, "own")
    request = env.request(case, own, kind, case.body(env, "own"))
    before = env.stored()
    answer = env.service.ask(request)
    assert (answer.status, _code(answer)) == case.own, answer.body
    # Reads change nothing; a write that changed nothing would make the tests above meaningless.
    assert (env.stored() == before) == (answer.status == 400 or request.method == "GET")


@pytest.mark.parametrize("owner_name", ["own", "bruno"])
def test_confidential_client_id_without_secret_is_like_an_unknown_one(owner_name: str, env: Env):
    """AZ-10."""
    case = CASES[-1]
    body = case.body(env, owner_name)
    before = env.stored()
    ids = env.row("client", owner_name), case.unknown
    answers = [env.service.ask(env.request(case, each, "none", body)) for each in ids]
    assert env.stored() == before
    assert [(each.status, _code(each)) for each in answers] == [(401, "invalid_client")] * 2
    assert _comparable(answers[0]) == _comparable(answers[1])


def test_public_client_of_another_tenant_cannot_exchange_a_session(env: Env):
    """AZ-10: its id is public (RFC 6749 section 2.2), so it may differ from an unknown one."""
    case = CASES[-1]
    request = env.request(case, env.row("client", "bruno's public"), "none", case.body(env, "own"))
    before = env.stored()
    answer = env.service.ask(request)
    assert env.stored() == before
    assert (answer.status, _code(answer)) == (400, "invalid_request")
    ours = env.request(case, env.row("client", "public"), "none", case.body(env, "own"))
    assert env.service.ask(ours).status == 200


@pytest.mark.parametrize("object_kind", ["jwt", "refresh token", "pat"])
def test_client_cannot_introspect_or_revoke_tokens_of_another_tenant(object_kind: str, env: Env):
    """AZ-10, TK-18: they are like unknown tokens."""
    token = env.find("alice")["pat"] if object_kind == "pat" else env.row(object_kind, "alice")
    before = env.stored()
    answer = env.post_form("/oauth/introspect", {"token": token}, "bruno")
    assert (answer.status, answer.json()) == (200, {"active": False})
    assert env.post_form("/oauth/revoke", {"token": token}, "bruno").status == 200
    assert env.stored() == before
    answer = env.post_form("/oauth/introspect", {"token": token}, "alice")
    assert (answer.status, answer.json()["active"]) == (200, True)


def test_client_of_another_tenant_cannot_exchange_a_session(env: Env):
    """AZ-10, AZ-13: it is rejected like an unknown session."""
    form = {**EXCHANGE, "subject_token": env.find("alice")["session_token"]}
    before = env.stored()
    answer = env.post_form("/oauth/token", form, "bruno")
    unknown = env.post_form("/oauth/token", {**form, "subject_token": "sess_x"}, "bruno")
    assert env.stored() == before
    assert (answer.status, _code(answer)) == (400, "invalid_request")
    assert _comparable(answer) == _comparable(unknown)


@pytest.mark.parametrize("path", ["/v1/me", "/api/v1/me", "/resources/me/profile"])
def test_tenant_header_is_ignored_by_other_operations(path: str, env: Env):
    """AZ-13."""
    session = env.credential("session")
    named = ("X-Tenant-ID", env.row("tenant", "bruno"))
    plain = env.service.ask(Request("GET", path, (session,)))
    answer = env.service.ask(Request("GET", path, (session, named)))
    assert answer.status == 200
    assert _comparable(answer) == _comparable(plain)
