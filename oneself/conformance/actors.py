"""Users that send requests: those of the credentials file, and newly signed-up ones."""

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
from oneself.conformance.timestamps import add_span, format_timestamp
from oneself.document import load_document

__all__ = ["PASSWORD", "Actor", "Actors", "NoOperator", "Operator"]

#: The password of every user who signs up here, from ipto's example.
PASSWORD = "s3cur3P@ssw0rd!"  # noqa: S105 # public: its users are made up
#: Half the lifetime of a JWT, so that it outlasts its row even on a slow machine.
_SECONDS_OF_A_JWT = 300
_SIGN_UP = {"display_name": "Alice Chen", "tenant_name": "Acme Corp", "password": PASSWORD}


class Operator(Protocol):
    """Acts outside HTTP: of an operator, of time, and of incoming mail."""

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply an act to a user, and return its results by name."""

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """Return the UUID of a tenant, which no dialect shows."""

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Return the newest email to a recipient with this subject, once there is one."""


class NoOperator:
    """A missing operator: only the address of the deployment is known."""

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 # the protocol's signature
        """Raise `Unreachable`."""
        raise Unreachable(f"it needs an operator: {name}")

    def find_tenant_uuid(self, tenant_id: str) -> str:  # noqa: ARG002 # as above
        """Raise `Unreachable`."""
        raise Unreachable("it needs an operator: UUID of a new tenant")

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:  # noqa: ARG002 # as above
        """Raise `Unreachable`."""
        raise Unreachable("it needs access to email")


class Actor(Mapping[str, Any]):
    """A user's data and credentials by name; missing credentials are created on access."""

    def __init__(
        self, deployment: Deployment, operator: Operator, values: Mapping[str, Any]
    ) -> None:
        self._deployment = deployment
        self._operator = operator
        self._values = dict(values)
        self._exchanged_at = 0.0

    def __getitem__(self, name: str) -> Any:
        if name == "jwt" and time.monotonic() > self._exchanged_at + _SECONDS_OF_A_JWT:
            # A JWT from the credentials file may be as old as the file.
            self._renew_jwt()
        if name not in self._values:
            if name not in _FACTORIES:
                raise Unreachable(f"the credentials have no {name}")
            self._values |= _parse(f"creating {name}", partial(_FACTORIES[name], self))
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with the session, and return the JSON body, or None if empty.

        Raises:
            Unreachable: It was rejected.
        """
        bearer = ("Authorization", f"Bearer {self['session_token']}")
        answer = self._deployment.ask(json_request(method, path, body, (bearer,)))
        _require_success(answer, f"{method} {path}")
        return answer.json() if answer.body else None

    def exchange(self) -> Any:
        """Exchange the session for a JWT with all scopes (RFC 8693).

        Raises:
            Unreachable: It was rejected.
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
        _require_success(answer, "POST /oauth/token")
        return answer.json()

    def forget(self, name: str) -> None:
        """Forget a credential, so that the next access creates a new one."""
        self._values.pop(name, None)

    def remember(self, values: Mapping[str, str]) -> None:
        """Record changed values."""
        self._values |= values

    def act(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Apply an act of the operator, or of time, to this user."""
        return self._operator.act(name, self["user_id"], arguments)

    def find_tenant_uuid(self) -> str:
        """Return the UUID of the user's tenant, which jitsudo requires and no dialect shows."""
        return self._operator.find_tenant_uuid(self["tenant_id"])

    def _renew_jwt(self) -> None:
        with suppress(Unreachable):  # fall back to the JWT of the file, if there is one
            self._values |= _parse("creating jwt", partial(_create_jwt, self))
        self._exchanged_at = time.monotonic()


def _require_success(answer: Answer, what: str) -> None:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Unreachable(f"{what}, which it needs, returns {answer.status}")


def _parse(what: str, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what `read` finds in a response.

    Raises:
        Unreachable: The response lacks it.
    """
    try:
        return read()
    except (LookupError, TypeError, ValueError):
        raise Unreachable(f"{what} returns a response without the needed values") from None


def _scopes(schema: str) -> list[str]:
    """Return the scopes that a schema of the document lists."""
    return list(load_document()["components"]["schemas"][schema]["enum"])


def _create_api_key(actor: Actor) -> Mapping[str, Any]:
    request_body = {"name": "everything", "scopes": _scopes("ApiKeyScope")}
    try:
        made = actor.ask("POST", "/v1/api-keys", request_body)
    except Unreachable:
        # The user may have reached the limit with keys that a fuzzer created.
        for each in actor.ask("GET", "/v1/api-keys")["data"]["items"]:
            actor.ask("DELETE", f"/v1/api-keys/{each['api_key_id']}")
        made = actor.ask("POST", "/v1/api-keys", request_body)
    return {"api_key": made["data"]["key"]}


def _create_pat(actor: Actor) -> Mapping[str, Any]:
    request_body = {
        "name": "everything",
        "scopes": sorted(_scopes("Scope")),
        "expiresAt": format_timestamp(add_span(datetime.now(UTC), "+30d")),
        "clientId": actor["client_id"],
        "clientSecret": actor["client_secret"],
    }
    try:
        made = actor.ask("POST", "/resources/me/pat", request_body)
    except Unreachable:
        for each in actor.ask("GET", "/resources/me/pat"):
            actor.ask("DELETE", f"/resources/me/pat/{each['id']}")
        made = actor.ask("POST", "/resources/me/pat", request_body)
    return {"pat": made["token"]}


def _create_jwt(actor: Actor) -> Mapping[str, Any]:
    answer = actor.exchange()
    return {"jwt": answer["access_token"], "refresh_token": answer["refresh_token"]}


def _join_client(actor: Actor) -> Mapping[str, Any]:
    return {"client": f"{actor['client_id']}:{actor['client_secret']}"}


def _create_session(actor: Actor) -> Mapping[str, Any]:
    body = {"email": actor["email"], "password": actor["password"]}
    answer = actor._deployment.ask(json_request("POST", "/v1/auth/login", body))  # noqa: SLF001 # part of the same class
    _require_success(answer, "POST /v1/auth/login")
    return {"session_token": answer.json()["data"]["session_token"]}


def _find_access_token(actor: Actor) -> Mapping[str, Any]:
    return {"access_token": actor.ask("GET", "/api/users/me/token/")["access_token"]}


_FACTORIES: Mapping[str, Callable[[Actor], Mapping[str, Any]]] = {
    "access_token": _find_access_token,
    "api_key": _create_api_key,
    "client": _join_client,
    "client_id": lambda actor: actor.act("add client"),
    "client_secret": lambda actor: actor.act("add client"),
    "identity_id": lambda actor: {"identity_id": actor.ask("GET", "/resources/me/profile")["id"]},
    "jwt": _create_jwt,
    "pat": _create_pat,
    "refresh_token": _create_jwt,
    "session_token": _create_session,
    "tenant_uuid": lambda actor: {"tenant_uuid": actor.find_tenant_uuid()},
}


class Actors:
    """The users of a deployment."""

    def __init__(self, deployment: Deployment, operator: Operator | None = None) -> None:
        self._deployment = deployment
        self._operator: Operator = operator or NoOperator()
        self._values = {
            name: Actor(deployment, self._operator, values)
            for name, values in deployment.actors.items()
        }

    @property
    def operator(self) -> Operator:
        """The operator of the deployment."""
        return self._operator

    def find(self, name: str) -> Actor:
        """Return a user of the credentials file.

        Raises:
            Unreachable: It has no such user.
        """
        if name not in self._values:
            raise Unreachable(f"the credentials have no user {name}")
        return self._values[name]

    def sign_up(self, **chosen: str) -> Actor:
        """Sign up a new user, with a tenant.

        Raises:
            Unreachable: Signup is closed, or rate limited.
        """
        body = {"email": f"fresh.{secrets.token_hex(8)}@example.com", **_SIGN_UP, **chosen}
        answer = self._deployment.ask(json_request("POST", "/v1/auth/signup", body))
        _require_success(answer, "POST /v1/auth/signup")
        made = _parse("POST /v1/auth/signup", lambda: {**body, **answer.json()["data"]})
        return Actor(self._deployment, self._operator, made)
