"""The OpenAPI document to test against: that of the package, a file, or a URL."""

import os
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "DATA",
    "METHODS",
    "SOURCE_VARIABLE",
    "OperationSpec",
    "load_document",
    "operation_specs",
    "resolve",
]

#: The data of the package: the document, the rows, the probes, and the settings of the fuzzer.
DATA = Path(__file__).parent / "data"
#: Names the file or the URL of another document. A variable, because the fuzzer is a process of
#: its own.
SOURCE_VARIABLE = "ONESELF_CONFORMANCE_DOCUMENT"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

_SECONDS = 5
#: The document tells apart how a session is sent; access rules do not.
_SESSIONS = frozenset({"session", "sessionCookie", "sessionToken"})
#: The security scheme of clients: programs, not users.
_CLIENT = "client"
#: The member of an operation that names the operation which its path runs.
_ALIAS = "x-alias-of"


@cache
def load_document() -> Mapping[str, Any]:
    """Return the parsed document, in YAML or JSON.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not an OpenAPI document.
    """
    source = os.environ.get(SOURCE_VARIABLE) or str(DATA / "openapi.yaml")
    if source.startswith(("http://", "https://")):
        with urllib.request.urlopen(source, timeout=_SECONDS) as response:  # noqa: S310 # as checked
            content = response.read()
    else:
        content = Path(source).read_bytes()
    try:
        document = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        document = None
    if not isinstance(document, Mapping) or not {"openapi", "paths"} <= document.keys():
        raise ValueError(f"{source} is not an OpenAPI document")
    return document


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation as the document describes it, with top-level references resolved.

    `accepted` are the security schemes of users that it accepts, with one name for all ways to
    send a session; `takes_client` says whether a client identifies itself instead. `scope` is the
    access control entry, or None. `bodies` maps a media type to a schema, `responses` a status to
    its headers and to a schema by media type. `recent_authentication` is the largest age of the
    user's authentication in seconds, or None for any. `is_extension` says that no published page
    has it.
    """

    operation_id: str
    dialect: str
    path: str
    method: str
    accepted: frozenset[str]
    takes_client: bool
    scope: str | None
    recent_authentication: int | None
    parameters: tuple[Mapping[str, Any], ...]
    bodies: Mapping[str, Any]
    responses: Mapping[int, Mapping[str, Any]]
    is_extension: bool

    @property
    def public(self) -> bool:
        """True if the operation needs no credential."""
        return not self.accepted and not self.takes_client


def operation_specs(document: Mapping[str, Any]) -> Iterator[OperationSpec]:
    """Yield each operation of a document, in its order; an alias is none of its own."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item and _ALIAS not in item[method]:
                yield _describe(document, path, method, item)


def resolve(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of a reference within the document; any other node unchanged."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _describe(
    document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any]
) -> OperationSpec:
    operation = item[method]
    parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
    body = resolve(document, operation.get("requestBody", {}))
    scope = operation.get("x-scope", "any")
    schemes = {name for alternative in operation["security"] for name in alternative}
    return OperationSpec(
        operation_id=operation["operationId"],
        dialect=operation["tags"][0],
        path=path,
        method=method,
        accepted=frozenset(
            "session" if name in _SESSIONS else name for name in schemes - {_CLIENT}
        ),
        takes_client={_CLIENT} in [set(each) for each in operation["security"]],
        scope=None if scope in {"public", "any", "client"} else scope,
        recent_authentication=operation.get("x-recent-authentication"),
        parameters=tuple(resolve(document, parameter) for parameter in parameters),
        bodies={media: spec["schema"] for media, spec in body.get("content", {}).items()},
        responses={
            int(status): _response(document, response)
            for status, response in operation["responses"].items()
        },
        is_extension=bool(operation.get("x-extension")),
    )


def _response(document: Mapping[str, Any], response: Mapping[str, Any]) -> Mapping[str, Any]:
    resolved = resolve(document, response)
    headers = {
        name: resolve(document, header) for name, header in resolved.get("headers", {}).items()
    }
    return {**resolved, "headers": headers}
