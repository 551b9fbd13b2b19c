"""Users that send requests: those of the credentials file, and newly signed-up ones."""

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from oneself_conformance.document import load_document
from oneself_conformance.http_client import form_request, json_request
from oneself_conformance.recipe import perform
from oneself_conformance.targets import Deployment, Unreachable, require_success
from oneself_conformance.timestamps import add_span, format_timestamp

__all__ = [
    "API_KEYS", "PASSWORD", "PATS", "Actor", "Actors", "Operator", "create_session", "with_client",
]  # fmt: skip

#: The password of every user who signs up here, from ipto's example.
PASSWORD = "s3cur3P@ssw0rd!"  # noqa: S105 # public: its users are made up
#: The collections of a user's API keys and personal access tokens.
API_KEYS, PATS = "/v1/api-keys", "/resources/me/pat"
#: Half the lifetime of a JWT, so that it outlasts its row even on a slow machine.
_SECONDS_OF_A_JWT = 300
_SIGN_UP = {"display_name": "Alice Chen", "tenant_name": "Acme Corp", "password": PASSWORD}


class Operator:
    """Acts outside HTTP: of an operator, of time, and of incoming mail.

    This one knows only the address of the deployment, so all of its methods raise `Unreachable`.
    """

    is_available = False

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 # for overriding
        """Apply an act to a user, and return its results by name."""
        raise Unreachable(f"it needs an operator: {name}")

    def add_user(self, fields: Mapping[str, str]) -> Mapping[str, Any]:  # noqa: ARG002 # as above
        """Create a user, and return its credentials."""
        raise Unreachable("its user has to sign up; a recipe with `sign_up` says how")

    def find_tenant_uuid(self, tenant_id: str) -> str:  # noqa: ARG002 # as above
        """Return the UUID of a tenant, which no dialect shows."""
        raise Unreachable("it needs an operator: UUID of a new tenant")

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:  # noqa: ARG002 # as above
        """Return the newest email to a recipient with this subject, once there is one."""
        raise Unreachable("it needs access to email")


class Actor(Mapping[str, Any]):
    """A user's data and credentials by name; missing credentials are created on access."""

    def __init__(
        self,
        deployment: Deployment,
        operator: Operator,
        values: Mapping[str, Any],
        name: str = "fresh",
    ) -> None:
        self.deployment = deployment
        self.name = name
        self._operator = operator
        self._values = dict(values)
        self._exchanged_at = 0.0
        deployment.mask.add(name, values)

    def __getitem__(self, name: str) -> Any:
        if (
            name == "jwt"
            and not self.deployment.is_foreign
            and time.monotonic() > self._exchanged_at + _SECONDS_OF_A_JWT
        ):
            # A JWT from the credentials file may be as old as the file.
            with suppress(Unreachable):  # fall back to the JWT of the file, if there is one
                self._values |= _parse("creating jwt", partial(_create_jwt, self))
            self._exchanged_at = time.monotonic()
        if name not in self._values:
            self.remember(_parse(f"creating {name}", partial(self._create, name)))
        return self._values[name]

    def _create(self, name: str) -> Mapping[str, Any]:
        """Create a credential by the recipe, or by our own operations."""
        recipe = self.deployment.recipe
        step = recipe.log_in if name == "session_token" else recipe.obtain.get(name)
        if step is not None:
            return perform(step, self.deployment.ask, self.__getitem__, require_success)
        # Hyperclast's page has the operation that returns the token to a session.
        is_own = name == "access_token" and ("session_token" in self or recipe.log_in is not None)
        if name not in _FACTORIES or (self.deployment.is_foreign and not is_own):
            raise Unreachable(f"the credentials have no {name}")
        return _FACTORIES[name](self)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values  # a missing credential is not created to find out

    def __len__(self) -> int:
        return len(self._values)

    @property
    def is_spare(self) -> bool:
        """True if the user of the file is for any row that needs one of its own."""
        return self.name.startswith("spare_")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request with the session, and return the body, as `Deployment.ask_json`."""
        token = self["session_token"]
        by_recipe = self.deployment.recipe.headers("session", token, self)
        headers = by_recipe or [("Authorization", f"Bearer {token}")]
        return self.deployment.ask_json(json_request(method, path, body, tuple(headers)))

    def delete_all(self, path: str) -> None:
        """Delete all API keys or tokens of the user, because their number is limited."""
        items = self.ask("GET", path)
        for each in items["data"]["items"] if path == API_KEYS else items:
            item_id = each["api_key_id" if path == API_KEYS else "id"]
            with suppress(Unreachable):
                self.ask("DELETE", f"{path}/{item_id}")

    def forget(self, name: str) -> None:
        """Forget a credential, so that the next access creates a new one."""
        self._values.pop(name, None)

    def remember(self, values: Mapping[str, Any]) -> None:
        """Record changed values."""
        self._values |= values
        self.deployment.mask.add(self.name, values)

    def act(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Apply an act of the operator, or of time, to this user."""
        if name == "add client" and not self._operator.is_available:
            return self._prepared_client(**arguments)
        outcome = self._operator.act(name, self["user_id"], arguments)
        self.deployment.mask.learn_from(outcome)
        return outcome

    def _prepared_client(
        self, *, scopes: Sequence[str] = (), audiences: Sequence[str] = (), public: bool = False
    ) -> Mapping[str, Any]:
        """Return the client of a spare user that has these properties."""
        traits = {"narrow": scopes, "audience": audiences, "public": public}
        # One without special properties is another than the user's own.
        named = [name for name, has in traits.items() if has] or ["other"]
        prefix = "".join(f"{name}_" for name in named)
        if f"{prefix}client_id" not in self:
            raise Unreachable("it needs an operator: add client, or spare users in the credentials")
        names = ("client_id", "client_secret")
        return with_client({name: self._values.get(f"{prefix}{name}") for name in names})

    def find_tenant_uuid(self) -> str:
        """Return the UUID of the user's tenant, which jitsudo requires and no dialect shows."""
        return self._operator.find_tenant_uuid(self["tenant_id"])


def with_client(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the id and the secret of a client in the forms in which they are sent."""
    if "client_id" not in results:
        return results
    client_id, secret = results["client_id"], results["client_secret"]
    # Percent-encode every character, which form encoding allows.
    encoded = ("".join(f"%{ord(char):02X}" for char in part) for part in (client_id, secret or ""))
    return {**results, "client": f"{client_id}:{secret}", "client_encoded": ":".join(encoded)}


def _parse(what: str, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the values that `read` finds in a response, or raise `Unreachable`."""
    try:
        return read()
    except (LookupError, TypeError, ValueError):
        raise Unreachable(f"{what} returns a response without the needed values") from None


def _scopes(schema: str) -> list[str]:
    """Return the scopes that a schema of the document lists."""
    return list(load_document()["components"]["schemas"][schema]["enum"])


def _create(actor: Actor, path: str, **fields: Any) -> Any:
    """Create an API key or a token with all scopes."""
    body = {"name": "everything", **fields}
    try:
        return actor.ask("POST", path, body)
    except Unreachable:
        # The user may have reached the limit with those that a fuzzer created.
        actor.delete_all(path)
        return actor.ask("POST", path, body)


def _create_api_key(actor: Actor) -> Mapping[str, Any]:
    made = _create(actor, API_KEYS, scopes=_scopes("ApiKeyScope"))
    return {"api_key": made["data"]["key"]}


def _create_pat(actor: Actor) -> Mapping[str, Any]:
    made = _create(
        actor,
        PATS,
        scopes=sorted(_scopes("Scope")),
        expiresAt=format_timestamp(add_span(datetime.now(UTC), "+30d")),
        clientId=actor["client_id"],
        clientSecret=actor["client_secret"],
    )
    return {"pat": made["token"]}


def _create_jwt(actor: Actor) -> Mapping[str, Any]:
    """Exchange the session for a JWT with all scopes (RFC 8693)."""
    basic = base64.b64encode(actor["client"].encode()).decode()
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": actor["session_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    request = form_request("/oauth/token", fields, (("Authorization", f"Basic {basic}"),))
    made = actor.deployment.ask_json(request)
    return {"jwt": made["access_token"], "refresh_token": made["refresh_token"]}


def create_session(actor: Actor) -> Mapping[str, Any]:
    """Log in with our own operation."""
    body = {"email": actor["email"], "password": actor["password"]}
    made = actor.deployment.ask_json(json_request("POST", "/v1/auth/login", body))
    return {"session_token": made["data"]["session_token"]}


_FACTORIES: Mapping[str, Callable[[Actor], Mapping[str, Any]]] = {
    "access_token": lambda actor: {
        "access_token": actor.ask("GET", "/api/users/me/token/")["access_token"]
    },
    "api_key": _create_api_key,
    "client": lambda actor: {"client": f"{actor['client_id']}:{actor['client_secret']}"},
    "client_id": lambda actor: actor.act("add client"),
    "client_secret": lambda actor: actor.act("add client"),
    "identity_id": lambda actor: {"identity_id": actor.ask("GET", "/resources/me/profile")["id"]},
    "jwt": _create_jwt,
    "pat": _create_pat,
    "refresh_token": _create_jwt,
    "session_token": create_session,
    "tenant_uuid": lambda actor: {"tenant_uuid": actor.find_tenant_uuid()},
}


class Actors:
    """The users of a deployment."""

    def __init__(self, deployment: Deployment, operator: Operator | None = None) -> None:
        self._deployment = deployment
        self.operator = operator or Operator()
        self._values = {
            name: Actor(deployment, self.operator, values, name)
            for name, values in deployment.actors.items()
        }

    @property
    def names(self) -> list[str]:
        """The names of the users of the credentials file."""
        return [*self._values]

    def original(self, name: str) -> Mapping[str, Any]:
        """Return the data of a user as the credentials file has them."""
        return self._deployment.actors[name]

    def find(self, name: str) -> Actor:
        """Return a user of the credentials file, or raise `Unreachable`."""
        if name not in self._values:
            raise Unreachable(f"the credentials have no user {name}")
        return self._values[name]

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Return the newest email to a recipient with this subject, once there is one."""
        mail = self.operator.wait_for_mail(recipient, subject)
        self._deployment.mask.learn_from(mail)
        return mail

    def sign_up(self, **chosen: str) -> Actor:
        """Sign up a new user, with a tenant; raise `Unreachable` if signup is closed or limited."""
        body = {"email": f"fresh.{secrets.token_hex(8)}@example.com", **_SIGN_UP, **chosen}
        if step := self._deployment.recipe.sign_up:
            send = partial(perform, step, self._deployment.ask, body.__getitem__, require_success)
            kept = _parse("signing up", send)
            return Actor(self._deployment, self.operator, {**body, **kept})
        if self._deployment.is_foreign:
            added = self.operator.add_user(body)
            return Actor(self._deployment, self.operator, {**body, **added})
        request = json_request("POST", "/v1/auth/signup", body)
        made = _parse(
            "POST /v1/auth/signup", lambda: {**body, **self._deployment.ask_json(request)["data"]}
        )
        return Actor(self._deployment, self.operator, made)
