"""Reading the document, and what it says of each operation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from accounts.services.principal import CredentialKind
from oneself.deprecation import headers_of_deprecation

__all__ = [
    "DOCUMENT_PATH",
    "METHODS",
    "OperationSpec",
    "load_document",
    "operation_specs",
    "resolve",
]

DOCUMENT_PATH = Path(__file__).parent.parent / "openapi" / "openapi.yaml"

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

#: A session as a cookie is a session; the document tells them apart, the rules of access do not.
_KINDS = {**{kind.value: kind for kind in CredentialKind}, "sessionCookie": CredentialKind.SESSION}

#: The scheme that is a program's and no person's.
_CLIENT = "client"


@cache
def load_document() -> Mapping[str, Any]:
    """The document as parsed; given to Connexion like this, it does not run through Jinja."""
    with DOCUMENT_PATH.open("rb") as file:
        document: Mapping[str, Any] = yaml.load(file, Loader=yaml.CSafeLoader)
    return document


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """One operation as the document describes it, references resolved at their first step.

    `accepted` are the kinds of credential of a person, empty where none is read; `client` is
    whether a client authenticates itself instead. `scope` is the access control entry, None for
    none. `bodies` maps a media type to a schema, `responses` a status to
    its headers and to a schema by media type. `farewell` is what an operation that is deprecated
    adds to the headers of each answer.
    """

    operation_id: str
    dialect: str
    path: str
    method: str
    accepted: frozenset[CredentialKind]
    client: Literal["required", "optional"] | None
    scope: str | None
    workload: str
    parameters: tuple[Mapping[str, Any], ...]
    bodies: Mapping[str, Any]
    responses: Mapping[int, Mapping[str, Any]]
    farewell: Mapping[str, str]

    @property
    def public(self) -> bool:
        """Whether it needs no credential."""
        return not self.accepted and self.client is None


def operation_specs(document: Mapping[str, Any]) -> Iterator[OperationSpec]:
    """Each operation of a document, in its order."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield _describe(document, path, method, item)


def resolve(document: Mapping[str, Any], thing: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the document refers to; anything else as it is."""
    while "$ref" in thing:
        found: Any = document
        for step in thing["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        thing = found
    return thing


def _describe(
    document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any]
) -> OperationSpec:
    operation = item[method]
    parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
    body = resolve(document, operation.get("requestBody", {}))
    scope = operation["x-scope"]
    alternatives = [set(alternative) for alternative in operation["security"]]
    return OperationSpec(
        operation_id=operation["operationId"],
        dialect=operation["tags"][0],
        path=path,
        method=method,
        accepted=frozenset(
            _KINDS[name] for alternative in alternatives for name in alternative - {_CLIENT}
        ),
        client=_client(alternatives),
        scope=None if scope in {"public", "any", "client"} else scope,
        workload=operation.get("x-workload", "database"),
        parameters=tuple(resolve(document, parameter) for parameter in parameters),
        bodies={media: spec["schema"] for media, spec in body.get("content", {}).items()},
        responses={
            int(status): _response(document, response)
            for status, response in operation["responses"].items()
        },
        farewell=headers_of_deprecation(operation),
    )


def _client(alternatives: list[set[str]]) -> Literal["required", "optional"] | None:
    if {_CLIENT} not in alternatives:
        return None
    return "optional" if set() in alternatives else "required"


def _response(document: Mapping[str, Any], response: Mapping[str, Any]) -> Mapping[str, Any]:
    whole = resolve(document, response)
    headers = {name: resolve(document, header) for name, header in whole.get("headers", {}).items()}
    return {**whole, "headers": headers}
