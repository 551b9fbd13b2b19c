"""Other people's ids, at every operation that takes one: as if there were no such thing."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from sqlalchemy import Connection, inspect, text

from accounts.services.principal import CredentialKind
from oneself.conformance.actors import Actor, Actors
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.request_building import build_target, credential_header
from oneself.document import load_document, resolve
from oneself.http.request.forms import FORM
from tests.support.databases import Storage
from tests.support.operator_acts import people_of
from tests.support.service import Service, started
from tests.support.stored import reading

#: Headers that name what is answered, or what is asked, by a word of the client's own: that the key
#: of somebody else is another key is a row of contracts/ipto.yaml.
OF_REQUESTS = {"Idempotency-Key", "If-Match", "If-None-Match"}
#: What a field or a parameter of a query is called that names a row.
NAME_OF_ROW = re.compile(r"(^|_)ids?$|[a-z]Ids?$|^cursor$")
#: What even a refused request may write: that it was tried, and when a credential was used.
NOT_COMPARED = {"attempt_budget", "security_event", "event_link"}
SECONDS_TO_DELIVER = 10

NEW_PASSWORD = "n3wS3cur3P@ss!"
NO_UUID = "01933e8f-7c45-7123-9abc-123456789abc"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


class Named(NamedTuple):
    """A place of a request where a row is named."""

    operation_id: str
    place: str
    name: str


def _named_in_document() -> Iterator[Named]:
    """Each such place: whatever is in a path or a header, and what elsewhere is called an id."""
    for operation_id, operation in OPERATIONS.items():
        for each in operation.parameters:
            if each["name"] in OF_REQUESTS:
                continue
            if each["in"] in {"path", "header"} or NAME_OF_ROW.search(each["name"]):
                yield Named(operation_id, each["in"], each["name"])
        for body in operation.bodies.values():
            for name in resolve(load_document(), body).get("properties", {}):
                if NAME_OF_ROW.search(name):
                    yield Named(operation_id, "body", name)


@dataclass
class Neighbourhood:
    """Alice, who asks; Dora of her tenant; Bruno of another; and what each of them has."""

    service: Service
    people: Actors
    _made: dict[tuple[str, str], str] = field(default_factory=dict)

    def find(self, who: str) -> Actor:
        return self.people.find({"alice": "base", "dora": "sso_user", "bruno": "other_tenant"}[who])

    def row(self, noun: str, whose: str) -> str:
        """What one of them has, by its id; made when it is first asked for."""
        if (noun, whose) not in self._made:
            self._made[noun, whose] = MAKERS[noun](self, whose)
        return self._made[noun, whose]

    def credential(self, kind: str, who: str = "alice") -> tuple[str, str]:
        """The header that carries somebody's credential."""
        person = self.find(who)
        if kind == "client":
            return credential_header("basic", f"{person['client_id']}:{person['client_secret']}")
        if kind == "jwt":
            return credential_header("jwt", self.row("jwt", who))
        name = {"session": "session_token", "cookie": "session_token"}.get(kind, kind)
        return credential_header(kind, person[name])

    def request(self, case: "Case", value: str, kind: str, body: Mapping[str, Any]) -> Request:
        """Alice's request with the value in its place; `body` is what else the body has."""
        operation = OPERATIONS[case.named.operation_id]
        wanted: dict[str, Any] = {case.named.place: {case.named.name: value}}
        headers = list(wanted.get("header", {}).items())
        if kind != "none":
            headers.append(self.credential(kind))
        if kind == "cookie":
            headers.append(("Sec-Fetch-Site", "same-origin"))
        sent = b""
        if operation.bodies:
            media, content = next(iter(operation.bodies)), {**body, **wanted.get("body", {})}
            sent = (urlencode(content) if media == FORM else json.dumps(content)).encode()
            headers.append(("Content-Type", media))
        target = build_target(operation.path, None, wanted)
        return Request(operation.method.upper(), target, tuple(headers), sent)

    def post_form(self, path: str, form: Mapping[str, str], who: str) -> Answer:
        """Ask as somebody's client."""
        headers = (self.credential("client", who), ("Content-Type", FORM))
        return self.service.ask(Request("POST", path, headers, urlencode(form).encode()))

    def stored(self) -> Mapping[str, list[str]]:
        """All rows of all tables but a few, once the last mail has gone."""
        deadline = time.monotonic() + SECONDS_TO_DELIVER
        with reading(self.service) as connection:
            waiting = "SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL"
            while connection.exec_driver_sql(waiting).scalar():
                assert time.monotonic() < deadline, "the mail is not delivered"
                time.sleep(0.05)
            names = set(inspect(connection).get_table_names()) - NOT_COMPARED
            return {name: sorted(_rows(connection, name)) for name in sorted(names)}


def _rows(connection: Connection, table: str) -> Iterator[str]:
    found = connection.exec_driver_sql(f'SELECT * FROM "{table}"')  # noqa: S608 # a name of the schema's
    for row in found.mappings():
        yield repr({name: value for name, value in row.items() if name != "last_used_at"})


# What they have: each maker takes whose it is to be; "gone" was Alice's own.


def _session(there: Neighbourhood, whose: str) -> str:
    alice = there.find("alice")
    if whose in {"dora", "bruno"}:
        items = there.find(whose).ask("GET", "/v1/me/sessions")["data"]["items"]
    else:
        body = {"email": alice["email"], "password": alice["password"]}
        token = alice.ask("POST", "/v1/auth/login", body)["data"]["session_token"]
        bearer = (credential_header("session", token),)
        items = there.service.ask(Request("GET", "/v1/me/sessions", bearer)).json()["data"]["items"]
        if whose == "gone":
            assert there.service.ask(Request("POST", "/v1/auth/logout", bearer)).status == 200
    return str(next(each["session_id"] for each in items if each["current"]))


def _api_key(there: Neighbourhood, whose: str) -> str:
    person = there.find(whose if whose in {"dora", "bruno"} else "alice")
    body = {"name": "A key", "scopes": ["me/profile:read"]}
    made: str = person.ask("POST", "/v1/api-keys", body)["data"]["api_key_id"]
    if whose == "gone":
        _delete(there, f"/v1/api-keys/{made}")
    return made


def _pat(there: Neighbourhood, whose: str) -> str:
    person = there.find(whose if whose in {"dora", "bruno"} else "alice")
    # A client is the tenant's, and so both Alice's and Dora's.
    client = there.find("bruno" if whose == "bruno" else "alice")
    body = {**_wanted_pat(), "clientId": client["client_id"]}
    made: str = person.ask(
        "POST", "/resources/me/pat", {**body, "clientSecret": client["client_secret"]}
    )["id"]
    if whose == "gone":
        _delete(there, f"/resources/me/pat/{made}")
    return made


def _delete(there: Neighbourhood, path: str) -> None:
    request = Request("DELETE", path, (there.credential("session"),))
    assert there.service.ask(request).status == 204


def _wanted_pat() -> dict[str, Any]:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return {"name": "A token", "expiresAt": expires_at, "scopes": ["me/profile:read"]}


def _client(there: Neighbourhood, whose: str) -> str:
    if whose in {"public", "bruno's public"}:
        owner = there.find("bruno" if whose == "bruno's public" else "alice")
        return str(owner.act("add client", public=True)["client_id"])
    return str(there.find("bruno" if whose == "bruno" else "alice")["client_id"])


def _identity(there: Neighbourhood, whose: str) -> str:
    if whose != "disabled":
        found = there.find("alice" if whose == "own" else whose)["identity_id"]
    else:  # who is disabled cannot ask for it
        email = there.people.find("disabled_user")["email"]
        with reading(there.service) as connection:
            query = text('SELECT uuid FROM "user" WHERE email = :email')
            found = connection.execute(query, {"email": email}).scalar_one()
    return str(found)


def _tenant(there: Neighbourhood, whose: str) -> str:
    if whose == "disabled":
        person = there.people.sign_up()
        person.act("disable tenant")
    else:
        person = there.find("bruno" if whose == "bruno" else "alice")
    return person.find_tenant_uuid()


def _cursor(there: Neighbourhood, whose: str) -> str:
    person = there.find("alice" if whose == "own" else whose)
    person.ask("PATCH", "/api/v1/me", {"locale": "de-DE"})
    person.ask("PATCH", "/api/v1/me", {"locale": "de-DE"})
    return str(person.ask("GET", "/v1/me/events?limit=1")["data"]["next_cursor"])


def _jwt(there: Neighbourhood, whose: str) -> str:
    form = {**EXCHANGE, "subject_token": there.find(whose)["session_token"]}
    return str(there.post_form("/oauth/token", form, whose).json()["access_token"])


def _refresh_token(there: Neighbourhood, whose: str) -> str:
    form = {**EXCHANGE, "subject_token": there.find(whose)["session_token"]}
    return str(there.post_form("/oauth/token", form, whose).json()["refresh_token"])


def _secret(there: Neighbourhood, whose: str) -> str:
    person = there.find(whose)
    pending = person.ask("POST", "/resources/me/email/change", {"email": person["email"]})
    return str(pending["secret"])


MAKERS: Mapping[str, Callable[[Neighbourhood, str], str]] = {
    "session": _session,
    "API key": _api_key,
    "PAT": _pat,
    "client": _client,
    "identity": _identity,
    "tenant": _tenant,
    "cursor": _cursor,
    "jwt": _jwt,
    "refresh token": _refresh_token,
    "secret": _secret,
}


# What else a body has, by whose id is in it.


def _no_body(_there: Neighbourhood, _whose: str) -> Mapping[str, Any]:
    return {}


def _body_of_pat(there: Neighbourhood, whose: str) -> Mapping[str, Any]:
    """With the secret that is right for the client, where it has one."""
    owner = there.find("bruno" if whose == "bruno" else "alice")
    return {**_wanted_pat(), "clientSecret": owner["client_secret"]}


def _body_of_validation(there: Neighbourhood, _whose: str) -> Mapping[str, Any]:
    """With the secret of a change that Alice has asked for: to the address that she has."""
    return {"secret": there.row("secret", "alice")}


def _body_of_password(there: Neighbourhood, whose: str) -> Mapping[str, Any]:
    """One that would change it; with her own tenant, one that is only judged."""
    current = there.find("alice")["password"]
    new = current if whose == "own" else NEW_PASSWORD
    return {"current_password": current, "new_password": new}


def _body_of_exchange(there: Neighbourhood, _whose: str) -> Mapping[str, Any]:
    return {**EXCHANGE, "subject_token": there.find("alice")["session_token"]}


@dataclass(frozen=True)
class Case:
    """One place, with those whose ids are tried there and what they are answered.

    `own` is what Alice is answered for what is hers, so that it is the id that is refused and not
    all else. `kinds` are those that the operation accepts, unless they are named.
    """

    named: Named
    noun: str
    others: tuple[str, ...]
    nobody: str
    refusal: tuple[int, str]
    own: tuple[int, str | None]
    kinds: tuple[str, ...] = ()
    body: Callable[[Neighbourhood, str], Mapping[str, Any]] = _no_body

    def accepted(self) -> tuple[str, ...]:
        """The kinds of credential to ask by."""
        accepted = OPERATIONS[self.named.operation_id].accepted
        by_session = ("cookie",) if CredentialKind.SESSION in accepted else ()
        return self.kinds or (*sorted(kind.name.lower() for kind in accepted), *by_session)


NOT_FOUND = (404, "not_found")
PEOPLE = ("dora", "bruno", "gone")
CASES = [
    Case(
        Named("ipto.revokeSession", "path", "session_id"),
        "session", PEOPLE, "ses_000000000000", NOT_FOUND, (204, None),
    ),
    Case(
        Named("ipto.revokeApiKey", "path", "api_key_id"),
        "API key", PEOPLE, "key_000000000000", NOT_FOUND, (204, None),
    ),
    Case(Named("hantera.getPat", "path", "id"), "PAT", PEOPLE, NO_UUID, NOT_FOUND, (200, None)),
    Case(Named("hantera.revokePat", "path", "id"), "PAT", PEOPLE, NO_UUID, NOT_FOUND, (204, None)),
    # The cursor of a page names the last event on it.
    Case(
        Named("ipto.listEvents", "query", "cursor"),
        "cursor", ("dora", "bruno"), "AXR3c2Vl", (400, "invalid_request"), (200, None),
    ),
    Case(
        Named("hantera.createPat", "body", "clientId"),
        "client", ("bruno", "public", "bruno's public"), "cli_000000000000",
        (400, "invalid_client"), (201, None), body=_body_of_pat,
    ),
    Case(
        Named("hantera.validateEmailChange", "body", "identityId"),
        "identity", ("dora", "bruno", "disabled"), NO_UUID,
        (400, "secret_invalid"), (200, None), ("none",), _body_of_validation,
    ),
    Case(
        Named("jitsudo.changePassword", "header", "X-Tenant-ID"),
        "tenant", ("bruno", "disabled"), NO_UUID,
        (403, "tenant_mismatch"), (400, "weak_password"), body=_body_of_password,
    ),
    # A client that authenticates itself names no other.
    Case(
        Named("oauth.issueToken", "body", "client_id"),
        "client", ("bruno", "public", "bruno's public"), "cli_000000000000",
        (400, "invalid_request"), (200, None), ("client",), _body_of_exchange,
    ),
]  # fmt: skip
EACH_KIND = [(case, kind) for case in CASES for kind in case.accepted()]
EACH = [(case, kind, whose) for case, kind in EACH_KIND for whose in case.others]


def _id(value: object) -> str:
    return value.named.operation_id if isinstance(value, Case) else str(value)


def _said(answer: Answer) -> tuple[int, Mapping[str, str], Any]:
    """An answer without what is each answer's own."""
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
def there(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    """The people of a demo of this module's own, where nothing is throttled."""
    ample = {"throttle_account_source": "100000/1", "throttle_mail": "100000/1"}
    with (
        started(tmp_path_factory.mktemp("neighbours"), **ample, **storage.settings()) as service,
        people_of(service) as people,
    ):
        yield Neighbourhood(service, people)


def test_every_place_of_the_document_that_names_a_row_is_tried():
    """AZ-10: a new operation with an id in it is decided here before anybody can ask it."""
    assert {case.named for case in CASES} == set(_named_in_document())


@pytest.mark.parametrize(("case", "kind", "whose"), EACH, ids=_id)
def test_what_is_not_ones_own_is_as_if_it_was_not_there(
    case: Case, kind: str, whose: str, there: Neighbourhood
):
    """AZ-10, AZ-13: the same answer as for an id of nothing, and nothing has changed."""
    body = case.body(there, whose)
    theirs = there.request(case, there.row(case.noun, whose), kind, body)
    nobodys = there.request(case, case.nobody, kind, body)
    before = there.stored()
    answers = there.service.ask(theirs), there.service.ask(nobodys)
    assert there.stored() == before
    assert (answers[0].status, _code(answers[0])) == case.refusal, answers[0].body
    assert _said(answers[0]) == _said(answers[1])


@pytest.mark.parametrize(("case", "kind"), EACH_KIND, ids=_id)
def test_what_is_ones_own_is_there(case: Case, kind: str, there: Neighbourhood):
    """AZ-10: by the same request with the same credential, so that it is the id that counts."""
    mine = MAKERS[case.noun](there, "own")
    request = there.request(case, mine, kind, case.body(there, "own"))
    before = there.stored()
    answer = there.service.ask(request)
    assert (answer.status, _code(answer)) == case.own, answer.body
    # Reading leaves what there was; a write that left it would make the tests above mean nothing.
    assert (there.stored() == before) == (answer.status == 400 or request.method == "GET")


@pytest.mark.parametrize("whose", ["own", "bruno"])
def test_who_has_a_secret_is_not_a_client_by_its_id(whose: str, there: Neighbourhood):
    """AZ-10: the id of a client that has a secret is as good as one of none."""
    case = CASES[-1]
    body = case.body(there, whose)
    before = there.stored()
    ids = there.row("client", whose), case.nobody
    answers = [there.service.ask(there.request(case, each, "none", body)) for each in ids]
    assert there.stored() == before
    assert [(each.status, _code(each)) for each in answers] == [(401, "invalid_client")] * 2
    assert _said(answers[0]) == _said(answers[1])


def test_a_public_client_of_another_tenant_gets_nothing_for_a_session(there: Neighbourhood):
    """AZ-10: its id is no secret (RFC 6749 section 2.2), and so it may be told from none."""
    case = CASES[-1]
    request = there.request(
        case, there.row("client", "bruno's public"), "none", case.body(there, "own")
    )
    before = there.stored()
    answer = there.service.ask(request)
    assert there.stored() == before
    assert (answer.status, _code(answer)) == (400, "invalid_request")
    ours = there.request(case, there.row("client", "public"), "none", case.body(there, "own"))
    assert there.service.ask(ours).status == 200


@pytest.mark.parametrize("noun", ["jwt", "refresh token", "pat"])
def test_a_client_learns_and_ends_nothing_of_another_tenant(noun: str, there: Neighbourhood):
    """AZ-10, TK-18: a token that it was shown is to it as one that there is not."""
    token = there.find("alice")["pat"] if noun == "pat" else there.row(noun, "alice")
    before = there.stored()
    told = there.post_form("/oauth/introspect", {"token": token}, "bruno")
    assert (told.status, told.json()) == (200, {"active": False})
    assert there.post_form("/oauth/revoke", {"token": token}, "bruno").status == 200
    assert there.stored() == before
    told = there.post_form("/oauth/introspect", {"token": token}, "alice")
    assert (told.status, told.json()["active"]) == (200, True)


def test_a_session_is_not_exchanged_by_a_client_of_another_tenant(there: Neighbourhood):
    """AZ-10, AZ-13: it is refused like a session that there is not."""
    form = {**EXCHANGE, "subject_token": there.find("alice")["session_token"]}
    before = there.stored()
    answer = there.post_form("/oauth/token", form, "bruno")
    unknown = there.post_form("/oauth/token", {**form, "subject_token": "sess_x"}, "bruno")
    assert there.stored() == before
    assert (answer.status, _code(answer)) == (400, "invalid_request")
    assert _said(answer) == _said(unknown)


@pytest.mark.parametrize("path", ["/v1/me", "/api/v1/me", "/resources/me/profile"])
def test_a_tenant_in_a_header_leads_nowhere_else(path: str, there: Neighbourhood):
    """AZ-13: where no operation asks for it, it is not read."""
    session = there.credential("session")
    named = ("X-Tenant-ID", there.row("tenant", "bruno"))
    plain = there.service.ask(Request("GET", path, (session,)))
    answer = there.service.ask(Request("GET", path, (session, named)))
    assert answer.status == 200
    assert _said(answer) == _said(plain)
