"""Each request that the document shows is sent as it is shown, two years from now.

The application, the document that it serves and its accounts share a clock that is two years ahead.
Every example must get the success that the document promises. `_LIVE` lists what cannot be sent as
it is, because it belongs to one account: secrets, tokens and ids.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from oneself.document import METHODS, load_document, resolve
from oneself_conformance.cases.request_building import PICTURE, credential_header
from oneself_conformance.http_client import FORM, Request
from oneself_conformance.operations import OPERATIONS
from tests.support.authenticator import code_at
from tests.support.databases import Storage
from tests.support.in_process import InProcess, open_application
from tests.support.operator_acts import OperatorActs

_AHEAD = timedelta(days=730)
#: Credentials other than a session; that of a client is sent by HTTP Basic.
_CLIENT, _API_KEY, _PAT = "client", "api_key", "pat"
_KINDS = {_CLIENT, _API_KEY, _PAT}


class _Call(NamedTuple):
    """An operation, or an alias of one, with one media type of its body, if it has a body."""

    path: str
    method: str
    operation_id: str
    media: str | None

    def __str__(self) -> str:
        return f"{self.operation_id}-{(self.media or 'bodiless').rpartition('/')[2]}"


_CALLS = [
    _Call(path, method, operation["operationId"], media)
    for path, item in load_document()["paths"].items()
    for method, operation in item.items()
    if method in METHODS
    for media in (operation.get("requestBody", {}).get("content") or {None: {}})
]


class _Story:
    """The application with an operator, and accounts that are opened as the document shows it."""

    def __init__(self, app: InProcess) -> None:
        self.app = app
        self.operator = OperatorActs(app)
        self.document = json.loads(app.ask(Request("GET", "/openapi.json")).body)
        self.signed_up = self.open_account()

    def ask(
        self, method: str, path: str, body: object = None, *, token: str = "", tenant: str = ""
    ) -> Any:
        """Send a request that prepares another, and return the JSON of its success."""
        headers = (("Authorization", f"Bearer {token}"),) if token else ()
        if tenant:
            headers = (*headers, ("X-Tenant-ID", tenant))
        if body is not None:
            headers = (*headers, ("Content-Type", "application/json"))
        content = b"" if body is None else json.dumps(body).encode()
        answer = self.app.ask(Request(method, path, headers, content))
        assert answer.status < HTTPStatus.BAD_REQUEST, (path, answer.body)
        return json.loads(answer.body) if answer.body else None

    def open_account(self, **live: str) -> "_Account":
        """Send the example of a signup, with live values in it."""
        body = self.example("/v1/auth/signup") | live
        return _Account(self, body["email"], self.ask("POST", "/v1/auth/signup", body)["data"])

    def example(self, path: str) -> dict[str, Any]:
        contents = self.document["paths"][path]["post"]["requestBody"]["content"]
        example: dict[str, Any] = contents["application/json"]["example"]
        return example


class _Account:
    """An account of the story, and what exists in it only at run time."""

    def __init__(self, story: _Story, email: str, signed_up: Mapping[str, str]) -> None:
        self.story = story
        self.email = email
        self.user_id, self.token = signed_up["user_id"], signed_up["session_token"]
        self._tenant_id = signed_up["tenant_id"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        return self.story.ask(method, path, body, token=self.token)

    def ask_of_tenant(self, method: str, path: str, body: object = None) -> Any:
        return self.story.ask(method, path, body, token=self.token, tenant=self.tenant_uuid())

    @property
    def password(self) -> str:
        return str(self.story.example("/v1/auth/signup")["password"])

    def mailed_secret(self, subject: str, *, to: str | None = None) -> str:
        return self.story.operator.wait_for_mail(to or self.email, subject)["secret"]

    def add_client(self) -> Mapping[str, str]:
        return self.story.operator.act("add client", self.user_id, {})

    def tenant_uuid(self) -> str:
        return self.story.operator.find_tenant_uuid(self._tenant_id)

    def request_email_change(self, email: str) -> Mapping[str, str]:
        change: Mapping[str, str] = self.ask("POST", "/resources/me/email/change", {"email": email})
        return change

    def change_email(self) -> str:
        """Complete a change of the address, and return the new one, which is not verified."""
        change = self.request_email_change(f"new.{secrets.token_hex(8)}@example.com")
        proof = {name: change[name] for name in ("identityId", "secret")}
        self.ask("POST", "/resources/me/email/validate", proof)
        return change["email"]

    def issue_tokens(self, client: Mapping[str, str]) -> Mapping[str, str]:
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self.token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        headers = (credential_header("client", client["client"]), ("Content-Type", FORM))
        request = Request("POST", "/oauth/token", headers, urlencode(fields).encode())
        tokens: Mapping[str, str] = json.loads(self.story.app.ask(request).body)
        return tokens


Live = Mapping[str, str]


def _reset(account: _Account) -> Live:
    account.story.ask("POST", "/v1/auth/password/forgot", {"email": account.email})
    return {"secret": account.mailed_secret("Reset your password")}


def _verify(account: _Account) -> Live:
    account.ask("POST", "/api/v1/me/verify-email")
    return {"secret": account.mailed_secret("Verify your email address")}


def _release(account: _Account) -> Live:
    new = account.change_email()
    return {"secret": account.mailed_secret("Verify your email address", to=new)}


def _validate(account: _Account) -> Live:
    change = account.request_email_change(f"new.{secrets.token_hex(8)}@example.com")
    return {name: change[name] for name in ("identityId", "secret")}


def _undo(account: _Account) -> Live:
    account.change_email()
    return {"secret": account.mailed_secret("Your email address is about to change")}


def _session(account: _Account) -> Live:
    listed = account.ask("GET", "/v1/me/sessions")
    return {"session_id": listed["data"]["items"][0]["session_id"]}


def _api_key(account: _Account) -> Live:
    body = {"name": "CI", "scopes": ["me/profile:read"]}
    return {"api_key_id": account.ask("POST", "/v1/api-keys", body)["data"]["api_key_id"]}


def _pat_client(account: _Account) -> Live:
    client = account.add_client()
    return {"clientId": client["client_id"], "clientSecret": client["client_secret"]}


def _own_api_key(account: _Account) -> Live:
    body = {"name": "CI", "scopes": ["me/profile:read"]}
    return {_API_KEY: account.ask("POST", "/v1/api-keys", body)["data"]["key"]}


def _create_pat(account: _Account, **fields: Any) -> Mapping[str, Any]:
    example = account.story.document["paths"]["/resources/me/pat"]["post"]["requestBody"]
    body = example["content"]["application/json"]["example"] | _pat_client(account) | fields
    created: Mapping[str, Any] = account.ask("POST", "/resources/me/pat", body)
    return created


def _pat(account: _Account) -> Live:
    return {"id": _create_pat(account)["id"]}


def _rotating_pat(account: _Account) -> Live:
    return {_PAT: _create_pat(account, scopes=["me/pat:rotate"])["token"]}


def _own_pat(account: _Account) -> Live:
    return {_PAT: _create_pat(account)["token"]}


def _cursor(account: _Account) -> Live:
    # The signup is the first event, and this change the second.
    account.ask("POST", "/v1/api-keys", {"name": "CI", "scopes": ["me/profile:read"]})
    return {"cursor": account.ask("GET", "/v1/me/events?limit=1")["data"]["next_cursor"]}


def _device(account: _Account) -> Live:
    paths = account.story.document["paths"]
    post = paths["/api/v1/users/me/devices/"]["post"]["requestBody"]
    body = post["content"]["application/json"]["example"]
    account.token = account.ask("POST", "/api/v1/users/me/devices/", body)["access_token"]
    return {}  # its id is the one of the example


def _picture(account: _Account) -> Live:
    headers = (("Authorization", f"Bearer {account.token}"), ("Content-Type", "image/png"))
    account.story.app.ask(Request("PUT", "/resources/me/profile/picture", headers, PICTURE))
    return {}


def _exchange(account: _Account) -> Live:
    return {"subject_token": account.token, _CLIENT: account.add_client()["client"]}


def _jwt(account: _Account) -> Live:
    client = account.add_client()
    return {"token": account.issue_tokens(client)["access_token"], _CLIENT: client["client"]}


def _refresh_token(account: _Account) -> Live:
    client = account.add_client()
    return {"token": account.issue_tokens(client)["refresh_token"], _CLIENT: client["client"]}


def _tenant(account: _Account) -> Live:
    return {"X-Tenant-ID": account.tenant_uuid()}


def _app(account: _Account) -> Live:
    """Add an authenticator app that waits to be confirmed."""
    enrolled = account.ask_of_tenant("POST", "/v1/users/me/mfa/totp")
    return {"code": code_at(enrolled["secret"], datetime.now(UTC) + _AHEAD), **_tenant(account)}


def _factor(account: _Account) -> Live:
    """Put an authenticator app in force; returns its id and a recovery code."""
    code = _app(account)["code"]
    body = {"code": code, "password": account.password}
    codes = account.ask_of_tenant("POST", "/v1/users/me/mfa/totp/confirm", body)["codes"]
    [method] = account.ask_of_tenant("GET", "/v1/users/me/mfa")["methods"]
    return {"id": method["id"], "code": codes[0]}


def _own_factor(account: _Account) -> Live:
    return {"id": _factor(account)["id"], **_tenant(account)}


def _with_codes(account: _Account) -> Live:
    _factor(account)
    return _tenant(account)


def _challenge(account: _Account) -> Live:
    code = _factor(account)["code"]
    body = {"email": account.email, "password": account.password}
    challenge = account.story.ask("POST", "/v1/auth/login", body)["data"]["challenge_id"]
    return {"challenge_id": challenge, "code": code}


def _restore(account: _Account) -> Live:
    account.ask("DELETE", "/v1/me")
    return {"secret": account.mailed_secret("Your account was deleted")}


def _another_address(_account: _Account) -> Live:
    return {"email": f"other.{secrets.token_hex(8)}@example.com"}


#: For each operation that needs them: what must exist, and the values that replace those shown.
_LIVE: Mapping[str, Callable[[_Account], Live]] = {
    # The address of the example is that of the account which `ipto.signUp` opened.
    "hyperclast.signUp": _another_address,
    "hyperclast.signUpBrowser": _another_address,
    "ipto.resetPassword": _reset,
    "ipto.revokeSession": _session,
    "ipto.listEvents": _cursor,
    "ipto.revokeApiKey": _api_key,
    "ipto.getOwnApiKey": _own_api_key,
    "hyperclast.updateDevice": _device,
    "hyperclast.revokeDevice": _device,
    "scaikey.confirmEmailVerification": _verify,
    "scaikey.releaseEmail": _release,
    "hantera.getPicture": _picture,
    "hantera.validateEmailChange": _validate,
    "hantera.undoEmailChange": _undo,
    "hantera.createPat": _pat_client,
    "hantera.getPat": _pat,
    "hantera.getOwnPat": _own_pat,
    "hantera.revokePat": _pat,
    "ipto.completeLogIn": _challenge,
    "ipto.restoreAccount": _restore,
    "jitsudo.listMfaMethods": _tenant,
    "jitsudo.enrolTotp": _tenant,
    "jitsudo.confirmTotp": _app,
    "jitsudo.removeMfaMethod": _own_factor,
    "jitsudo.regenerateBackupCodes": _with_codes,
    "hantera.rotatePat": _pat,
    "hantera.rotateOwnPat": _rotating_pat,
    "jitsudo.changePassword": _tenant,
    "jitsudo.getUserProfile": _tenant,
    "jitsudo.updateUserProfile": _tenant,
    "oauth.issueToken": _exchange,
    "oauth.introspectToken": _jwt,
    "oauth.revokeToken": _refresh_token,
}


@pytest.fixture(scope="module")
def story(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Story]:
    folder = tmp_path_factory.mktemp("story")
    with open_application(storage, folder, clock=lambda: datetime.now(UTC) + _AHEAD) as app:
        opened = _Story(app)
        yield opened
        opened.operator.close()


@pytest.mark.parametrize("call", _CALLS, ids=str)
def test_published_example_succeeds_two_years_on(story: _Story, call: _Call):
    """Contract F9: unchanged but for the values of `_LIVE`."""
    served = story.document["paths"][call.path][call.method]
    name = served.get("x-alias-of", call.operation_id)
    if name == "ipto.signUp":
        return  # sent as it is shown when the story began
    account = (
        story.signed_up
        if name in {"ipto.logIn", "ipto.requestPasswordReset"}
        else story.open_account(email=f"alice.{secrets.token_hex(8)}@example.com")
    )
    live = _LIVE.get(name, lambda _: {})(account)
    answer = story.app.ask(_build_request(story.document, call, account.token, live))
    assert answer.status == min(map(int, served["responses"])), answer.body


def _build_request(document: Mapping[str, Any], call: _Call, token: str, live: Live) -> Request:
    """Build the request that the document shows, with the live values in it."""
    item = document["paths"][call.path]
    served = item[call.method]
    parameters = [
        resolve(document, each)
        for each in (*item.get("parameters", ()), *served.get("parameters", ()))
    ]
    shown = {
        place: {each["name"]: each["example"] for each in parameters if each["in"] == place}
        for place in ("path", "query", "header")
    }
    if call.media is not None:
        shown["body"] = served["requestBody"]["content"][call.media].get("example", {})
    replaced = {name for values in shown.values() for name in values} & {*live}
    [other] = {*live} & _KINDS or {None}
    assert replaced == {*live} - _KINDS, "each live value replaces one that is shown"
    sent = {
        place: {name: live.get(name, value) for name, value in values.items()}
        for place, values in shown.items()
    }
    headers = [(name, str(value)) for name, value in sent["header"].items()]
    if other is not None:
        headers.append(credential_header(other, live[other]))
    elif served["security"]:
        headers.append(credential_header("session", token))
    else:
        headers.append(("Sec-Fetch-Site", "same-origin"))  # a login that sets a cookie needs it
    target = call.path.format_map({name: quote(value) for name, value in sent["path"].items()})
    if sent["query"]:
        target = f"{target}?{urlencode(sent['query'])}"
    body = b""
    if call.media is not None:
        headers.append(("Content-Type", call.media))
        is_picture = call.media.startswith("image/")
        serialise = urlencode if call.media == FORM else json.dumps
        body = PICTURE if is_picture else serialise(sent["body"]).encode()
    return Request(call.method.upper(), target, tuple(headers), body)


def test_live_values_belong_to_operations():
    assert {*_LIVE} <= {*OPERATIONS}
