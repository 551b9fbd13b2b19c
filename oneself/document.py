"""The OpenAPI document, and the specification of each operation in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from accounts.services.principal import CredentialKind
from oneself.deprecation import headers_of_deprecation

DOCUMENT_PATH = Path(__file__).parent.parent / "openapi" / "openapi.yaml"

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

#: The document tells apart how a session is sent; access rules do not.
_KINDS = {
    **{kind.value: kind for kind in CredentialKind},
    "sessionCookie": CredentialKind.SESSION,
    "sessionToken": CredentialKind.SESSION,
}

#: The member of an operation that names the operation which its path runs.
ALIAS = "x-alias-of"

#: The security scheme of clients: programs, not users.
_CLIENT = "client"


@cache
def load_document() -> Mapping[str, Any]:
    """Return the parsed document. Connexion would run the file itself through Jinja."""
    with DOCUMENT_PATH.open("rb") as file:
        document: Mapping[str, Any] = yaml.load(file, Loader=yaml.CSafeLoader)
    return document


class PublicPolicy(NamedTuple):
    """The view that policies have of an operation without a user's credential.

    `credentials` are the values of `context.credential`, and `scope` is that of the same act by an
    authenticated user, or None: policies about this scope apply to the operation as well.
    """

    credentials: tuple[str, ...]
    scope: str | None


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation as the document describes it, with top-level references resolved.

    `accepted` are the kinds of user credential, empty if none is read; `takes_client` says whether
    a client identifies itself instead. `scope` is the access control entry, or None. `policy` says
    how the policies decide an operation that accepts no kind of credential; None if they do not.
    `mailed_secret` is the purpose of the secret in the body, if it is looked up before a password
    is hashed. `bodies` maps a media type to a schema, `responses` a status to its headers and to a
    schema by media type. `deprecation_headers` are the headers that a deprecated operation adds to
    each response. `recent_authentication` is the largest age of the user's authentication in
    seconds, or None for any. Policies about `further_scope` apply to an operation of a user as
    well, because it shows or changes more than its scope says. `action` is what the policies decide
    it as: itself, or the operation that it is another way to. `takes_cookie` and
    `takes_session_header` tell whether a session may come in the cookie, and in `X-Session-Token`.
    """

    operation_id: str
    dialect: str
    path: str
    method: str
    accepted: frozenset[CredentialKind]
    takes_client: bool
    scope: str | None
    policy: PublicPolicy | None
    further_scope: str | None
    recent_authentication: int | None
    action: str
    takes_cookie: bool
    takes_session_header: bool
    workload: str
    mailed_secret: str | None
    parameters: tuple[Mapping[str, Any], ...]
    bodies: Mapping[str, Any]
    responses: Mapping[int, Mapping[str, Any]]
    deprecation_headers: Mapping[str, str]

    @property
    def public(self) -> bool:
        """True if the operation needs no credential."""
        return not self.accepted and not self.takes_client


def operation_specs(document: Mapping[str, Any]) -> Iterator[OperationSpec]:
    """Yield each operation of a document, in its order; an alias is none of its own."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item and ALIAS not in item[method]:
                yield _describe(document, path, method, item)


def resolve_aliases(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the operation that an alias stands for in place of the alias.

    A request to either path is then the same operation, also to policies, metrics and the log.
    """
    paths = document["paths"]
    operations = {
        item[method]["operationId"]: item[method]
        for item in paths.values()
        for method in METHODS
        if method in item
    }

    def target_of(operation: Any) -> Any:
        alias = isinstance(operation, Mapping) and operation.get(ALIAS)
        return {**operations[alias], ALIAS: alias} if alias else operation

    resolved = {
        path: {key: target_of(each) for key, each in item.items()} for path, item in paths.items()
    }
    return {**document, "paths": resolved}


def resolve(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of a reference within the document; any other node unchanged."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def required_scope(operation: Mapping[str, Any]) -> str | None:
    """Return the scope that an operation of the document requires, or None."""
    scope: str | None = operation.get("x-scope")
    return None if scope in {"public", "any", "client"} else scope


def _describe(
    document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any]
) -> OperationSpec:
    operation = item[method]
    parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
    body = resolve(document, operation.get("requestBody", {}))
    policy = operation.get("x-policy", {})
    alternatives = [set(alternative) for alternative in operation["security"]]
    return OperationSpec(
        operation_id=operation["operationId"],
        dialect=operation["tags"][0],
        path=path,
        method=method,
        accepted=frozenset(
            _KINDS[name] for alternative in alternatives for name in alternative - {_CLIENT}
        ),
        takes_client={_CLIENT} in alternatives,
        scope=required_scope(operation),
        policy=_public_policy(policy) if "credentials" in policy else None,
        action=policy.get("action", operation["operationId"]),
        takes_cookie={"sessionCookie"} in alternatives,
        takes_session_header={"sessionToken"} in alternatives,
        further_scope=None if "credentials" in policy else policy.get("scope"),
        recent_authentication=operation.get("x-recent-authentication"),
        workload=operation.get("x-workload", "database"),
        mailed_secret=operation.get("x-mailed-secret"),
        parameters=tuple(resolve(document, parameter) for parameter in parameters),
        bodies={media: spec["schema"] for media, spec in body.get("content", {}).items()},
        responses={
            int(status): _response(document, response)
            for status, response in operation["responses"].items()
        },
        deprecation_headers=headers_of_deprecation(operation),
    )


def _public_policy(described: Mapping[str, Any]) -> PublicPolicy:
    return PublicPolicy(tuple(described["credentials"]), described.get("scope"))


def _response(document: Mapping[str, Any], response: Mapping[str, Any]) -> Mapping[str, Any]:
    resolved = resolve(document, response)
    headers = {
        name: resolve(document, header) for name, header in resolved.get("headers", {}).items()
    }
    return {**resolved, "headers": headers}
