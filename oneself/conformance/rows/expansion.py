"""Spreading a row over the operations that the document has."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from oneself.conformance.http_client import FORM
from oneself.conformance.rows.matching import fill
from oneself.conformance.rows.request_building import takes_pictures
from oneself.conformance.rows.schema_mutations import schema_mutations
from oneself.document import OperationSpec, load_document, resolve

__all__ = ["members"]

#: The names that rows have for the kinds of credential, and those that the document has.
_KINDS = {
    "session": "session",
    "api_key": "apiKey",
    "access_token": "accessToken",
    "pat": "personalAccessToken",
    "jwt": "jwt",
}
_ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: What `for_each` can ask of an operation.
_TRAITS: Mapping[str, Callable[[OperationSpec], Any]] = {
    # By a credential of a person; a client's is another matter.
    "secured": lambda operation: bool(operation.accepted),
    "takes_clients": lambda operation: operation.client is not None,
    "needs_clients": lambda operation: operation.client == "required",
    "has_body": lambda operation: bool(operation.bodies),
    "has_form": lambda operation: FORM in operation.bodies,
    "has_json": lambda operation: "application/json" in operation.bodies,
    "has_picture": takes_pictures,
    "unsafe": lambda operation: operation.method != "get",
    "takes_api_keys": lambda operation: _KINDS["api_key"] in operation.accepted,
    "takes_jwts": lambda operation: _KINDS["jwt"] in operation.accepted,
    "has_scope": lambda operation: operation.scope is not None,
}


def members(
    family: Mapping[str, Any], operations: Iterable[OperationSpec]
) -> Iterator[dict[str, Any]]:
    """The rows of a family, with `${each.…}` filled in and the rest left for later."""
    wanted = dict(family["for_each"])
    spread = _SPREADS[wanted.pop("spread", "once")]
    left_out = wanted.pop("except", ())
    template = {key: value for key, value in family.items() if key != "for_each"}
    if not isinstance(template.get("request"), str):
        template["request"] = {"example": True, **template.get("request", {})}
    for operation in operations:
        if operation.operation_id in left_out or any(
            _TRAITS[trait](operation) != value for trait, value in wanted.items()
        ):
            continue
        for each in spread(operation):
            values = {
                "operation": operation.operation_id,
                "scope": operation.scope,
                "media": next(iter(operation.bodies), None),
                # Whoever is nobody is refused before a large body is read (HT-07).
                "closing": "close" if takes_pictures(operation) else None,
                **each,
            }
            filled = fill(template, partial(_each, values))
            yield {"operation": operation.operation_id, **filled}


def _each(values: Mapping[str, Any], name: str) -> Any:
    prefix, _, rest = name.partition(".")
    return values[rest] if prefix == "each" else f"${{{name}}}"


def _once(_operation: OperationSpec) -> Iterator[dict[str, Any]]:
    yield {}


def _refused_kinds(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Each kind of credential that the operation does not take, and how it says so."""
    # A JWT is made of a session, and is no program's own.
    only_sessions = operation.accepted <= {_KINDS["session"], _KINDS["jwt"]}
    for name, kind in _KINDS.items():
        if kind not in operation.accepted:
            code = "session_required" if only_sessions else "credential_not_accepted"
            yield {"kind": name, "code": code}


def _absent_methods(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Each method that the operation's path has not, with those that it has."""
    there = {name.upper() for name in load_document()["paths"][operation.path]} & {*_ALL_METHODS}
    if "GET" in there:
        there.add("HEAD")
    for method in _ALL_METHODS:
        if method not in there:
            yield {"method": method, "allow": ", ".join(sorted(there))}


def _media_types(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Each that the operation's body may have."""
    for media in operation.bodies:
        yield {"media": media}


def _required_fields(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """What an empty object lacks, where it lacks anything."""
    schema = resolve(load_document(), next(iter(operation.bodies.values())))
    if schema.get("required"):
        yield {
            "violations": [
                {"in": "body", "field": [name], "rule": "is required"}
                for name in schema["required"]
            ]
        }


_SPREADS: Mapping[str, Callable[[OperationSpec], Iterator[dict[str, Any]]]] = {
    "once": _once,
    "refused kinds": _refused_kinds,
    "absent methods": _absent_methods,
    "required fields": _required_fields,
    "broken rules": schema_mutations,
    "media types": _media_types,
}
