"""The people who ask: those of the demo, and new ones for rows that change something."""

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, get_args

from accounts.rights import SESSION_RIGHTS
from models import wire
from tests.support.asking import form_request, json_request
from tests.support.matching import after, write
from tests.support.operator_acts import OperatorActs
from tests.support.service import Service

__all__ = ["PASSWORD", "People", "Person", "people_of"]

#: The password of everybody who signs up here: the current one of ipto's example.
PASSWORD = "s3cur3P@ssw0rd!"
#: Half of what a JWT has: one that is handed out must outlast its row, on a slow machine too.
_SECONDS_OF_A_JWT = 300
SIGN_UP = {"display_name": "Alice Chen", "tenant_name": "Acme Corp", "password": PASSWORD}


class Person(Mapping[str, Any]):
    """What is known of one person by name; credentials are made when somebody asks for them."""

    def __init__(self, service: Service, acts: OperatorActs, known: Mapping[str, Any]) -> None:
        self._service = service
        self._acts = acts
        self._known = dict(known)
        self._exchanged_at = 0.0

    def __getitem__(self, name: str) -> Any:
        if name == "jwt" and time.monotonic() > self._exchanged_at + _SECONDS_OF_A_JWT:
            self._known.pop(name, None)
            self._exchanged_at = time.monotonic()
        if name not in self._known:
            self._known |= _MAKERS[name](self)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask with the session, and give what is answered as JSON."""
        bearer = ("Authorization", f"Bearer {self['session_token']}")
        answer = self._service.ask(json_request(method, path, body, (bearer,)))
        assert answer.status < HTTPStatus.BAD_REQUEST, answer
        return answer.json()

    def exchange(self) -> Any:
        """Exchange the session for a JWT of everything (RFC 8693)."""
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
        answer = self._service.ask(request)
        assert answer.status == HTTPStatus.OK, answer
        return answer.json()

    def act(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Let an operator, or time, do something to this person."""
        return self._acts.act(name, self["user_id"], arguments)

    def find_tenant_uuid(self) -> str:
        """The UUID of the person's tenant, which jitsudo asks for and no dialect tells."""
        return self._acts.tenant_uuid(self["tenant_id"])


def _make_api_key(person: Person) -> Mapping[str, Any]:
    wanted = {"name": "everything", "scopes": list(get_args(wire.ApiKeyScope))}
    return {"api_key": person.ask("POST", "/v1/api-keys", wanted)["data"]["key"]}


def _make_pat(person: Person) -> Mapping[str, Any]:
    wanted = {
        "name": "everything",
        "scopes": sorted(SESSION_RIGHTS),
        "expiresAt": write(after(datetime.now(UTC), "+30d")),
        "clientId": person["client_id"],
        "clientSecret": person["client_secret"],
    }
    return {"pat": person.ask("POST", "/resources/me/pat", wanted)["token"]}


def _make_jwt(person: Person) -> Mapping[str, Any]:
    answer = person.exchange()
    return {"jwt": answer["access_token"], "refresh_token": answer["refresh_token"]}


def _join_client(person: Person) -> Mapping[str, Any]:
    return {"client": f"{person['client_id']}:{person['client_secret']}"}


_MAKERS: Mapping[str, Callable[[Person], Mapping[str, Any]]] = {
    "access_token": lambda person: person.ask("GET", "/api/users/me/token/"),
    "api_key": _make_api_key,
    "client": _join_client,
    "client_id": lambda person: person.act("add client"),
    "client_secret": lambda person: person.act("add client"),
    "identity_id": lambda person: {"identity_id": person.ask("GET", "/resources/me/profile")["id"]},
    "jwt": _make_jwt,
    "pat": _make_pat,
    "refresh_token": _make_jwt,
    "tenant_uuid": lambda person: {"tenant_uuid": person.find_tenant_uuid()},
}


class People:
    """Everybody whom one service knows."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._acts = OperatorActs(service)
        self._demo = {
            name: Person(service, self._acts, known) for name, known in service.people.items()
        }

    @property
    def acts(self) -> OperatorActs:
        return self._acts

    def find(self, name: str) -> Person:
        """One of the demo's people."""
        return self._demo[name]

    def sign_up(self, **chosen: str) -> Person:
        """Somebody new, in a tenant of their own."""
        body = {"email": f"fresh.{secrets.token_hex(8)}@example.com", **SIGN_UP, **chosen}
        answer = self._service.ask(json_request("POST", "/v1/auth/signup", body))
        assert answer.status == HTTPStatus.CREATED, answer
        return Person(self._service, self._acts, {**body, **answer.json()["data"]})


@contextmanager
def people_of(service: Service) -> Iterator[People]:
    """The people of a service, for as long as it runs."""
    people = People(service)
    try:
        yield people
    finally:
        people.acts.close()
