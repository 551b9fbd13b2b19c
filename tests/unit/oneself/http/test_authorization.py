"""Every operation of a person asks the policies, once, before anything is done."""

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

#: What a person of the demo has of each kind.
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
    """What a request led to: a question, a handler that began, or a statement that writes."""

    what: str
    of: str


class Scene:
    """The application over a database of its own, and the steps that its requests lead to.

    Nothing is replaced: what asks, what handles and what writes is written down, and goes on.
    """

    def __init__(self, folder: Path, storage: Storage) -> None:
        limits = Limits(password_cost=4)
        self.database = Database(storage.make(folder), keys=Keyring(b"x" * 32), limits=limits)
        self.steps: list[Step] = []
        self.questions: list[Question] = []
        self._account: Mapping[str, str] | None = None
        self._settings = Settings(data_dir=folder, public_url=limits.issuer)
        self._apps: dict[str, Any] = {}

    def app(self, policy: str) -> Any:
        """The application under the default policies and one more."""
        if policy not in self._apps:
            folder = self._settings.data_dir / f"policies-{len(self._apps)}"
            shutil.copytree(DEFAULT, folder)
            (folder / "more.cedar").write_text(policy)
            settings = self._settings.model_copy(update={"policy_dir": folder})
            self._apps[policy] = oneself.app.create_app(settings, database=self.database)
        return self._apps[policy]

    def somebody(self, *, anew: bool = False) -> Mapping[str, str]:
        """Somebody whose credentials are good, whatever a handler has done to earlier ones."""
        if anew or self._account is None:
            self._account = make_demo(self.database)["base"]
        return self._account

    def ask(
        self, operation_id: str, headers: Mapping[str, str], *, policy: str = ""
    ) -> tuple[int, Any]:
        """Send the document's own example; gives the status and the body, and begins the steps."""
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
        """Write down a statement that writes; SQLAlchemy tells it third, after two handles."""
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
    """The header that carries somebody's credential."""
    token = account[NAMES[kind]]
    if kind is CredentialKind.API_KEY:
        return {"x-api-key": token}
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def scene(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests here: to compile the operations takes longer than to ask them."""
    scene = Scene(tmp_path_factory.mktemp("scene"), storage)
    find, decide = oneself.app.find_handler, PolicyStore.decide

    def find_noted(operation_id: str) -> Callable[..., Any]:
        handler = find(operation_id)

        @functools.wraps(handler)
        def noted(context: Context, **arguments: Any) -> Any:
            scene.steps.append(Step("handles", operation_id))
            return handler(context, **arguments)

        return noted

    def decide_noted(store: PolicyStore, question: Question) -> Decision:
        scene.steps.append(Step("asks", question.action))
        scene.questions.append(question)
        return decide(store, question)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oneself.app, "find_handler", find_noted)
        patch.setattr(PolicyStore, "decide", decide_noted)
        event.listen(Engine, "before_cursor_execute", scene.note_statement)
        yield scene
        event.remove(Engine, "before_cursor_execute", scene.note_statement)
    scene.database.close()


def test_every_kind_of_credential_is_tried():
    """AZ-07: a new kind needs somebody here who has one."""
    assert set(NAMES) == set(CredentialKind)


@pytest.mark.parametrize(("operation_id", "kind"), EACH)
def test_the_policies_are_asked_once_and_before_anything_is_done(
    operation_id: str, kind: CredentialKind, scene: Scene
):
    """AZ-07: about this operation, its scope and this credential; only then the handler begins."""
    account = scene.somebody()
    scene.ask(operation_id, by(account, kind))
    assert scene.steps[:2] == [Step("asks", operation_id), Step("handles", operation_id)]
    assert {step.what for step in scene.steps[2:]} <= {"writes"}
    [question] = scene.questions
    assert question.subject.user_id == account["user_id"]
    assert (question.credential, question.required) == (kind, OPERATIONS[operation_id].scope)


def test_there_are_operations_that_write(scene: Scene):
    """AZ-07: else that nothing was written before the question would say nothing."""
    scene.ask("scaikey.updateProfile", by(scene.somebody(), CredentialKind.SESSION))
    assert Step("writes", "UPDATE") in scene.steps


@pytest.mark.parametrize(("operation_id", "kind"), EACH)
def test_what_the_policies_deny_is_not_begun(operation_id: str, kind: CredentialKind, scene: Scene):
    """AZ-07: no handler ran, and nothing was written."""
    status, body = scene.ask(operation_id, by(scene.somebody(), kind), policy=CLOSED)
    assert scene.steps == [Step("asks", operation_id)]
    assert status == 403
    assert "policy_denied" in json.dumps(body)


@pytest.mark.parametrize(("operation_id", "kind"), NOT_ACCEPTED)
def test_a_kind_that_is_not_accepted_is_not_even_asked_about(
    operation_id: str, kind: CredentialKind, scene: Scene
):
    """AZ-07, TK-11: no policy can let in what the document leaves out."""
    status, _ = scene.ask(operation_id, by(scene.somebody(), kind))
    assert (status, scene.steps) == (403, [])


@pytest.mark.parametrize("operation_id", OF_PERSONS)
def test_nobody_gets_as_far_as_the_question(operation_id: str, scene: Scene):
    """AZ-07: without a credential, or with one that has ended, there is no one to ask about."""
    ended = by(scene.somebody(), CredentialKind.SESSION)
    scene.somebody(anew=True)
    for headers in ({}, ended):
        status, _ = scene.ask(operation_id, headers)
        assert (status, scene.steps) == (401, [])


@pytest.mark.parametrize("operation_id", sorted(OPERATIONS.keys() - OF_PERSONS.keys()))
def test_what_is_public_or_a_clients_asks_nothing(operation_id: str, scene: Scene):
    """AZ-07: there is nobody to ask about, whoever's credential comes along."""
    account = scene.somebody()
    headers = by(account, CredentialKind.API_KEY)
    if OPERATIONS[operation_id].client is not None:
        pair = f"{account['client_id']}:{account['client_secret']}"
        headers = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    scene.ask(operation_id, headers, policy=CLOSED)
    assert scene.steps[0] == Step("handles", operation_id)
    assert not scene.questions


@pytest.mark.parametrize("kind", NAMES)
def test_a_right_that_the_user_loses_is_lost_by_every_credential_at_once(
    kind: CredentialKind, scene: Scene
):
    """TK-12: at the next request, by a policy on what the user is now; and it comes back."""
    account = scene.somebody()
    headers = by(account, kind)
    for roles, status in ({"remove": ["owner"]}, 403), ({"add": ["owner"]}, 200):
        assert scene.ask("scaikey.getProfile", headers)[0] == 200
        with scene.database.transaction(writing=True) as session:
            user = find_user_by_email(session, account["email"])
            change_roles(session, user, **roles)
        assert scene.ask("scaikey.getProfile", headers, policy=OWNERS_ONLY)[0] == status
