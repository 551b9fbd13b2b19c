"""The people who ask: those whom a deployment knows, and new ones where something changes."""

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from oneself.conformance.deployment import Deployment, Unreachable
from oneself.conformance.http_client import Answer, form_request, json_request
from oneself.conformance.rows.matching import after, write
from oneself.document import load_document

__all__ = ["PASSWORD", "Actor", "Actors", "NoOperator", "Operator"]

#: The password of everybody who signs up here: the current one of ipto's example.
PASSWORD = "s3cur3P@ssw0rd!"  # noqa: S105 # anybody may know it: whoever has it is made up
#: Half of what a JWT has: one that is handed out must outlast its row, on a slow machine too.
_SECONDS_OF_A_JWT = 300
_SIGN_UP = {"display_name": "Alice Chen", "tenant_name": "Acme Corp", "password": PASSWORD}


class Operator(Protocol):
    """What happens to an account without HTTP: an operator acts, time passes, mail arrives."""

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do the act of this name to a user; what comes of it is by name too."""

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """The UUID of a tenant, which no dialect shows."""

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """The newest mail to somebody with this subject, as soon as there is one."""


class NoOperator:
    """Nobody beside the deployment, as for anyone who knows only its address."""

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 # whatever is asked for
        """Refuse, since there is nobody to do it."""
        message = f"an operator has to act: {name}"
        raise Unreachable(message)

    def find_tenant_uuid(self, tenant_id: str) -> str:  # noqa: ARG002 # as above
        """Refuse, since there is nobody to tell."""
        message = "an operator has to tell the UUID of a new tenant"
        raise Unreachable(message)

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:  # noqa: ARG002 # as above
        """Refuse, since there is nobody to read it."""
        message = "mail has to be read"
        raise Unreachable(message)


class Actor(Mapping[str, Any]):
    """What is known of one person by name; credentials are made when somebody asks for them."""

    def __init__(
        self, deployment: Deployment, operator: Operator, known: Mapping[str, Any]
    ) -> None:
        self._deployment = deployment
        self._operator = operator
        self._known = dict(known)
        self._exchanged_at = 0.0

    def __getitem__(self, name: str) -> Any:
        if name == "jwt" and time.monotonic() > self._exchanged_at + _SECONDS_OF_A_JWT:
            # One that came with the person may be as old as the file that it stands in.
            self._renew_jwt()
        if name not in self._known:
            if name not in _MAKERS:
                message = f"the credentials name no {name}"
                raise Unreachable(message)
            self._known |= _read(f"what makes {name}", partial(_MAKERS[name], self))
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask with the session, and give what is answered as JSON; None where it is nothing.

        Raises:
            OutOfReach: It is refused.
        """
        bearer = ("Authorization", f"Bearer {self['session_token']}")
        answer = self._deployment.ask(json_request(method, path, body, (bearer,)))
        _see_that_it_is_good(answer, f"{method} {path}")
        return answer.json() if answer.body else None

    def exchange(self) -> Any:
        """Exchange the session for a JWT of everything (RFC 8693).

        Raises:
            OutOfReach: It is refused.
        """
        basic = base64.b64encode(self["client"].encode()).decode()
        request = form_request(
            "/oauth/token",
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": self["session_token"],
                "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            },
            (("Authorization", f"Basic {basic}"),),
        )
        answer = self._deployment.ask(request)
        _see_that_it_is_good(answer, "POST /oauth/token")
        return answer.json()

    def forget(self, name: str) -> None:
        """Forget a credential, so that the next one asked for is made anew."""
        self._known.pop(name, None)

    def learn(self, known: Mapping[str, str]) -> None:
        """Take note of what has changed."""
        self._known |= known

    def act(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Let an operator, or time, do something to this person."""
        return self._operator.act(name, self["user_id"], arguments)

    def find_tenant_uuid(self) -> str:
        """The UUID of the person's tenant, which jitsudo asks for and no dialect tells."""
        return self._operator.find_tenant_uuid(self["tenant_id"])

    def _renew_jwt(self) -> None:
        with suppress(Unreachable):  # then the one in the file, if there is one, has to do
            self._known |= _read("what makes jwt", partial(_make_jwt, self))
        self._exchanged_at = time.monotonic()


def _see_that_it_is_good(answer: Answer, what: str) -> None:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        message = f"{what}, which makes what is needed, answers {answer.status}"
        raise Unreachable(message)


def _read(what: str, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What somebody is to be given, if the deployment answers with it."""
    try:
        return read()
    except (LookupError, TypeError, ValueError):
        message = f"{what} answers without what is needed"
        raise Unreachable(message) from None


def _scopes(schema: str) -> list[str]:
    """What there is to ask for, as a schema of the document lists it."""
    return list(load_document()["components"]["schemas"][schema]["enum"])


def _make_api_key(person: Actor) -> Mapping[str, Any]:
    wanted = {"name": "everything", "scopes": _scopes("ApiKeyScope")}
    try:
        made = person.ask("POST", "/v1/api-keys", wanted)
    except Unreachable:
        # It may have as many as it may have, of those that a fuzzer has made.
        for each in person.ask("GET", "/v1/api-keys")["data"]["items"]:
            person.ask("DELETE", f"/v1/api-keys/{each['api_key_id']}")
        made = person.ask("POST", "/v1/api-keys", wanted)
    return {"api_key": made["data"]["key"]}


def _make_pat(person: Actor) -> Mapping[str, Any]:
    wanted = {
        "name": "everything",
        "scopes": sorted(_scopes("Scope")),
        "expiresAt": write(after(datetime.now(UTC), "+30d")),
        "clientId": person["client_id"],
        "clientSecret": person["client_secret"],
    }
    try:
        made = person.ask("POST", "/resources/me/pat", wanted)
    except Unreachable:
        for each in person.ask("GET", "/resources/me/pat"):
            person.ask("DELETE", f"/resources/me/pat/{each['id']}")
        made = person.ask("POST", "/resources/me/pat", wanted)
    return {"pat": made["token"]}


def _make_jwt(person: Actor) -> Mapping[str, Any]:
    answer = person.exchange()
    return {"jwt": answer["access_token"], "refresh_token": answer["refresh_token"]}


def _join_client(person: Actor) -> Mapping[str, Any]:
    return {"client": f"{person['client_id']}:{person['client_secret']}"}


def _make_session(person: Actor) -> Mapping[str, Any]:
    body = {"email": person["email"], "password": person["password"]}
    answer = person._deployment.ask(json_request("POST", "/v1/auth/login", body))  # noqa: SLF001 # they are one
    _see_that_it_is_good(answer, "POST /v1/auth/login")
    return {"session_token": answer.json()["data"]["session_token"]}


def _find_access_token(person: Actor) -> Mapping[str, Any]:
    return {"access_token": person.ask("GET", "/api/users/me/token/")["access_token"]}


_MAKERS: Mapping[str, Callable[[Actor], Mapping[str, Any]]] = {
    "access_token": _find_access_token,
    "api_key": _make_api_key,
    "client": _join_client,
    "client_id": lambda person: person.act("add client"),
    "client_secret": lambda person: person.act("add client"),
    "identity_id": lambda person: {"identity_id": person.ask("GET", "/resources/me/profile")["id"]},
    "jwt": _make_jwt,
    "pat": _make_pat,
    "refresh_token": _make_jwt,
    "session_token": _make_session,
    "tenant_uuid": lambda person: {"tenant_uuid": person.find_tenant_uuid()},
}


class Actors:
    """Everybody whom one deployment knows."""

    def __init__(self, deployment: Deployment, operator: Operator | None = None) -> None:
        self._deployment = deployment
        self._operator: Operator = operator or NoOperator()
        self._known = {
            name: Actor(deployment, self._operator, known)
            for name, known in deployment.people.items()
        }

    @property
    def operator(self) -> Operator:
        """Whoever acts beside the deployment."""
        return self._operator

    def find(self, name: str) -> Actor:
        """One of those whom the credentials name.

        Raises:
            OutOfReach: They name nobody like this.
        """
        if name not in self._known:
            message = f"the credentials name no {name}"
            raise Unreachable(message)
        return self._known[name]

    def sign_up(self, **chosen: str) -> Actor:
        """Somebody new, in a tenant of their own.

        Raises:
            OutOfReach: The deployment lets nobody sign up, or not so many.
        """
        body = {"email": f"fresh.{secrets.token_hex(8)}@example.com", **_SIGN_UP, **chosen}
        answer = self._deployment.ask(json_request("POST", "/v1/auth/signup", body))
        _see_that_it_is_good(answer, "POST /v1/auth/signup")
        made = _read("POST /v1/auth/signup", lambda: {**body, **answer.json()["data"]})
        return Actor(self._deployment, self._operator, made)
