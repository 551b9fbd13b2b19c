"""Tests that the policies decide once on every operation of a user, before it begins."""

import asyncio
import base64
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, event

import oneself.app
from accounts.crypto.keyring import Keyring
from accounts.flows.administration.users import change_roles, find_user_by_email
from accounts.limits import Limits
from accounts.services.policies import Decision, Question
from accounts.services.principal import CredentialKind
from handlers.context import Context
from oneself.commands.demo_data import make_demo
from oneself.conformance.rows.request_building import PICTURE, takes_pictures
from oneself.database import Database
from oneself.document import load_document, operation_specs, resolve
from oneself.http.request.forms import FORM
from oneself.runtime.policy_store import PolicyStore
from oneself.settings import Settings
from tests.support.databases import Storage

DEFAULT = Path(__file__).parents[4] / "policies"
DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
OF_PERSONS = {name: each for name, each in OPERATIONS.items() if each.accepted}

#: The member of a demo account that has a credential of each kind.
NAMES = {
    CredentialKind.SESSION: "session_token",
    CredentialKind.API_KEY: "api_key",
    CredentialKind.ACCESS_TOKEN: "access_token",
    CredentialKind.PAT: "pat",
    CredentialKind.JWT: "jwt",
}
EACH = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, each in OF_PERSONS.items()
    for kind in sorted(each.accepted)
]
NOT_ACCEPTED = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, each in OF_PERSONS.items()
    for kind in sorted(NAMES.keys() - each.accepted)
]

CLOSED = '@id("closed") forbid (principal, action, resource);'
OWNERS_ONLY = """
@id("profiles-are-for-owners")
forbid (principal, action in Action::"me/profile:read", resource)
unless { principal.roles.contains("owner") };
"""


class Step(NamedTuple):
    """A step that a request led to: a question, a handler that began, or a writing statement."""

    what: str
    of: str


class Service:
    """The application over a database of its own, which records the steps of its requests.

    Nothing is replaced: policies, handlers and statements are recorded and go on."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        limits = Limits(password_cost=4)
        self.database = Database(storage.make(folder), keys=Keyring(b"x" * 32), limits=limits)
        self.steps: list[Step] = []
        self.questions: list[Question] = []
        self._account: Mapping[str, str] | None = None
        self._settings = Settings(data_dir=folder, public_url=limits.issuer)
        self._apps: dict[str, Any] = {}

    def app(self, policy: str) -> Any:
        """Return the application under the default policies and one more."""
        if policy not in self._apps:
            folder = self._settings.data_dir / f"policies-{len(self._apps)}"
            shutil.copytree(DEFAULT, folder)
            (folder / "more.cedar").write_text(policy)
            settings = self._settings.model_copy(update={"policy_dir": folder})
            self._apps[policy] = oneself.app.create_app(settings, database=self.database)
        return self._apps[policy]

    def account(self, *, anew: bool = False) -> Mapping[str, str]:
        """Return an account with valid credentials, even if handlers revoked earlier ones."""
        if anew or self._account is None:
            self._account = make_demo(self.database)["base"]
        return self._account

    def ask(
        self, operation_id: str, headers: Mapping[str, str], *, policy: str = ""
    ) -> tuple[int, Any]:
        """Send the document's example; return status and body, and restart the steps."""
        scope, body = _example(operation_id, headers)
        app = self.app(policy)
        self.steps.clear()
        self.questions.clear()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        if any(step.what == "handles" for step in self.steps):
            self._account = None
        start, end = sent
        return start["status"], json.loads(end["body"] or b"null")

    def note_statement(self, *arguments: Any) -> None:
        """Record a writing statement, which SQLAlchemy passes as the third argument."""
        verb = arguments[2].split(maxsplit=1)[0].upper()
        if verb not in {"SELECT", "BEGIN", "PRAGMA"}:
            self.steps.append(Step("writes", verb))


def _example(operation_id: str, headers: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    operation = OPERATIONS[operation_id]
    path, every_header = operation.path, {"host": "localhost", **headers}
    for each in operation.parameters:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
        elif each["in"] == "header":
            every_header[each["name"].lower()] = each["example"]
    body = b""
    if takes_pictures(operation):
        body, every_header["content-type"] = PICTURE, "image/png"
    elif operation.bodies:
        spec = DOCUMENT["paths"][operation.path][operation.method]["requestBody"]
        media, content = next(iter(resolve(DOCUMENT, spec)["content"].items()))
        example = content["example"]
        body = (urlencode(example) if media == FORM else json.dumps(example)).encode()
        every_header["content-type"] = media
    every_header["content-length"] = str(len(body))
    scope = {
        "type": "http",
        "method": operation.method.upper(),
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in every_header.items()],
    }
    return scope, body


def by(account: Mapping[str, str], kind: CredentialKind) -> dict[str, str]:
    """Return the header that carries the credential of an account."""
    token = account[NAMES[kind]]
    if kind is CredentialKind.API_KEY:
        return {"x-api-key": token}
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Shared by all tests, because compiling the operations takes longer than requests."""
    service = Service(tmp_path_factory.mktemp("service"), storage)
    find, decide = oneself.app.find_handler, PolicyStore.decide

    def find_noted(operation_id: str) -> Callable[..., Any]:
        handler = find(operation_id)

        @functools.wraps(handler)
        def noted(context: Context, **arguments: Any) -> Any:
            service.steps.append(Step("handles", operation_id))
            return handler(context, **arguments)

        return noted

    def decide_noted(store: PolicyStore, question: Question) -> Decision:
        service.steps.append(Step("asks", question.action))
        service.questions.append(question)
        return decide(store, question)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oneself.app, "find_handler", find_noted)
        patch.setattr(PolicyStore, "decide", decide_noted)
        event.listen(Engine, "before_cursor_execute", service.note_statement)
        yield service
        event.remove(Engine, "before_cursor_execute", service.note_statement)
    service.database.close()


def test_every_credential_kind_is_covered():
    """AZ-07: a new kind needs an account here that has one."""
    assert set(NAMES) == set(CredentialKind)


@pytest.mark.parametrize(("operation_id", "kind"), EACH)
def test_policies_decide_once_before_the_handler(
    operation_id: str, kind: CredentialKind, service: Service
):
    """AZ-07: on this operation, its scope and this credential."""
    account = service.account()
    service.ask(operation_id, by(account, kind))
    assert service.steps[:2] == [Step("asks", operation_id), Step("handles", operation_id)]
    assert {step.what for step in service.steps[2:]} <= {"writes"}
    [question] = service.questions
    assert question.subject.user_id == account["user_id"]
    assert (question.credential, question.required) == (kind, OPERATIONS[operation_id].scope)


def test_writing_operations_are_covered(service: Service):
    """AZ-07: or the tests for nothing being written would prove nothing."""
    service.ask("scaikey.updateProfile", by(service.account(), CredentialKind.SESSION))
    assert Step("writes", "UPDATE") in service.steps


@pytest.mark.parametrize(("operation_id", "kind"), EACH)
def test_denied_operation_does_not_begin(operation_id: str, kind: CredentialKind, service: Service):
    """AZ-07: no handler runs, and nothing is written."""
    status, body = service.ask(operation_id, by(service.account(), kind), policy=CLOSED)
    assert service.steps == [Step("asks", operation_id)]
    assert status == 403
    assert "policy_denied" in json.dumps(body)


@pytest.mark.parametrize(("operation_id", "kind"), NOT_ACCEPTED)
def test_policies_are_not_asked_about_an_unaccepted_kind(
    operation_id: str, kind: CredentialKind, service: Service
):
    """AZ-07, TK-11: no policy can allow what the document leaves out."""
    status, _ = service.ask(operation_id, by(service.account(), kind))
    assert (status, service.steps) == (403, [])


@pytest.mark.parametrize("operation_id", OF_PERSONS)
def test_policies_are_not_asked_about_an_unknown_caller(operation_id: str, service: Service):
    """AZ-07: without a credential, or with an expired one."""
    ended = by(service.account(), CredentialKind.SESSION)
    service.account(anew=True)
    for headers in ({}, ended):
        status, _ = service.ask(operation_id, headers)
        assert (status, service.steps) == (401, [])


@pytest.mark.parametrize("operation_id", sorted(OPERATIONS.keys() - OF_PERSONS.keys()))
def test_public_and_client_operations_ask_no_policy(operation_id: str, service: Service):
    """AZ-07: they have no user, even if a credential is sent."""
    account = service.account()
    headers = by(account, CredentialKind.API_KEY)
    if OPERATIONS[operation_id].client is not None:
        pair = f"{account['client_id']}:{account['client_secret']}"
        headers = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    service.ask(operation_id, headers, policy=CLOSED)
    assert service.steps[0] == Step("handles", operation_id)
    assert not service.questions


@pytest.mark.parametrize("kind", NAMES)
def test_lost_right_is_lost_by_every_credential_at_once(kind: CredentialKind, service: Service):
    """TK-12: from the next request, by a policy on the user's roles; and it comes back."""
    account = service.account()
    headers = by(account, kind)
    for roles, status in ({"remove": ["owner"]}, 403), ({"add": ["owner"]}, 200):
        assert service.ask("scaikey.getProfile", headers)[0] == 200
        with service.database.transaction(writing=True) as session:
            user = find_user_by_email(session, account["email"])
            change_roles(session, user, **roles)
        assert service.ask("scaikey.getProfile", headers, policy=OWNERS_ONLY)[0] == status
