"""The user and the kind of credential of a fuzzer run."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from oneself_conformance.actors import API_KEYS, PATS, Actors
from oneself_conformance.cases.request_building import CREDENTIALS, PICTURE, credential_header
from oneself_conformance.credentials_file import open_deployment, read_credentials
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS, schemes_of
from oneself_conformance.targets import Deployment, Unreachable
from oneself_conformance.timestamps import add_span, format_timestamp

#: For each security scheme: its kind of credential, and the name in the credentials file.
SCHEMES: Mapping[str, tuple[str, str]] = {
    scheme: (kind, key) for kind, (scheme, key) in CREDENTIALS.items()
}
_VARIABLE = "ONESELF_CONFORMANCE_IDENTITY"
#: An operation that accepts every kind of user credential, to check whether one is valid.
_PROBE = "/v1/me"
_PICTURE = "/resources/me/profile/picture"
#: Operations that end the credential they are called with.
_END_OWN_CREDENTIAL = frozenset(
    {
        *("ipto.logOut", "hyperclast.endSession", "hyperclast.registerDevice"),
        "hyperclast.regenerateAccessToken",
    }
)

#: Values that a fuzzer cannot generate, with defaults for those missing in the credentials file.
_DEFAULTS = {
    "email": "unknown@example.com",
    "password": "N0-such-password",
    "tenant_uuid": "00000000-0000-4000-8000-000000000000",
    "client_id": "cli_000000000000",
    "client_secret": "cls_" + "0" * 49,
    "session_token": "sess_" + "0" * 49,
    "other_password": "An0ther-for-the-fuzzer",
    "cursor": "0" * 136,
}


def fuzz_values(deployment: Deployment) -> dict[str, Any]:
    """Return the values that the fuzzer cannot generate, by name."""
    base = deployment.actors["base"]
    return {
        **{name: base.get(name, default) for name, default in _DEFAULTS.items()},
        "cursor": _find_cursor(deployment) or _DEFAULTS["cursor"],
        # An API key can only create narrower keys.
        "own_scopes": ["me/profile:read"],
        "next_month": format_timestamp(add_span(datetime.now(UTC), "+30d")),
    }


def environment_variables(deployment: Deployment, credentials: Path, scheme: str) -> dict[str, str]:
    """Return the environment variables that pass the identity to a fuzzer process."""
    identity = [deployment.url, str(credentials.absolute()), deployment.behind_proxy, scheme]
    return {_VARIABLE: json.dumps(identity)}


def _find_cursor(deployment: Deployment) -> str | None:
    """Return a cursor from the deployment, or None if it returns none."""
    try:
        page = Actors(deployment).find("base").ask("GET", "/v1/me/events?limit=1")
        return str(page["data"]["next_cursor"])
    except (Unreachable, LookupError, TypeError, ValueError):
        return None


class FuzzIdentity:
    """A user with one kind of credential, which is renewed after an operation ends it."""

    def __init__(self, deployment: Deployment, credentials: Path, scheme: str) -> None:
        self.deployment = deployment
        self._credentials = credentials
        self._actor = Actors(deployment).find("base")
        self._scheme = scheme

    @classmethod
    def from_environment(cls) -> Self:
        """Read the identity that `environment_variables` describes."""
        url, credentials, behind_proxy, scheme = json.loads(os.environ[_VARIABLE])
        users = read_credentials(Path(credentials))
        deployment = open_deployment(url, users, behind_proxy=behind_proxy)
        return cls(deployment, Path(credentials), scheme)

    def prepare(self) -> None:
        """Ensure that the credential is valid, or raise `Unreachable`, and add a picture."""
        self._renew_if_invalid()
        self._revoke_leftovers()
        self._actor[SCHEMES[self._scheme][1]]
        session = tuple(self._headers("session").items())
        picture = (*session, ("Content-Type", "image/png"))
        # A reimplementation of another dialect has no pictures.
        self.deployment.ask(Request("PUT", _PICTURE, picture, PICTURE))
        self._save()

    def _revoke_leftovers(self) -> None:
        """Revoke the keys and tokens of earlier runs, because their number is limited."""
        with suppress(Unreachable):
            self._actor.delete_all(API_KEYS)
            self._actor.forget("api_key")
        with suppress(Unreachable):
            self._actor["client"]  # without a client, no new token can be created
            self._actor.delete_all(PATS)
            self._actor.forget("pat")

    def headers_for(self, operation_id: str) -> dict[str, str] | None:
        """Return the headers of the credential, or None if the operation does not accept it."""
        # Operations of clients are part of the same journeys as those of users.
        for scheme in (self._scheme, "client"):
            if scheme in schemes_of(OPERATIONS[operation_id]):
                try:
                    return self._headers(scheme)
                except Unreachable:
                    return None
        return None

    def is_accepted_elsewhere(self, request: Request) -> bool:
        """Return whether another operation accepts the credential of a rejected request."""
        credential_headers = tuple(
            (name, value)
            for name, value in request.headers
            if name.lower() in {"authorization", "x-api-key", "cookie"}
        )
        if not credential_headers or "basic " in credential_headers[0][1].lower():
            return False
        probe = self.deployment.ask(Request("GET", _PROBE, credential_headers))
        return probe.status == HTTPStatus.OK

    def update_from(self, operation_id: str, request: Request, answer: Answer) -> None:
        """Renew an ended credential, and record changed values, after a response."""
        ok = answer.status < HTTPStatus.BAD_REQUEST
        if operation_id.endswith(".changePassword") and ok:
            body = json.loads(request.body)
            password = body.get("new_password", body.get("newPassword"))
            self._actor.remember({"password": password})
            self._save()
        ended = operation_id in _END_OWN_CREDENTIAL and ok
        if ended or answer.status == HTTPStatus.UNAUTHORIZED:
            self._renew_if_invalid()

    def _renew_if_invalid(self) -> None:
        for scheme in dict.fromkeys(("session", self._scheme)):
            _, name = SCHEMES[scheme]
            if scheme == "client" or name not in self._actor:
                continue
            headers = tuple(self._headers(scheme).items())
            if self.deployment.ask(Request("GET", _PROBE, headers)).status != HTTPStatus.OK:
                self._actor.forget(name)
                self._save()

    def _save(self) -> None:
        """Update the credentials file, so that the next run can use the same user."""
        actors = {**self.deployment.actors, "base": dict(self._actor)}
        self._credentials.write_text(json.dumps(actors))

    def _headers(self, scheme: str) -> dict[str, str]:
        kind, name = SCHEMES[scheme]
        headers = dict([credential_header(kind, self._actor[name])])
        if kind == "cookie":
            # An unsafe method requires an origin header with the cookie, as browsers send it.
            headers["Sec-Fetch-Site"] = "same-origin"
        return headers
