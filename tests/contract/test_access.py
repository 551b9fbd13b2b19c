"""Who may do what: each cell of contracts/access.yaml, tried with the running service."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_args

import pytest
import yaml

from accounts.principal import CredentialKind
from models import wire
from oneself.document import load_document, resolve
from tests.support.asking import Answer, Request
from tests.support.operations import OPERATIONS
from tests.support.people import Person, people_of
from tests.support.rows import FOLDER
from tests.support.service import Service, started
from tests.support.writing import credential_header, written_body, written_target

TEXT = (FOLDER / "access.yaml").read_bytes()
TABLE = yaml.safe_load(TEXT)
KINDS: list[str] = TABLE["kinds"]
ALLOWING: Mapping[str, str] = TABLE["allowing"]
REFUSING: Mapping[str, Mapping[str, Any]] = TABLE["refusing"]

#: The kinds that are given scopes, and which there are for them.
SCOPES: Mapping[str, frozenset[str]] = {
    "jwt": frozenset(get_args(wire.Scope)),
    "pat": frozenset(get_args(wire.Scope)),
    "api_key": frozenset(get_args(wire.ApiKeyScope)),
}
#: What a mailed secret is needed for refuses the document's example, and so has let the caller in.
INSTEAD = {
    "ipto.resetPassword": "secret_invalid",
    "scaikey.confirmEmailVerification": "secret_invalid",
    "hantera.validateEmailChange": "secret_invalid",
}
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}
#: What nobody may set, by the names that it has here and elsewhere (CWE-915).
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
    """What the table says of one operation and one kind of credential."""

    operation_id: str
    scope: str
    kind: str
    word: str


LINES: Mapping[str, list[str]] = TABLE["operations"]
CELLS = [
    Cell(operation_id, scope, kind, word)
    for operation_id, (scope, *words) in LINES.items()
    for kind, word in zip(KINDS, words, strict=False)
]


@dataclass
class Caller:
    """Somebody who has signed up, with a credential of each kind and of any scopes.

    A request may end a session, a key or a token: it gets a spare one, and the next a new one.
    """

    service: Service
    person: Person
    public_client: str
    password: str
    _credentials: dict[tuple[str, frozenset[str]], str] = field(default_factory=dict)
    _spares: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ask(
        self, operation_id: str, kind: str, scopes: frozenset[str] | None = None, **more: Any
    ) -> Answer:
        """Send a valid request by one credential; `more` are fields of its body."""
        operation = OPERATIONS[operation_id]
        wanted = {"example": True, **REQUESTS.get(operation_id, lambda _caller: {})(self)}
        for format_ in ("json", "form"):
            if format_ in wanted:
                wanted[format_] = {**wanted[format_], **more}
        body, media = _written(operation_id, wanted, more)
        headers = [*wanted.get("headers", {}).items(), *self._headers(operation_id, kind, scopes)]
        if media is not None:
            headers.append(("Content-Type", media))
        answer = self.service.ask(
            Request(
                operation.method.upper(),
                written_target(operation.path, operation, wanted),
                tuple(headers),
                body,
            )
        )
        if answer.status < 400:
            self._settle(operation_id, body)
        return answer

    def _headers(
        self, operation_id: str, kind: str, scopes: frozenset[str] | None
    ) -> Iterator[tuple[str, str]]:
        if kind == "none":
            return
        if kind == "cookie":
            yield "Sec-Fetch-Site", "same-origin"
        scheme = "basic" if kind == "client" else kind
        if operation_id == "ipto.logOut" and kind in {"session", "cookie"}:
            yield credential_header(scheme, self.spare("session")[1])
        else:
            yield credential_header(scheme, self.credential(kind, scopes))

    def credential(self, kind: str, scopes: frozenset[str] | None = None) -> str:
        """A credential of a kind; of these scopes, or of all that there are for it."""
        if kind in {"session", "cookie"}:
            return str(self.person["session_token"])
        if kind == "client":
            return f"{self.person['client_id']}:{self.person['client_secret']}"
        if kind == "access_token":  # it may have been regenerated
            return str(self.person.ask("GET", "/api/users/me/token/")["access_token"])
        wanted = SCOPES[kind] if scopes is None else scopes
        if (kind, wanted) not in self._credentials:
            self._credentials[kind, wanted] = self._make(kind, wanted)[1]
        return self._credentials[kind, wanted]

    def spare(self, kind: str) -> tuple[str, str]:
        """The id of a session, key or token that may come to its end, and the thing itself."""
        if kind not in self._spares:
            self._spares[kind] = self._make(kind, frozenset({"me/profile:read"}))
        return self._spares[kind]

    def _make(self, kind: str, scopes: frozenset[str]) -> tuple[str, str]:
        if kind == "session":
            wanted = {"email": self.person["email"], "password": self.password}
            token = self.person.ask("POST", "/v1/auth/login", wanted)["data"]["session_token"]
            bearer = (("Authorization", f"Bearer {token}"),)
            listed = self.service.ask(Request("GET", "/v1/me/sessions", bearer)).json()
            [name] = [each["session_id"] for each in listed["data"]["items"] if each["current"]]
            return name, token
        if kind == "api_key":
            body = {"name": "A key", "scopes": sorted(scopes)}
            made = self.person.ask("POST", "/v1/api-keys", body)["data"]
            return made["api_key_id"], made["key"]
        if kind == "pat":
            made = self.person.ask("POST", "/resources/me/pat", wanted_pat(self, *sorted(scopes)))
            return made["id"], made["token"]
        answer = self.ask("oauth.issueToken", "client", scope=" ".join(sorted(scopes)))
        assert answer.status == 200, answer
        return answer.json()["refresh_token"], answer.json()["access_token"]

    def _settle(self, operation_id: str, body: bytes) -> None:
        """Remember what a request has changed."""
        if operation_id in ENDS:
            self._spares.pop(ENDS[operation_id], None)
        if OPERATIONS[operation_id].scope == "me/auth:write":
            sent = json.loads(body)
            self.password = sent.get("new_password") or sent["newPassword"]

    def seen(self) -> list[Any]:
        """What the dialects show of this person."""
        paths = ("/v1/me", "/api/users/me/", "/api/v1/me", "/resources/me/profile")
        shown = [self.person.ask("GET", path) for path in paths]
        return [each.get("data", each) for each in shown]


def wanted_pat(caller: Caller, *scopes: str) -> dict[str, Any]:
    """The body that makes a personal access token."""
    return {
        "name": "A token",
        "expiresAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "scopes": list(scopes),
        "clientId": caller.person["client_id"],
        "clientSecret": caller.person["client_secret"],
    }


def _new_password(current: str, new: str) -> Callable[[Caller], dict[str, Any]]:
    return lambda caller: {
        "json": {current: caller.password, new: f"aA1{secrets.token_urlsafe(12)}"}
    }


def _address() -> str:
    return f"somebody.{secrets.token_hex(8)}@example.com"


#: What differs from the document's example, so that whoever may gets what is documented.
REQUESTS: Mapping[str, Callable[[Caller], dict[str, Any]]] = {
    "ipto.signUp": lambda _: {
        "json": {
            "email": _address(),
            "password": "s3cur3P@ssw0rd!",
            "display_name": "Alice Chen",
            "tenant_name": "Acme Corp",
        }
    },
    "ipto.logIn": lambda caller: {
        "json": {"email": caller.person["email"], "password": caller.password}
    },
    "ipto.requestPasswordReset": lambda _: {"json": {"email": _address()}},
    "ipto.changePassword": _new_password("current_password", "new_password"),
    "ipto.revokeSession": lambda caller: {"path": {"session_id": caller.spare("session")[0]}},
    # A key can give only what it holds; each that gets here has at least this one.
    "ipto.createApiKey": lambda _: {"json": {"name": "Narrow", "scopes": ["keys:write"]}},
    "ipto.revokeApiKey": lambda caller: {"path": {"api_key_id": caller.spare("api_key")[0]}},
    "scaikey.changePassword": _new_password("current_password", "new_password"),
    "hantera.changePassword": _new_password("currentPassword", "newPassword"),
    "hantera.requestEmailChange": lambda _: {"json": {"email": _address()}},
    "hantera.createPat": lambda caller: {"json": wanted_pat(caller, "me/profile:read")},
    "hantera.getPat": lambda caller: {"path": {"id": caller.spare("pat")[0]}},
    "hantera.revokePat": lambda caller: {"path": {"id": caller.spare("pat")[0]}},
    "jitsudo.changePassword": lambda caller: {
        "headers": {"X-Tenant-ID": caller.person["tenant_uuid"]},
        **_new_password("current_password", "new_password")(caller),
    },
    "oauth.issueToken": lambda caller: {
        "form": {**EXCHANGE, "subject_token": caller.person["session_token"]}
    },
}
#: What an operation leaves nothing of.
ENDS = {
    "ipto.logOut": "session",
    "ipto.revokeSession": "session",
    "ipto.revokeOtherSessions": "session",
    "ipto.revokeApiKey": "api_key",
    "hantera.revokePat": "pat",
}


def _written(
    operation_id: str, wanted: Mapping[str, Any], more: Mapping[str, Any]
) -> tuple[bytes, str | None]:
    """The body, with more fields in it."""
    operation = OPERATIONS[operation_id]
    body, media = written_body(wanted, operation)
    if more and "json" not in wanted and "form" not in wanted:
        content = _example(operation_id)
        form = media not in {"application/json", "application/merge-patch+json"}
        body, _ = written_body({"form" if form else "json": {**content, **more}}, operation)
    return body, media


def _example(operation_id: str) -> Mapping[str, Any]:
    operation = OPERATIONS[operation_id]
    described = load_document()["paths"][operation.path][operation.method]["requestBody"]
    content: Mapping[str, Any] = next(iter(resolve(load_document(), described)["content"].values()))
    example: Mapping[str, Any] = content["example"]
    return example


def code_of(answer: Answer) -> str | None:
    """The code of a refusal, in whichever dialect; None of what is none."""
    if answer.status < 400:
        return None
    content = answer.json()
    found = content.get("error", content.get("code"))
    return found["code"] if isinstance(found, dict) else found


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A service of this module's own, since what is tried here would use up any budget."""
    budgets = ("source", "signup", "account", "account_source", "mail")
    with (
        started(
            tmp_path_factory.mktemp("access"),
            **{f"throttle_{name}": "100000/1" for name in budgets},
        ) as service,
        people_of(service) as people,
    ):
        person = people.sign_up()
        public = person.act("add client", public=True)["client_id"]
        yield Caller(service, person, public, person["password"])


# The table


def test_every_operation_has_a_line_and_every_line_an_operation():
    """AZ-07: what may be done with a new operation is decided here, before anybody can do it."""
    assert set(LINES) == set(OPERATIONS)
    nodes = dict((key.value, value) for key, value in yaml.compose(TEXT).value)  # noqa: C402 # nodes have no keys
    written = [key.value for key, _ in nodes["operations"].value]
    assert sorted(written) == sorted(set(written))


def test_every_kind_of_credential_has_a_column():
    """TK-10: what may be done with a new kind is decided here, too."""
    kinds = {kind.name.lower() for kind in CredentialKind}
    assert sorted(KINDS) == sorted({*kinds, "cookie", "none", "client"})


@pytest.mark.parametrize("operation_id", LINES)
def test_a_line_has_a_word_for_each_kind(operation_id: str):
    """TK-10: and each word is one that means something for the kind."""
    scope, *words = LINES[operation_id]
    assert len(words) == len(KINDS)
    assert set(words) <= {*ALLOWING, *REFUSING} - {"lacking"}
    for kind, word in zip(KINDS, words, strict=True):
        if word == "scope":
            assert scope in SCOPES[kind], kind


@pytest.mark.parametrize("operation_id", LINES)
def test_the_document_says_the_same(operation_id: str):
    """HT-11, TK-10: `security` and the scope are written out, and public is what the table has."""
    operation = OPERATIONS[operation_id]
    described = load_document()["paths"][operation.path][operation.method]
    scope, *words = LINES[operation_id]
    names = {
        **{kind.name.lower(): kind.value for kind in CredentialKind},
        "cookie": "sessionCookie",
        "client": "client",
    }
    accepted = [
        {names[kind]: []} if kind in names else {}
        for kind, word in zip(KINDS, words, strict=True)
        if word in {"may", "scope", "public"}
    ]
    assert described["x-scope"] == scope
    assert sorted(map(str, described["security"] or [{}])) == sorted(map(str, accepted))
    assert (scope == "public") == (accepted == [{}])


# The service


def _trials(cell: Cell) -> Iterator[tuple[frozenset[str] | None, str]]:
    """Each choice of scopes to try a cell with, and the word for what is to come of it."""
    yield None, cell.word
    if cell.kind in SCOPES and cell.word in {"may", "scope"}:
        there = SCOPES[cell.kind]
        for scope in sorted(there):
            yield frozenset({scope}), "may" if cell.word == "may" or scope == cell.scope else "lacking"
        if cell.word == "scope":
            yield there - {cell.scope}, "lacking"


@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.operation_id}-{cell.kind}" for cell in CELLS])
def test_the_cell_says_what_the_service_does(cell: Cell, caller: Caller):
    """TK-10, TK-11: by the right scope alone, by each other, and by all but the right one."""
    open_to_public = "public" in LINES[cell.operation_id]
    by_id = {"client_id": caller.public_client} if "public" in LINES[cell.operation_id][1:] else {}
    assert open_to_public or not by_id
    for scopes, word in _trials(cell):
        more = by_id if word in {"public", "unread"} else {}
        answer = caller.ask(cell.operation_id, cell.kind, scopes, **more)
        said = answer.status, code_of(answer)
        if word in REFUSING:
            refusal = REFUSING[word]
            assert said == (refusal["status"], refusal["code"]), (scopes, answer.body)
        elif cell.operation_id in INSTEAD:
            assert said == (400, INSTEAD[cell.operation_id]), (scopes, answer.body)
        else:
            success = min(OPERATIONS[cell.operation_id].responses)
            assert said == (success, None), (scopes, answer.body)
        if word == "lacking":
            named = f'Bearer realm="oneself", error="insufficient_scope", scope="{cell.scope}"'
            assert answer.values("WWW-Authenticate") == [named]
        if word == "public":
            confidential = caller.ask(
                cell.operation_id, cell.kind, client_id=caller.person["client_id"]
            )
            basic = REFUSING["basic"]
            assert (confidential.status, code_of(confidential)) == (basic["status"], basic["code"])


@pytest.mark.parametrize("kind", ["jwt", "access_token", "api_key", "pat", "refresh token"])
def test_only_a_session_is_exchanged_for_a_jwt(kind: str, caller: Caller):
    """TK-11: what has fewer rights, or a set end, becomes nothing that has more or none."""
    if kind == "refresh token":
        token = caller.ask("oauth.issueToken", "client").json()["refresh_token"]
    else:
        token = caller.credential(kind)
    answer = caller.ask("oauth.issueToken", "client", subject_token=token)
    assert (answer.status, code_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize("scope", sorted(SCOPES["api_key"] - {"keys:write"}))
def test_a_key_makes_no_wider_key(scope: str, caller: Caller):
    """TK-11: not by asking for what it lacks, beside what it holds or alone."""
    narrow = frozenset({"keys:write"})
    for scopes in ([scope], ["keys:write", scope]):
        answer = caller.ask("ipto.createApiKey", "api_key", narrow, scopes=scopes)
        assert (answer.status, code_of(answer)) == (403, "scope_not_held")


# Fields


BODIES = {
    operation_id: resolve(load_document(), next(iter(operation.bodies.values())))
    for operation_id, operation in OPERATIONS.items()
    if operation.bodies
}
OPEN = {operation_id for operation_id in BODIES if BODIES[operation_id]["additionalProperties"]}


def test_a_body_is_closed_but_for_settings_and_forms():
    """AZ-11: settings are the user's own words; OAuth has unknown parameters ignored."""
    assert OPEN == {
        "hantera.replaceSettings",
        "hantera.updateSettings",
        "oauth.issueToken",
        "oauth.introspectToken",
        "oauth.revokeToken",
    }


@pytest.mark.parametrize("operation_id", sorted(BODIES.keys() - OPEN))
def test_nobody_writes_a_field_that_is_not_theirs_to_write(operation_id: str, caller: Caller):
    """AZ-11: it is refused by its name, with all that came beside it."""
    kind = "session" if OPERATIONS[operation_id].accepted else "none"
    before = caller.seen()
    for name, value in NEVER_WRITTEN.items():
        assert name not in BODIES[operation_id]["properties"]
        answer = caller.ask(operation_id, kind, **{name: value})
        shape = 422 if operation_id.startswith("scaikey.") else 400
        assert answer.status == shape, (name, answer.body)
        assert b"invalid_request" in answer.body
        assert name.encode() in answer.body
    assert caller.seen() == before


@pytest.mark.parametrize("operation_id", ["hantera.replaceSettings", "hantera.updateSettings"])
def test_settings_of_any_name_are_only_settings(operation_id: str, caller: Caller):
    """AZ-11: they are kept, and change nothing of who this is."""
    before = caller.seen()
    answer = caller.ask(operation_id, "session", **NEVER_WRITTEN)
    assert answer.status == 200
    assert answer.json()["roles"] == NEVER_WRITTEN["roles"]
    assert caller.seen() == before


def test_a_form_gives_a_jwt_no_claims(caller: Caller):
    """AZ-11: what is not known is ignored, and does not come out in the token."""
    claims = {"sub": "usr_000000000000", "tenant": "tnt_000000000000", "epoch": "9", "roles": "x"}
    answer = caller.ask("oauth.issueToken", "client", **NEVER_WRITTEN, **claims)
    payload = answer.json()["access_token"].split(".")[1]
    held = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (held["sub"], held["tenant"]) == (caller.person["user_id"], caller.person["tenant_id"])
    assert held["epoch"] != 9
    assert not {*NEVER_WRITTEN, "roles"} & held.keys()
