"""Whom a run of the fuzzer asks as: one person, by one kind of credential."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from oneself.conformance.actors import Actors
from oneself.conformance.credentials_file import open_deployment
from oneself.conformance.deployment import Deployment, Unreachable
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS, schemes_of
from oneself.conformance.rows.matching import after, write
from oneself.conformance.rows.request_building import PICTURE, credential_header

__all__ = ["SCHEMES", "FuzzIdentity", "known_values", "variables"]

#: Each security scheme of the document: how its credential is carried, and what a person calls it.
SCHEMES: Mapping[str, tuple[str, str]] = {
    "session": ("bearer", "session_token"),
    "sessionCookie": ("cookie", "session_token"),
    "apiKey": ("api_key", "api_key"),
    "accessToken": ("bearer", "access_token"),
    "personalAccessToken": ("bearer", "pat"),
    "jwt": ("bearer", "jwt"),
    "client": ("client", "client"),
}
_PREFIX = "ONESELF_PROVING_"
#: Where a good credential of a person, whatever its kind, is told apart from a dead one.
_PROBE = "/v1/me"
_PICTURE = "/resources/me/profile/picture"
#: An operation that ends the credential that asks for it, whatever else it does.
_ENDS_ITS_OWN = frozenset({"ipto.logOut", "hyperclast.regenerateAccessToken"})


#: What a fuzzer cannot make up, and what is sent where the credentials do not name it.
_KNOWN = {
    "email": "nobody@example.com",
    "password": "N0-such-password",
    "tenant_uuid": "00000000-0000-4000-8000-000000000000",
    "client_id": "cli_000000000000",
    "client_secret": "cls_" + "0" * 49,
    "session_token": "sess_" + "0" * 49,
    "other_password": "An0ther-for-the-fuzzer",
    "cursor": "AXR3c2Vl",
}


def known_values(deployment: Deployment) -> dict[str, Any]:
    """What a fuzzer is told, by name, since it could not make it up."""
    base = deployment.people["base"]
    return {
        **{name: base.get(name, usual) for name, usual in _KNOWN.items()},
        "cursor": _find_cursor(deployment) or _KNOWN["cursor"],
        # An API key makes narrower keys only.
        "own_scopes": ["me/profile:read"],
        "next_month": write(after(datetime.now(UTC), "+30d")),
    }


def variables(deployment: Deployment, credentials: Path, scheme: str) -> dict[str, str]:
    """The environment by which a run in a process of its own is told whom to ask as."""
    return {
        f"{_PREFIX}URL": deployment.url,
        f"{_PREFIX}CREDENTIALS": str(credentials.absolute()),
        f"{_PREFIX}BEHIND_PROXY": str(int(deployment.behind_proxy)),
        f"{_PREFIX}SCHEME": scheme,
    }


def _find_cursor(deployment: Deployment) -> str | None:
    """A cursor, which only the deployment can make; None if it makes none."""
    try:
        page = Actors(deployment).find("base").ask("GET", "/v1/me/events?limit=1")
        return str(page["data"]["next_cursor"])
    except (Unreachable, LookupError, TypeError, ValueError):
        return None


class FuzzIdentity:
    """One person with one kind of credential, renewed when an operation has ended it."""

    def __init__(self, deployment: Deployment, credentials: Path, scheme: str) -> None:
        self.deployment = deployment
        self._credentials = credentials
        self._person = Actors(deployment).find("base")
        self._scheme = scheme

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The one that `variables` describes."""
        credentials = Path(environment[f"{_PREFIX}CREDENTIALS"])
        deployment = open_deployment(
            environment[f"{_PREFIX}URL"],
            credentials,
            behind_proxy=environment[f"{_PREFIX}BEHIND_PROXY"] == "1",
        )
        return cls(deployment, credentials, environment[f"{_PREFIX}SCHEME"])

    def prepare(self) -> None:
        """See that the credential is good, and that there is something to be found with it.

        Raises:
            OutOfReach: There is no such credential, and none can be made.
        """
        self._renew_if_dead()
        self._clear_away()
        self._person[SCHEMES[self._scheme][1]]
        session = tuple(self._headers("session").items())
        picture = (*session, ("Content-Type", "image/png"))
        # A reimplementation of another dialect knows no pictures, and has to do without.
        self.deployment.ask(Request("PUT", _PICTURE, picture, PICTURE))
        self._save()

    def _clear_away(self) -> None:
        """End the keys and tokens that earlier runs have made, since nobody may have many."""
        with suppress(Unreachable):
            for each in self._person.ask("GET", "/v1/api-keys")["data"]["items"]:
                self._end(f"/v1/api-keys/{each['api_key_id']}")
            self._person.forget("api_key")
        with suppress(Unreachable):
            self._person["client"]  # without one, no token could be made in their place
            for each in self._person.ask("GET", "/resources/me/pat"):
                self._end(f"/resources/me/pat/{each['id']}")
            self._person.forget("pat")

    def _end(self, path: str) -> None:
        self.deployment.ask(Request("DELETE", path, tuple(self._headers("session").items())))

    def headers_for(self, operation_id: str) -> dict[str, str] | None:
        """The headers that carry the credential; None where the operation takes no such one."""
        # What a client alone may ask for belongs to the same journey as what its person may.
        for scheme in (self._scheme, "client"):
            if scheme in schemes_of(OPERATIONS[operation_id]):
                try:
                    return self._headers(scheme)
                except Unreachable:
                    return None
        return None

    def is_refused_though_good(self, request: Request) -> bool:
        """Whether the credential of a request, which was not taken, is taken elsewhere."""
        carried = tuple(
            (name, value)
            for name, value in request.headers
            if name.lower() in {"authorization", "x-api-key", "cookie"}
        )
        if not carried or "basic " in carried[0][1].lower():
            return False
        probe = self.deployment.ask(Request("GET", _PROBE, carried))
        return probe.status == HTTPStatus.OK

    def learn_from(self, operation_id: str, request: Request, answer: Answer) -> None:
        """Renew what an answer has ended, and take note of what it has changed."""
        if operation_id == "hantera.validateEmailChange" and answer.status == HTTPStatus.OK:
            self._person.learn({"email": answer.json()["email"]})
            self._save()
        if operation_id.endswith(".changePassword") and answer.status < HTTPStatus.BAD_REQUEST:
            body = json.loads(request.body)
            password = body.get("new_password", body.get("newPassword"))
            self._person.learn({"password": password})
            self._save()
        ended = operation_id in _ENDS_ITS_OWN and answer.status < HTTPStatus.BAD_REQUEST
        if ended or answer.status == HTTPStatus.UNAUTHORIZED:
            self._renew_if_dead()

    def _renew_if_dead(self) -> None:
        for scheme in dict.fromkeys(("session", self._scheme)):
            _, name = SCHEMES[scheme]
            if scheme == "client" or name not in self._person:
                continue
            headers = tuple(self._headers(scheme).items())
            if self.deployment.ask(Request("GET", _PROBE, headers)).status != HTTPStatus.OK:
                self._person.forget(name)
                self._save()

    def _save(self) -> None:
        """Keep the file true: the next run asks as the same person."""
        people = {**self.deployment.people, "base": dict(self._person)}
        self._credentials.write_text(json.dumps(people))

    def _headers(self, scheme: str) -> dict[str, str]:
        carried_as, name = SCHEMES[scheme]
        headers = dict([credential_header(carried_as, self._person[name])])
        if carried_as == "cookie":
            # A cookie alone changes nothing; a browser adds where the request comes from.
            headers["Sec-Fetch-Site"] = "same-origin"
        return headers
