"""Tests that the policies decide every operation of a user before it begins, and public acts."""

import asyncio
import base64
import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, delete, event, update
from sqlmodel import col

import oneself.app
from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.flows.administration.users import change_roles, find_user_by_email
from accounts.flows.deletion.account_deletion import delete_account
from accounts.flows.factors.enrolment import enrol_totp
from accounts.limits import Limits
from accounts.services.factors.challenges import open_challenge
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.policies.policy_set import ANONYMOUS, Decision, Question
from accounts.services.principal import CredentialKind
from accounts.services.recovery_address import claim_address
from accounts.services.user_views import find_user_view
from accounts.values.email_address import parse_address
from accounts.values.identifiers import new_id
from handlers.context import Context
from models import LoginSession, TotpFactor, User
from oneself.commands.demo_data import make_demo
from oneself.database import Database
from oneself.document import load_document, operation_specs, resolve
from oneself.http.request.forms import FORM
from oneself.runtime.policy_store import PolicyStore, public_acts
from oneself.settings import Settings
from oneself.web.page_forms import PAGES
from oneself_conformance.actors import PASSWORD
from oneself_conformance.cases.request_building import PICTURE, takes_pictures
from tests.support.authenticator import code_at
from tests.support.databases import Storage

DEFAULT = Path(__file__).parents[4] / "policies"
DOCUMENT = load_document()
OPERATIONS = {spec.operation_id: spec for spec in operation_specs(DOCUMENT)}
OF_USERS = {name: spec for name, spec in OPERATIONS.items() if spec.accepted}

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
    for name, spec in OF_USERS.items()
    for kind in sorted(spec.accepted)
]
NOT_ACCEPTED = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, spec in OF_USERS.items()
    for kind in sorted(NAMES.keys() - spec.accepted)
]

CLOSED = '@id("closed") @notice("Closed today.") forbid (principal, action, resource);'
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
        self._settings = Settings(data_dir=folder, public_url=limits.issuer, secret_key="x" * 43)
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
        status, body = self.send(*_example(operation_id, headers), policy=policy)
        return status, json.loads(body or b"null")

    def send(self, scope: Mapping[str, Any], body: bytes, *, policy: str = "") -> tuple[int, bytes]:
        """Send a request; return status and body, and restart the steps."""
        app = self.app(policy)
        self.steps.clear()
        self.questions.clear()
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        asyncio.run(app(scope, receive, send))
        if scope["path"] in PAGES or any(step.what == "handles" for step in self.steps):
            self._account = None
        start, end = messages
        return start["status"], end["body"]

    def issue_secret(self, purpose: SecretPurpose, email: str) -> str:
        """Return a mailed secret of the user of the account."""
        user_id = self.account()["user_id"]
        with self.database.transaction(writing=True) as session:
            return issue_secret(session, purpose, user_id, parse_address(email))

    def note_statement(self, *arguments: Any) -> None:
        """Record a writing statement, which SQLAlchemy passes as the third argument."""
        verb = arguments[2].split(maxsplit=1)[0].upper()
        if verb not in {"SELECT", "BEGIN", "PRAGMA"}:
            self.steps.append(Step("writes", verb))


def _example(operation_id: str, headers: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    operation = OPERATIONS[operation_id]
    path, every_header = operation.path, {"host": "localhost", **headers}
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["in"] == "header":
            every_header[parameter["name"].lower()] = parameter["example"]
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
        def record(context: Context, **arguments: Any) -> Any:
            service.steps.append(Step("handles", operation_id))
            return handler(context, **arguments)

        return record

    def decide_noted(store: PolicyStore, question: Question, *more: Any) -> Decision:
        service.steps.append(Step("asks", question.action))
        service.questions.append(question)
        return decide(store, question, *more)

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
def test_policies_decide_before_the_handler(
    operation_id: str, kind: CredentialKind, service: Service
):
    """AZ-07: on this operation, its scope and this credential.

    They are asked again when a request has waited for a thread that hashes. Only the count of
    writes to the account is written between.
    """
    account = service.account()
    service.ask(operation_id, by(account, kind))
    asks = Step("asks", OPERATIONS[operation_id].action)
    handles = Step("handles", operation_id)
    handled = service.steps.index(handles)
    assert service.steps[0] == asks
    assert set(service.steps[1:handled]) <= {asks, Step("writes", "INSERT")}
    assert {step.what for step in service.steps[handled + 1 :]} <= {"writes"}
    [question] = set(service.questions)
    assert question.subject.user_id == account["user_id"]
    assert (question.credential, question.required) == (kind, OPERATIONS[operation_id].scope)


def test_writing_operations_are_covered(service: Service):
    """AZ-07: or the tests for nothing being written would prove nothing."""
    account = service.account(anew=True)
    service.ask("hyperclast.regenerateAccessToken", by(account, CredentialKind.SESSION))
    assert Step("writes", "UPDATE") in service.steps


@pytest.mark.parametrize(("operation_id", "kind"), EACH)
def test_denied_operation_does_not_begin(operation_id: str, kind: CredentialKind, service: Service):
    """AZ-07: no handler runs, and nothing is written."""
    status, body = service.ask(operation_id, by(service.account(), kind), policy=CLOSED)
    assert service.steps == [Step("asks", OPERATIONS[operation_id].action)]
    assert status == 403
    assert "policy_denied" in json.dumps(body)


@pytest.mark.parametrize(("operation_id", "kind"), NOT_ACCEPTED)
def test_policies_are_not_asked_about_an_unaccepted_kind(
    operation_id: str, kind: CredentialKind, service: Service
):
    """AZ-07, TK-11: no policy can allow what the document leaves out."""
    status, _ = service.ask(operation_id, by(service.account(), kind))
    assert (status, service.steps) == (403, [])


@pytest.mark.parametrize("operation_id", OF_USERS)
def test_policies_are_not_asked_about_an_unknown_caller(operation_id: str, service: Service):
    """AZ-07: without a credential, or with an expired one."""
    ended = by(service.account(), CredentialKind.SESSION)
    service.account(anew=True)
    for headers in ({}, ended):
        status, _ = service.ask(operation_id, headers)
        assert (status, service.steps) == (401, [])


# Public acts

#: Operations that act for no account, and so ask no policy.
NOT_GOVERNED = {
    *("oauth.introspectToken", "oauth.revokeToken"),  # of a client, on the tokens it has
    *(name for name, spec in OPERATIONS.items() if spec.public and spec.method == "get"),
}


@dataclass(frozen=True)
class PublicAct:
    """A request without a user's credential: its path, its fields, and what policies see of it.

    `fields` makes them for an account, so that a request is valid and can be sent twice.
    """

    path: str
    action: str
    credential: str
    fields: Callable[[Service], Mapping[str, str]]

    def request(self, service: Service) -> tuple[dict[str, Any], bytes]:
        """Return the request as an ASGI scope and a body."""
        fields = self.fields(service)
        is_form = self.path in PAGES or self.path == "/oauth/token"
        body = (urlencode(fields) if is_form else json.dumps(fields)).encode()
        headers = {
            "host": "localhost",
            "content-type": FORM if is_form else "application/json",
            "sec-fetch-site": "same-origin",
            "content-length": str(len(body)),
        }
        if self.path == "/oauth/token":
            account = service.account()
            headers |= _basic(account)
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "client": ("192.0.2.1", 50000),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        return scope, body


def _basic(account: Mapping[str, str]) -> dict[str, str]:
    pair = f"{account['client_id']}:{account['client_secret']}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _sign_up(_service: Service) -> Mapping[str, str]:
    names = {"display_name": "Bob Ito", "tenant_name": "Example"}
    return {"email": f"{new_id('')}@example.com", "password": PASSWORD, **names}


def _sign_up_app(_service: Service) -> Mapping[str, str]:
    return {"email": f"{new_id('')}@example.com", "password": PASSWORD}


def _log_in(service: Service) -> Mapping[str, str]:
    account = service.account()
    return {"email": account["email"], "password": account["password"]}


def _forgot(service: Service) -> Mapping[str, str]:
    return {"email": service.account()["email"]}


def _reset(service: Service) -> Mapping[str, str]:
    secret = service.issue_secret(SecretPurpose.PASSWORD_RESET, service.account()["email"])
    return {"secret": secret, "new_password": PASSWORD}


def _verify(service: Service) -> Mapping[str, str]:
    purpose = SecretPurpose.EMAIL_VERIFICATION
    return {"secret": service.issue_secret(purpose, service.account()["email"])}


def _again(service: Service) -> Mapping[str, str]:
    return {**_verify(service), "action": "again"}


def _change(service: Service, name: str = "identityId") -> Mapping[str, str]:
    user_id = service.account()["user_id"]
    secret = service.issue_secret(SecretPurpose.EMAIL_CHANGE, f"{new_id('')}@example.com")
    with service.database.transaction(writing=False) as session:
        return {name: find_user_view(session, user_id).identity_id, "secret": secret}


def _undo(service: Service) -> Mapping[str, str]:
    return {"secret": service.issue_secret(SecretPurpose.EMAIL_UNDO, service.account()["email"])}


def _release(service: Service) -> Mapping[str, str]:
    claimed = f"{new_id('')}@example.com"
    with service.database.transaction(writing=True) as session:
        user = session.get_one(User, service.account()["user_id"])
        claim_address(session, user, parse_address(claimed))
    return {"secret": service.issue_secret(SecretPurpose.EMAIL_VERIFICATION, claimed)}


def _complete(service: Service) -> Mapping[str, str]:
    """Begin the login of a user with an authenticator app."""
    account = service.account()
    with service.database.transaction(writing=True) as session:
        user = find_user_view(session, account["user_id"])
        session.core.execute(delete(TotpFactor).where(col(TotpFactor.user_id) == user.user_id))
        enrolled = enrol_totp(session, user)
        session.flush()
        session.core.execute(update(TotpFactor).values(confirmed_at=session.now))
        challenge = open_challenge(session, user.user_id)
    code = code_at(enrolled.secret, datetime.now(UTC))
    return {"challenge_id": challenge.challenge_id, "code": code}


def _restore(service: Service) -> Mapping[str, str]:
    account = service.account()
    with service.database.transaction(writing=True) as session:
        delete_account(session, find_user_view(session, account["user_id"]))
    return {"secret": service.issue_secret(SecretPurpose.ACCOUNT_RESTORATION, account["email"])}


def _exchange(service: Service) -> Mapping[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": service.account()["session_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }


def _refresh(service: Service) -> Mapping[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": service.account()["refresh_token"]}


_CONFIRM, _VALIDATE = "scaikey.confirmEmailVerification", "hantera.validateEmailChange"
_UNDO, _RELEASE = "hantera.undoEmailChange", "scaikey.releaseEmail"
_TO_RESET = "/v1/auth/password/reset"
PUBLIC_ACTS = [
    PublicAct("/v1/auth/signup", "ipto.signUp", "none", _sign_up),
    PublicAct("/v1/auth/login", "ipto.logIn", "password", _log_in),
    PublicAct("/api/app/v1/auth/signup", "ipto.signUp", "none", _sign_up_app),
    PublicAct("/api/browser/v1/auth/signup", "ipto.signUp", "none", _sign_up_app),
    PublicAct("/api/app/v1/auth/login", "ipto.logIn", "password", _log_in),
    PublicAct("/api/browser/v1/auth/login", "ipto.logIn", "password", _log_in),
    PublicAct("/v1/auth/password/forgot", "ipto.requestPasswordReset", "none", _forgot),
    PublicAct(_TO_RESET, "ipto.resetPassword", "mailed-secret", _reset),
    PublicAct("/api/v1/me/verify-email/confirm", _CONFIRM, "mailed-secret", _verify),
    PublicAct("/resources/me/email/validate", _VALIDATE, "mailed-secret", _change),
    PublicAct("/oauth/token", "oauth.issueToken", "session", _exchange),
    PublicAct("/oauth/token", "oauth.issueToken", "refreshToken", _refresh),
    PublicAct("/verify-email", _CONFIRM, "mailed-secret", _verify),
    PublicAct("/verify-email", _CONFIRM, "mailed-secret", _again),
    PublicAct("/change-email", _VALIDATE, "mailed-secret", partial(_change, name="identity")),
    PublicAct("/resources/me/email/undo", _UNDO, "mailed-secret", _undo),
    PublicAct("/api/v1/me/verify-email/release", _RELEASE, "mailed-secret", _release),
    PublicAct("/undo-email-change", _UNDO, "mailed-secret", _undo),
    PublicAct("/release-email", _RELEASE, "mailed-secret", _release),
    PublicAct("/v1/auth/mfa/challenge", "ipto.completeLogIn", "password", _complete),
    PublicAct("/v1/me/restore", "ipto.restoreAccount", "mailed-secret", _restore),
    PublicAct("/restore", "ipto.restoreAccount", "mailed-secret", _restore),
    PublicAct("/reset-password", "ipto.requestPasswordReset", "none", _forgot),
    PublicAct("/reset-password", "ipto.resetPassword", "mailed-secret", _reset),
]
every_public_act = pytest.mark.parametrize(
    "act", PUBLIC_ACTS, ids=[f"{number}{act.path}" for number, act in enumerate(PUBLIC_ACTS)]
)


def test_every_public_act_is_covered():
    """AZ-07, attack finding 9: a new one, or a new page, is to be added here, and to ask."""
    paths = {act.path for act in PUBLIC_ACTS}
    operations = {
        name for name, spec in OPERATIONS.items() if spec.path in paths and spec.method == "post"
    }
    assert operations == OPERATIONS.keys() - OF_USERS.keys() - NOT_GOVERNED
    assert set(PAGES) <= paths
    declared = {
        (name, credential)
        for name, policy in public_acts(DOCUMENT).items()
        for credential in policy.credentials
    }
    assert {(act.action, act.credential) for act in PUBLIC_ACTS} == declared


@every_public_act
def test_public_act_asks_the_policies(act: PublicAct, service: Service):
    """AZ-07, attack finding 9: on its user, if it has one, and by what authenticates it."""
    account = service.account(anew=True)
    status, body = service.send(*act.request(service))
    assert status < 300, body
    assert service.questions
    for question in service.questions:
        assert (question.action, question.credential) == (act.action, act.credential)
        if act.credential == "none":
            assert question.subject == ANONYMOUS
        else:
            assert question.subject.user_id == account["user_id"]


@every_public_act
def test_denied_public_act_does_nothing(act: PublicAct, service: Service):
    """AZ-07, attack finding 9: the same secret, token or password succeeds once it is allowed."""
    service.account(anew=True)
    request = act.request(service)
    status, body = service.send(*request, policy=CLOSED)
    assert (status, b"Closed today." in body) == (403, True), body
    assert act.path in PAGES or b"policy_denied" in body
    status, body = service.send(*request)
    assert status < 300, body


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/auth/login", {"email": "{email}", "password": "Wrong lantern 92 estuary"}),
        ("/v1/auth/login", {"email": "unknown@example.com", "password": PASSWORD}),
        ("/api/app/v1/auth/login", {"email": "unknown@example.com", "password": PASSWORD}),
        ("/api/browser/v1/auth/login", {"email": "{email}", "password": "Wrong 92 estuary"}),
        (_TO_RESET, {"secret": tokens.mint(tokens.ONE_TIME_SECRET), "new_password": PASSWORD}),
    ],
    ids=["password", "address", "address at the app", "password at the browser", "secret"],
)
def test_denial_is_told_only_with_the_right_password_or_secret(
    path: str, fields: Mapping[str, str], service: Service
):
    """LG-01, AZ-07: otherwise it would show which addresses have an account."""
    email = service.account()["email"]
    values = {name: value.format(email=email) for name, value in fields.items()}
    act = PublicAct(path, "", "", lambda _: values)
    status, body = service.send(*act.request(service), policy=CLOSED)
    assert (status, service.questions) == (401 if "email" in fields else 400, [])
    assert b"Closed" not in body


@pytest.mark.parametrize("operation_id", sorted(NOT_GOVERNED))
def test_other_operations_ask_no_policy(operation_id: str, service: Service):
    """AZ-07: they act for no account, even if a credential is sent."""
    account = service.account()
    headers = by(account, CredentialKind.API_KEY)
    if OPERATIONS[operation_id].takes_client:
        headers = _basic(account)
    service.send(*_example(operation_id, headers), policy=CLOSED)
    assert service.steps[0] == Step("handles", operation_id)
    assert not service.questions


LOG_IN = PUBLIC_ACTS[1]


def _printed(name: str, page: Path) -> str:
    """Return the policy of this id as a page prints it."""
    blocks = re.findall(r"```cedar\n(.*?)```", page.read_text(), re.DOTALL)
    [block] = [block for block in blocks if f'@id("{name}")' in block]
    return str(block)


FREEZES = [
    pytest.param(DEFAULT / "README.md", id="policies"),
    pytest.param(DEFAULT.parent / "docs" / "operations.md", id="operations"),
]


@pytest.mark.parametrize("page", FREEZES)
@pytest.mark.parametrize(
    "act",
    [act for act in PUBLIC_ACTS if act.action == "ipto.resetPassword"],
    ids=lambda act: act.path,
)
def test_documented_freeze_freezes_resets(page: Path, act: PublicAct, service: Service):
    """AZ-07, attack finding 9: over HTTP and through the page, by the policy as printed."""
    freeze = _printed("maintenance-freeze", page)
    service.account(anew=True)
    request = act.request(service)
    status, body = service.send(*request, policy=freeze)
    assert (status, b"maintenance of 5 April" in body) == (403, True)
    assert service.send(*LOG_IN.request(service), policy=freeze)[0] == 200


ADDRESSES = [("10.1.2.3", 200), ("192.0.2.1", 403), ("2001:db8::1", 403), (None, 403)]


@pytest.mark.parametrize(("address", "status"), ADDRESSES)
def test_documented_policy_on_the_network_works(address: str | None, status: int, service: Service):
    """AZ-04, attack finding 9: in public acts and others; an unknown address is in no network."""
    account = service.account(anew=True)
    with service.database.transaction(writing=True) as session:
        session.core.execute(
            update(User).where(col(User.id) == account["user_id"]).values(is_platform_admin=True)
        )
    policy = _printed("admins-in-the-office", DEFAULT / "README.md")
    reading = _example("scaikey.getProfile", by(account, CredentialKind.SESSION))
    for scope, body in (reading, LOG_IN.request(service)):
        client = None if address is None else (address, 50000)
        answer = service.send({**scope, "client": client}, body, policy=policy)
        assert answer[0] == status, answer
    with service.database.transaction(writing=True) as session:
        session.core.execute(update(User).values(is_platform_admin=False))


@pytest.mark.parametrize(("amr", "status"), [("pwd", 403), ("pwd otp mfa", 200)])
def test_documented_policy_on_second_factors_works(amr: str, status: int, service: Service):
    """AZ-04, issue 20: the login itself, by the password, stays possible."""
    account = service.account(anew=True)
    with service.database.transaction(writing=True) as session:
        is_user = col(User.id) == account["user_id"]
        session.core.execute(update(User).where(is_user).values(is_platform_admin=True))
        session.core.execute(update(LoginSession).values(amr=amr))
    policy = _printed("admins-with-two-factors", DEFAULT / "README.md")
    reading = _example("scaikey.getProfile", by(account, CredentialKind.SESSION))
    assert service.send(*reading, policy=policy)[0] == status
    assert service.send(*LOG_IN.request(service), policy=policy)[0] == 200
    service.account(anew=True)


def test_documented_policy_on_verified_addresses_works(service: Service):
    """AZ-04, attack finding 9: `email_verified` is that of the moment."""
    account = service.account(anew=True)
    policy = _printed("verified-logins", DEFAULT / "README.md")
    request = LOG_IN.request(service)
    assert service.send(*request, policy=policy)[0] == 200
    with service.database.transaction(writing=True) as session:
        session.core.execute(
            update(User).where(col(User.id) == account["user_id"]).values(email_verified_at=None)
        )
    status, body = service.send(*request, policy=policy)
    assert (status, b"Confirm your email address first" in body) == (403, True)
    service.account(anew=True)


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
