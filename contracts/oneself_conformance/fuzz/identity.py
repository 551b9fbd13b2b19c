"""The user and the kind of credential of a fuzzer run."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from oneself_conformance.actors import API_KEYS, PATS, Actors
from oneself_conformance.cases.request_building import (
    CREDENTIALS,
    PICTURE,
    is_unprinted,
    user_credential_headers,
)
from oneself_conformance.credentials_file import open_deployment, read_credentials
from oneself_conformance.document import OperationSpec
from oneself_conformance.fuzz.live_document import LIVE
from oneself_conformance.http_client import Answer, Request, json_request
from oneself_conformance.levels import Level
from oneself_conformance.operations import OPERATIONS, find_probe, schemes_of
from oneself_conformance.recipe import Recipe
from oneself_conformance.targets import Deployment, Unreachable, require_success
from oneself_conformance.timestamps import add_span, format_timestamp

#: For each security scheme: its kind of credential, and the name in the credentials file.
SCHEMES: Mapping[str, tuple[str, str]] = {
    scheme: (kind, key) for kind, (scheme, key) in CREDENTIALS.items()
}
_VARIABLE = "ONESELF_CONFORMANCE_IDENTITY"
_PICTURE = "/resources/me/profile/picture"
#: To change a password back, and the seconds between them.
_MAX_ATTEMPTS, _MAX_WAIT = 3, 90
#: Operations that end the credential they are called with.
_END_OWN_CREDENTIAL = frozenset(
    {
        *("ipto.logOut", "hyperclast.endSession", "hyperclast.registerDevice"),
        "hyperclast.regenerateAccessToken",
    }
)
#: Operations that end the account, which a run cannot restore: they are sent without a credential.
_END_ACCOUNT = frozenset({"ipto.deleteAccount"})

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


def environment_variables(
    deployment: Deployment, credentials: Path, scheme: str, dialect: str | None
) -> dict[str, str]:
    """Return the environment variables that pass the identity to a fuzzer process."""
    identity = {
        "url": deployment.url,
        "credentials": str(credentials.absolute()),
        "behind_proxy": deployment.behind_proxy,
        "hold": deployment.hold.value,
        "recipe": asdict(deployment.recipe),
        "timeout": deployment.deadline,
        "scheme": scheme,
        "dialect": dialect,
    }
    return {_VARIABLE: json.dumps(identity)}


def _find_cursor(deployment: Deployment) -> str | None:
    """Return a cursor from the deployment, or None if it returns none."""
    if deployment.is_foreign:
        return None
    try:
        page = Actors(deployment).find("base").ask("GET", "/v1/me/events?limit=1")
        return str(page["data"]["next_cursor"])
    except (Unreachable, LookupError, TypeError, ValueError):
        return None


class FuzzIdentity:
    """A user with one kind of credential, which is renewed after an operation ends it."""

    def __init__(
        self, deployment: Deployment, credentials: Path, scheme: str, dialect: str | None = None
    ) -> None:
        self.deployment = deployment
        self._dialect = dialect
        self._credentials = credentials
        self._actor = Actors(deployment).find("base")
        self._scheme = scheme

    @classmethod
    def from_environment(cls) -> Self:
        """Read the identity that `environment_variables` describes."""
        identity = json.loads(os.environ[_VARIABLE])
        credentials = Path(identity["credentials"])
        deployment = open_deployment(
            identity["url"],
            read_credentials(credentials),
            behind_proxy=identity["behind_proxy"],
            hold=Level(identity["hold"]),
            recipe=Recipe(**identity["recipe"]),
            timeout=identity["timeout"],
        )
        return cls(deployment, credentials, identity["scheme"], identity["dialect"])

    def prepare(self) -> None:
        """Ensure that the credential is valid, or raise `Unreachable`, and add a picture."""
        kind, name = SCHEMES[self._scheme]
        if self._dialect and is_unprinted(self.deployment, self._dialect, kind):
            raise Unreachable(f"a recipe with send/{kind} has to say how it is sent")
        self._renew_if_invalid()
        if not self.deployment.is_foreign:
            self._revoke_leftovers()
        self._actor[name]
        if not self.deployment.is_foreign:
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
        """Return the headers of the credential, or None if the operation must not get it."""
        if operation_id in _END_ACCOUNT:
            return None
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
        probe = find_probe(self._scheme, self._dialect)
        return probe is not None and self._is_accepted(probe, credential_headers)

    def _is_accepted(self, probe: OperationSpec, headers: tuple[tuple[str, str], ...]) -> bool:
        """Return whether a credential is accepted; any other trouble does not end it."""
        answer = self.deployment.ask(Request("GET", probe.path, headers))
        return answer.status != HTTPStatus.UNAUTHORIZED

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

    def restore_password(self, password: str) -> None:
        """Change the password back by the dialect's own operation, if it has one."""
        operation = OPERATIONS.get(f"{self._dialect or 'ipto'}.changePassword")
        if operation is None or self._actor["password"] == password:
            return
        values = {**self._actor, "other_password": password}
        fields = {field: values[name] for field, name in LIVE[operation.operation_id].items()}
        headers = [*self._headers("session").items()]
        if "X-Tenant-ID" in fields:
            headers.append(("X-Tenant-ID", fields.pop("X-Tenant-ID")))
        request = json_request("POST", operation.path, fields, tuple(headers))
        for _ in range(_MAX_ATTEMPTS):
            answer = self.deployment.ask(request)
            if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                break
            # Wrong passwords of the fuzzer have used up the limit.
            wait = "".join(answer.values("retry-after"))
            time.sleep(min(int(wait) if wait.isdecimal() else 1, _MAX_WAIT))
        require_success(request, answer)
        self._actor.remember({"password": password})
        self._save()

    def _renew_if_invalid(self) -> None:
        for scheme in dict.fromkeys(("session", self._scheme)):
            _, name = SCHEMES[scheme]
            if scheme == "client" or name not in self._actor:
                continue
            probe = find_probe(scheme, self._dialect)
            headers = tuple(self._headers(scheme).items())
            if probe is not None and not self._is_accepted(probe, headers):
                self._actor.forget(name)
                self._save()

    def _save(self) -> None:
        """Update the credentials file, so that the next run can use the same user."""
        actors = {**self.deployment.actors, "base": dict(self._actor)}
        self._credentials.write_text(json.dumps(actors))

    def _headers(self, scheme: str) -> dict[str, str]:
        kind, _ = SCHEMES[scheme]
        headers = dict(user_credential_headers(self.deployment, self._actor, kind))
        if kind == "cookie" and kind not in self.deployment.recipe.send:
            # An unsafe method requires an origin header with the cookie, as browsers send it.
            headers["Sec-Fetch-Site"] = "same-origin"
        return headers
