"""Checks before the tests: the users are those of the deployment."""

from collections.abc import Iterator
from http import HTTPStatus

from oneself_conformance.actors import Actor, Actors
from oneself_conformance.cases.request_building import (
    ACTOR_KEYS,
    CREDENTIALS,
    credential_header,
    is_unprinted,
)
from oneself_conformance.document import OperationSpec
from oneself_conformance.http_client import json_request
from oneself_conformance.operations import OPERATIONS, schemes_of
from oneself_conformance.targets import Deployment, Unreachable

__all__ = ["find_user_problem"]

#: What our own service can make again, if it has ended.
_RENEWABLE = frozenset({"session_token", "access_token", "api_key", "pat", "jwt"})


def find_user_problem(deployment: Deployment, actors: Actors, dialect: str | None) -> str | None:
    """Return why `base` cannot be used, or None if it has a credential that is accepted.

    Credentials that are not accepted are forgotten, so that they are made again where that can be.

    Raises:
        OSError, http.client.HTTPException: There was no response.
    """
    user = actors.find("base")
    problem = "it has neither a token nor a password"
    is_known = False
    for kind, operation in _ways_in(deployment, dialect):
        name = ACTOR_KEYS[kind]
        can_log_in = "password" in user and kind in {"session", "access_token"}
        if name not in user and not can_log_in:
            continue
        status = _ask(deployment, user, kind, operation)
        if status == HTTPStatus.UNAUTHORIZED:
            problem = f"{operation.method.upper()} {operation.path} rejects its {name} with 401"
            if name in user and _is_renewable(deployment, user, name):
                user.forget(name)
                status = _ask(deployment, user, kind, operation)
        is_known |= status not in {None, HTTPStatus.UNAUTHORIZED}
    return None if is_known else problem


def _ways_in(deployment: Deployment, dialect: str | None) -> Iterator[tuple[str, OperationSpec]]:
    """Yield kinds of credential of a user, each with an operation that accepts it."""
    for kind, (scheme, _) in CREDENTIALS.items():
        if kind in {"cookie", "session_header", "client"}:
            continue
        candidates = [
            each
            for each in OPERATIONS.values()
            if dialect in {None, each.dialect}
            and scheme in schemes_of(each)
            and "{" not in each.path
            and not is_unprinted(deployment, each.dialect, kind)
            and not (deployment.is_foreign and each.is_extension)
        ]
        if candidates:
            yield kind, min(candidates, key=lambda each: each.method != "get")


def _is_renewable(deployment: Deployment, user: Actor, name: str) -> bool:
    if deployment.is_foreign:
        recipe = deployment.recipe
        if name == "access_token" and ("session_token" in user or recipe.log_in is not None):
            return True
        return name in recipe.obtain or (name == "session_token" and recipe.log_in is not None)
    return name in _RENEWABLE


def _ask(deployment: Deployment, user: Actor, kind: str, operation: OperationSpec) -> int | None:
    """Return the status of a request that changes nothing; None if there is no credential."""
    try:
        value = user[ACTOR_KEYS[kind]]
    except Unreachable:
        return None
    headers = deployment.recipe.headers(kind, value, user) or [credential_header(kind, value)]
    # An empty body is never a complete change.
    body: dict[str, str] | None = None if operation.method == "get" else {}
    for each in operation.parameters:
        if each["in"] == "header" and each.get("required"):
            # The one that is required names a tenant.
            tenant = user["tenant_uuid"] if "tenant_uuid" in user else each["example"]
            headers.append((each["name"], str(tenant)))
    request = json_request(operation.method.upper(), operation.path, body, tuple(headers))
    return deployment.ask(request).status
