"""Access matrix: each cell of contracts/access.yaml, tested on the started service."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple, get_args
from urllib.parse import urlencode

import pytest
import yaml

from accounts.services.principal import CredentialKind
from models import wire
from oneself.document import load_document, resolve
from oneself.http.request.forms import FORM
from oneself_conformance.actors import Actor
from oneself_conformance.cases.request_building import (
    PICTURE,
    build_target,
    credential_header,
    takes_pictures,
)
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from tests.support.databases import Storage
from tests.support.operator_acts import open_actors
from tests.support.service import ROOT, Service, started

TEXT = (ROOT / "contracts" / "access.yaml").read_bytes()
TABLE = yaml.safe_load(TEXT)
KINDS: list[str] = TABLE["kinds"]
ALLOWING: Mapping[str, str] = TABLE["allowing"]
REFUSING: Mapping[str, Mapping[str, Any]] = TABLE["refusing"]
#: The scope of each operation, and a word for each kind, in order.
LINES: Mapping[str, list[str]] = TABLE["operations"]

#: The kinds with chosen scopes, and the scopes available to them.
SCOPES: Mapping[str, frozenset[str]] = {
    "jwt": frozenset(get_args(wire.Scope)),
    "pat": frozenset(get_args(wire.Scope)),
    "api_key": frozenset(get_args(wire.ApiKeyScope)),
}
#: Operations that reject the secret, code or id of the document's example, after granting access.
INSTEAD = {
    "ipto.completeLogIn": (401, "invalid_challenge"),
    "ipto.resetPassword": (400, "secret_invalid"),
    "ipto.restoreAccount": (400, "secret_invalid"),
    "scaikey.confirmEmailVerification": (400, "secret_invalid"),
    "scaikey.releaseEmail": (400, "secret_invalid"),
    "hantera.validateEmailChange": (400, "secret_invalid"),
    "hantera.undoEmailChange": (400, "secret_invalid"),
    "jitsudo.confirmTotp": (400, "wrong_code"),
    "jitsudo.removeMfaMethod": (404, "not_found"),
    "jitsudo.regenerateBackupCodes": (404, "not_found"),
}
#: The kind of credential that an operation ends.
ENDS = {
    "ipto.logOut": "session",
    "ipto.revokeSession": "session",
    "ipto.revokeOtherSessions": "session",
    "hyperclast.endSession": "session",
    "hyperclast.registerDevice": "session",
    "ipto.revokeApiKey": "api_key",
    "hantera.revokePat": "pat",
    "hantera.rotatePat": "pat",
}
#: Operations after which the session of the request, or its token, is no longer valid.
USES_UP = {"ipto.logOut", "hyperclast.endSession", "hyperclast.registerDevice"}
#: Operations after which there is no account.
ENDS_ACCOUNT = {"ipto.deleteAccount"}
#: Fields that users must not set, with names from here and elsewhere (CWE-915).
NEVER_WRITTEN: Mapping[str, Any] = {
    "id": "usr_000000000000",
    "user_id": "usr_000000000000",
    "tenant_id": "tnt_000000000000",
    "roles": ["owner", "admin"],
    "is_admin": True,
    "is_platform_admin": True,
    "email_verified": True,
    "provider": "oidc",
    "disabled_at": None,
    "created_at": "2020-01-01T00:00:00Z",
}


class Cell(NamedTuple):
    """One cell of the matrix: an operation and a kind of credential."""

    operation_id: str
    scope: str
    kind: str
    word: str


CELLS = [
    Cell(operation_id, scope, kind, word)
    for operation_id, (scope, *words) in LINES.items()
    # Another test checks the number of words; a wrong one must not stop this module.
    for kind, word in zip(KINDS, words, strict=False)
]


@dataclass
class Caller:
    """A new user, with a credential of each kind and any scopes.

    Requests that may end a credential use a spare one, which is then replaced.
    """

    service: Service
    user: Actor
    public_client: str
    password: str
    _credentials: dict[tuple[str, frozenset[str]], str] = field(default_factory=dict)
    _spares: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ask(
        self,
        operation_id: str,
        kind: str,
        scopes: frozenset[str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a valid request with one credential; `more` are additional fields of its body."""
        operation = OPERATIONS[operation_id]
        overrides = REQUESTS.get(operation_id, lambda _: {})(self)
        headers = [
            *overrides.get("headers", {}).items(),
            *self._headers(operation_id, kind, scopes),
        ]
        body = b""
        if takes_pictures(operation):
            body = PICTURE
            headers.append(("Content-Type", "image/png"))
        elif operation.bodies:
            media, example = _example(operation_id)
            fields = {**overrides.get("body", example), **(more or {})}
            body = (urlencode(fields) if media == FORM else json.dumps(fields)).encode()
            headers.append(("Content-Type", media))
        target = build_target(operation.path, operation, overrides)
        answer = self.service.ask(Request(operation.method.upper(), target, tuple(headers), body))
        if answer.status < 400:
            self._spares.pop(ENDS.get(operation_id, ""), None)
            if operation.scope == "me/auth:write" and operation.bodies:
                new = fields.get("new_password") or fields.get("newPassword")
                self.password = new or self.password
        return answer

    def _headers(
        self, operation_id: str, kind: str, scopes: frozenset[str] | None
    ) -> Iterator[tuple[str, str]]:
        if kind == "none":
            return
        if kind == "cookie":
            yield "Sec-Fetch-Site", "same-origin"
            if operation_id == "hyperclast.endSession":
                cookie = credential_header("cookie", self.spare("session")[1])
                path = OPERATIONS[operation_id].path
                asked = self.service.ask(Request("GET", path, (cookie,)))
                [token] = asked.values("Set-Cookie")
                yield "X-CSRFToken", token.removeprefix("csrftoken=").partition(";")[0]
        ending = operation_id in USES_UP and kind in {"session", "cookie", "session_header"}
        credential = self.spare("session")[1] if ending else self.credential(kind, scopes)
        if operation_id in ENDS_ACCOUNT and kind in {"session", "cookie"}:
            credential = self.ask("ipto.signUp", "none").json()["data"]["session_token"]
        yield credential_header("basic" if kind == "client" else kind, credential)

    def credential(self, kind: str, scopes: frozenset[str] | None = None) -> str:
        """Return a credential of a kind, with these scopes or with all."""
        if kind in {"session", "cookie", "session_header"}:
            return str(self.user["session_token"])
        if kind == "client":
            return f"{self.user['client_id']}:{self.user['client_secret']}"
        if kind == "access_token":  # an earlier request may have regenerated it
            return str(self.user.ask("GET", "/api/users/me/token/")["access_token"])
        scope_set = SCOPES[kind] if scopes is None else scopes
        if (kind, scope_set) not in self._credentials:
            self._credentials[kind, scope_set] = self._make(kind, scope_set)[1]
        return self._credentials[kind, scope_set]

    def spare(self, kind: str) -> tuple[str, str]:
        """Return the id and the value of a spare session, key or token."""
        if kind not in self._spares:
            self._spares[kind] = self._make(kind, frozenset({"me/profile:read"}))
        return self._spares[kind]

    def _make(self, kind: str, scopes: frozenset[str]) -> tuple[str, str]:
        if kind == "session":
            token = self.ask("ipto.logIn", "none").json()["data"]["session_token"]
            bearer = (credential_header("session", token),)
            listed = self.service.ask(Request("GET", "/v1/me/sessions", bearer)).json()
            [name] = [each["session_id"] for each in listed["data"]["items"] if each["current"]]
            return name, token
        if kind == "jwt":
            more = {"scope": " ".join(sorted(scopes))}
            issued = self.ask("oauth.issueToken", "client", more=more).json()
            return issued["refresh_token"], issued["access_token"]
        if kind == "api_key":
            body = {"name": "A key", "scopes": sorted(scopes)}
            created = self.user.ask("POST", "/v1/api-keys", body)["data"]
            return created["api_key_id"], created["key"]
        created = self.user.ask("POST", "/resources/me/pat", _pat(self, *sorted(scopes)))
        return created["id"], created["token"]

    def device(self) -> str:
        """Return the id of a new device."""
        name = secrets.token_hex(8)
        token = self.ask("ipto.logIn", "none").json()["data"]["session_token"]
        bearer = credential_header("session", token), ("Content-Type", "application/json")
        body = json.dumps({"client_id": name}).encode()
        path = OPERATIONS["hyperclast.registerDevice"].path
        assert self.service.ask(Request("POST", path, bearer, body)).status == 201
        return name

    def with_picture(self) -> dict[str, Any]:
        """Ensure that there is a picture, which an earlier request may have removed."""
        assert self.ask("hantera.uploadPicture", "session").status == 200
        return {}

    def wrong_code(self) -> str:
        """Return a wrong code of an app that waits to be confirmed."""
        assert self.ask("jitsudo.enrolTotp", "session").status == 200
        return "no code"

    def seen(self) -> list[Any]:
        """Return the user as the dialects show it."""
        paths = ("/v1/me", "/api/users/me/", "/api/v1/me", "/resources/me/profile")
        shown = [self.user.ask("GET", path) for path in paths]
        return [each.get("data", each) for each in shown]


def _example(operation_id: str) -> tuple[str, Mapping[str, Any]]:
    """Return the first content type of a body, and its example in the document."""
    operation = OPERATIONS[operation_id]
    described = load_document()["paths"][operation.path][operation.method]["requestBody"]
    media, content = next(iter(resolve(load_document(), described)["content"].items()))
    return media, content["example"]


def _pat(caller: Caller, *scopes: str) -> dict[str, Any]:
    return {
        "name": "A token",
        "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "scopes": list(scopes),
        "clientId": caller.user["client_id"],
        "clientSecret": caller.user["client_secret"],
    }


def _new_password(current: str, new: str, caller: Caller) -> dict[str, Any]:
    return {"body": {current: caller.password, new: f"aA1{secrets.token_urlsafe(12)}"}}


def _address() -> str:
    return f"user.{secrets.token_hex(8)}@example.com"


def _of_tenant(caller: Caller) -> dict[str, Any]:
    return {"headers": {"X-Tenant-ID": caller.user["tenant_uuid"]}}


#: Changes to the document's examples that make the requests succeed.
REQUESTS: Mapping[str, Callable[[Caller], dict[str, Any]]] = {
    "ipto.signUp": lambda _: {"body": {**_example("ipto.signUp")[1], "email": _address()}},
    "ipto.logIn": lambda me: {"body": {"email": me.user["email"], "password": me.password}},
    "ipto.requestPasswordReset": lambda _: {"body": {"email": _address()}},
    "ipto.changePassword": lambda me: _new_password("current_password", "new_password", me),
    "ipto.renewAuthentication": lambda me: {"body": {"password": me.password}},
    "ipto.revokeSession": lambda me: {"path": {"session_id": me.spare("session")[0]}},
    # A key can only pass on its own scopes; every key that gets this far has this one.
    "ipto.createApiKey": lambda _: {"body": {"name": "Narrow", "scopes": ["keys:write"]}},
    "ipto.revokeApiKey": lambda me: {"path": {"api_key_id": me.spare("api_key")[0]}},
    "scaikey.changePassword": lambda me: _new_password("current_password", "new_password", me),
    "hantera.changePassword": lambda me: _new_password("currentPassword", "newPassword", me),
    "hantera.requestEmailChange": lambda _: {"body": {"email": _address()}},
    "hantera.getPicture": lambda me: me.with_picture(),
    "hantera.createPat": lambda me: {"body": _pat(me, "me/profile:read")},
    "hantera.getPat": lambda me: {"path": {"id": me.spare("pat")[0]}},
    "hantera.rotatePat": lambda me: {"path": {"id": me.spare("pat")[0]}},
    "hantera.revokePat": lambda me: {"path": {"id": me.spare("pat")[0]}},
    "jitsudo.getUserProfile": _of_tenant,
    "jitsudo.updateUserProfile": _of_tenant,
    "jitsudo.listMfaMethods": _of_tenant,
    "jitsudo.enrolTotp": _of_tenant,
    "jitsudo.confirmTotp": lambda me: {
        **_of_tenant(me),
        "body": {"code": me.wrong_code(), "password": me.password},
    },
    "jitsudo.removeMfaMethod": _of_tenant,
    "jitsudo.regenerateBackupCodes": _of_tenant,
    "jitsudo.changePassword": lambda me: {
        **_of_tenant(me),
        **_new_password("current_password", "new_password", me),
    },
    "hyperclast.logIn": lambda me: {"body": {"email": me.user["email"], "password": me.password}},
    "hyperclast.signUp": lambda me: {"body": {"email": _address(), "password": me.password}},
    "hyperclast.signUpBrowser": lambda me: {
        "headers": {"Sec-Fetch-Site": "same-origin"},
        "body": {"email": _address(), "password": me.password},
    },
    "hyperclast.logInBrowser": lambda me: {
        "headers": {"Sec-Fetch-Site": "same-origin"},
        "body": {"email": me.user["email"], "password": me.password},
    },
    "hyperclast.updateDevice": lambda me: {"path": {"client_id": me.device()}},
    "hyperclast.revokeDevice": lambda me: {"path": {"client_id": me.device()}},
    "oauth.issueToken": lambda me: {
        "body": {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": me.user["session_token"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
    },
}


def code_of(answer: Answer) -> str | None:
    """Return the code of a refusal in any dialect; None for a success."""
    if answer.status < 400:
        return None
    content = answer.json()
    found = content.get("error", content.get("code"))
    return found["code"] if isinstance(found, dict) else found


@pytest.fixture(scope="module")
def caller(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A user of a separate service without rate limits."""
    budgets = ("source", "signup", "account", "account_source", "mail", "write")
    ample = {f"throttle_{name}": "100000/1" for name in budgets}
    with (
        started(tmp_path_factory.mktemp("access"), **ample, **storage.settings()) as service,
        open_actors(service) as actors,
    ):
        user = actors.sign_up()
        public_client = user.act("add client", public=True)["client_id"]
        yield Caller(service, user, public_client, user["password"])


# The matrix


def test_matrix_has_exactly_one_line_per_operation():
    """AZ-07: access to a new operation must be decided here first."""
    assert set(LINES) == set(OPERATIONS)
    # YAML would silently use the last of two lines for one operation.
    nodes = {key.value: value for key, value in yaml.compose(TEXT).value}
    assert len(nodes["operations"].value) == len(LINES)


def test_matrix_has_a_column_for_every_kind_of_credential():
    """TK-10: access with a new kind must be decided here first."""
    kinds = {kind.name.lower() for kind in CredentialKind}
    assert sorted(KINDS) == sorted({*kinds, "cookie", "none", "client", "session_header"})


@pytest.mark.parametrize("operation_id", LINES)
def test_line_has_a_known_word_for_each_kind(operation_id: str):
    """TK-10: `scope` only stands for kinds that can have the scope."""
    scope, *words = LINES[operation_id]
    assert len(words) == len(KINDS)
    assert set(words) <= {*ALLOWING, *REFUSING} - {"lacking"}
    for kind, word in zip(KINDS, words, strict=True):
        assert word != "scope" or scope in SCOPES[kind], kind


@pytest.mark.parametrize("operation_id", LINES)
def test_document_agrees_with_matrix(operation_id: str):
    """HT-11, TK-10: `security` and `x-scope` list the same kinds and scopes."""
    operation = OPERATIONS[operation_id]
    described = load_document()["paths"][operation.path][operation.method]
    scope, *words = LINES[operation_id]
    schemes = {
        **{kind.name.lower(): kind.value for kind in CredentialKind},
        "cookie": "sessionCookie",
        "session_header": "sessionToken",
        "client": "client",
    }
    accepted = [
        {schemes[kind]: []} if kind in schemes else {}
        for kind, word in zip(KINDS, words, strict=True)
        if word in {"may", "scope", "both", "public", "form"}
    ]
    assert described["x-scope"] == scope
    # For a public operation the document has an empty list, not a list with an empty object.
    assert sorted(map(str, described["security"] or [{}])) == sorted(map(str, accepted))
    assert (scope == "public") == (accepted == [{}]) == (described["security"] == [])


# The service


def _trials(cell: Cell) -> Iterator[tuple[frozenset[str] | None, str]]:
    """Yield the scopes to test a cell with, None for all of them, and the expected word."""
    yield None, cell.word
    if cell.kind not in SCOPES or cell.word not in {"may", "scope", "both"}:
        return
    available = SCOPES[cell.kind]
    if cell.word == "both":
        yield frozenset({cell.scope, "me/auth:write"}), "both"
        yield available - {cell.scope}, "lacking"
        for scopes in (available - {"me/auth:write"}, frozenset({cell.scope})):
            yield scopes, "login"
        return
    for scope in sorted(available):
        lacking = cell.word == "scope" and scope != cell.scope
        yield frozenset({scope}), "lacking" if lacking else cell.word
    if cell.word == "scope":
        yield available - {cell.scope}, "lacking"


def _expected(cell: Cell, word: str) -> tuple[int, str | None]:
    """Return the status and the code that a word stands for."""
    if word in REFUSING:
        return REFUSING[word]["status"], REFUSING[word]["code"]
    if cell.operation_id in INSTEAD:
        return INSTEAD[cell.operation_id]
    return min(OPERATIONS[cell.operation_id].responses), None


@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.operation_id}-{cell.kind}" for cell in CELLS])
def test_service_enforces_cell(cell: Cell, caller: Caller):
    """TK-04, TK-10, TK-11: with the scope alone, with each other scope, and with all but it."""
    by_id = {"client_id": caller.public_client} if cell.scope == "client" else {}
    for scopes, word in _trials(cell):
        more = by_id if word in {"public", "unread"} else {}
        answer = caller.ask(cell.operation_id, cell.kind, scopes, more)
        outcome = answer.status, code_of(answer)
        assert outcome == _expected(cell, word), (word, scopes, answer.body)
        if word == "lacking":  # RFC 6750 section 3.1
            error = f'error="insufficient_scope", scope="{cell.scope}"'
            metadata = f"{caller.service.url}/.well-known/oauth-protected-resource"
            challenge = f'Bearer realm="oneself", {error}, resource_metadata="{metadata}"'
            assert answer.values("WWW-Authenticate") == [challenge]


def test_confidential_client_is_rejected_by_id_alone(caller: Caller):
    """TK-10: with or without credentials that the operation does not read."""
    for operation, kind in product(
        ("oauth.issueToken", "oauth.revokeToken"), ("none", "cookie", "api_key")
    ):
        for more in ({}, {"client_id": caller.user["client_id"]}):
            answer = caller.ask(operation, kind, more=more)
            assert (answer.status, code_of(answer)) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["jwt", "access_token", "api_key", "pat", "refresh token"])
def test_only_session_is_exchanged_for_jwt(kind: str, caller: Caller):
    """TK-11: a credential cannot gain rights or lose its expiry by an exchange."""
    if kind == "refresh token":
        token = caller.ask("oauth.issueToken", "client").json()["refresh_token"]
    else:
        token = caller.credential(kind)
    answer = caller.ask("oauth.issueToken", "client", more={"subject_token": token})
    assert (answer.status, code_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize("scope", sorted(SCOPES["api_key"] - {"keys:write"}))
def test_key_cannot_create_wider_key(scope: str, caller: Caller):
    """TK-11: neither with only a scope that it lacks, nor with one in addition to its own."""
    narrow = frozenset({"keys:write"})
    for scopes in ([scope], ["keys:write", scope]):
        answer = caller.ask("ipto.createApiKey", "api_key", narrow, {"scopes": scopes})
        assert (answer.status, code_of(answer)) == (403, "scope_not_held")


# Fields


BODIES: Mapping[str, Mapping[str, Any]] = {
    operation_id: resolve(load_document(), next(iter(operation.bodies.values())))
    for operation_id, operation in OPERATIONS.items()
    if operation.bodies and not takes_pictures(operation)
}
OPEN = {
    operation_id for operation_id, body in BODIES.items() if body.get("additionalProperties", True)
}


def test_bodies_are_closed_except_settings_and_forms():
    """AZ-11: applications define settings, and OAuth requires that unknown fields are ignored."""
    assert sorted(OPEN) == [
        "hantera.replaceSettings",
        "hantera.updateSettings",
        "oauth.introspectToken",
        "oauth.issueToken",
        "oauth.revokeToken",
    ]


@pytest.mark.parametrize("operation_id", sorted(BODIES.keys() - OPEN))
def test_protected_field_is_rejected(operation_id: str, caller: Caller):
    """AZ-11, EM-04: the refusal names the field, and nothing of the request is applied."""
    operation = OPERATIONS[operation_id]
    kind = "session" if operation.accepted else "none"
    before = caller.seen()
    for name, value in NEVER_WRITTEN.items():
        assert name not in BODIES[operation_id]["properties"]
        answer = caller.ask(operation_id, kind, more={name: value})
        status = 422 if operation.dialect in {"hyperclast", "scaikey"} else 400
        assert answer.status == status, name
        assert b"invalid_request" in answer.body
        assert name.encode() in answer.body
    assert caller.seen() == before


@pytest.mark.parametrize("operation_id", ["hantera.replaceSettings", "hantera.updateSettings"])
def test_settings_named_like_protected_fields_change_only_settings(
    operation_id: str, caller: Caller
):
    """AZ-11."""
    before = caller.seen()
    answer = caller.ask(operation_id, "session", more=NEVER_WRITTEN)
    assert answer.status == 200
    assert answer.json()["roles"] == NEVER_WRITTEN["roles"]
    assert caller.seen() == before


def test_unknown_form_fields_do_not_become_jwt_claims(caller: Caller):
    """AZ-11."""
    claims = {"sub": "usr_000000000000", "tenant": "tnt_000000000000", "epoch": "9"}
    answer = caller.ask("oauth.issueToken", "client", more={**NEVER_WRITTEN, **claims})
    payload = answer.json()["access_token"].split(".")[1]
    issued = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (issued["sub"], issued["tenant"]) == (caller.user["user_id"], caller.user["tenant_id"])
    assert str(issued["epoch"]) != claims["epoch"]
    assert NEVER_WRITTEN.keys() & issued.keys() == {"email_verified"}
    assert issued["email_verified"] is not NEVER_WRITTEN["email_verified"]
