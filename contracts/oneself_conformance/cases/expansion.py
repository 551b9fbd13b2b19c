"""Expansion of a row over the operations of the document."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from oneself_conformance.cases.request_building import CREDENTIALS, takes_pictures, takes_uploads
from oneself_conformance.cases.schema_mutations import schema_mutations
from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.http_client import FORM
from oneself_conformance.placeholders import fill

#: The security scheme of each kind of user credential; a cookie and a header carry a session too.
_KINDS = {
    kind: scheme
    for kind, (scheme, _) in CREDENTIALS.items()
    if kind not in {"cookie", "session_header", "client"}
}
_ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: The properties by which `for_each` selects operations.
_TRAITS: Mapping[str, Callable[[OperationSpec], Any]] = {
    # By a credential of a user; those of clients are separate.
    "secured": lambda operation: bool(operation.accepted),
    "takes_clients": lambda operation: operation.takes_client,
    "has_body": lambda operation: bool(operation.bodies),
    "has_form": lambda operation: FORM in operation.bodies,
    "has_json": lambda operation: "application/json" in operation.bodies,
    "has_picture": takes_pictures,
    "is_upload": takes_uploads,
    "unsafe": lambda operation: operation.method != "get",
    "takes_api_keys": lambda operation: _KINDS["api_key"] in operation.accepted,
    "takes_access_tokens": lambda operation: _KINDS["access_token"] in operation.accepted,
    "takes_jwts": lambda operation: _KINDS["jwt"] in operation.accepted,
    "needs_recent_authentication": lambda operation: operation.recent_authentication is not None,
    "has_scope": lambda operation: operation.scope is not None,
}


def expand_family(
    family: Mapping[str, Any], operations: Iterable[OperationSpec]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a family, with `${each.…}` replaced and other placeholders kept."""
    traits = dict(family["for_each"])
    spread = _SPREADS[traits.pop("spread", "once")]
    excluded = traits.pop("except", ())
    template = {key: value for key, value in family.items() if key != "for_each"}
    if not isinstance(template.get("request"), str):
        template["request"] = {"example": True, **template.get("request", {})}
    for operation in operations:
        if operation.operation_id in excluded or any(
            _TRAITS[trait](operation) != value for trait, value in traits.items()
        ):
            continue
        for each in spread(operation):
            values = {
                "operation": operation.operation_id,
                "scope": operation.scope,
                "media": next(iter(operation.bodies), None),
                # Unauthenticated requests are rejected before a large body is read (HT-07).
                "closing": "close" if _TRAITS["is_upload"](operation) else None,
                "origin": _allowed_origin(operation),
                "query_names": _query_names(operation),
                **each,
            }
            filled = fill(template, partial(_look_up, values))
            yield {"operation": operation.operation_id, **filled}


def _allowed_origin(operation: OperationSpec) -> str | None:
    """Return `*` for a public document, which pages of every origin may read."""
    headers = operation.responses.get(200, {}).get("headers", {})
    return "*" if "Access-Control-Allow-Origin" in headers else None


def _query_names(operation: OperationSpec) -> str:
    """Return the end of the message about an unknown query parameter."""
    names = [each["name"] for each in operation.parameters if each["in"] == "query"]
    return f" (documented: {', '.join(names)})" if names else ""


def _look_up(values: Mapping[str, Any], name: str) -> Any:
    prefix, _, rest = name.partition(".")
    return values[rest] if prefix == "each" else f"${{{name}}}"


def _unaccepted_kinds(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Yield each kind of credential that the operation rejects, with the refusal code."""
    # A JWT comes from a session, so it counts as one here.
    only_sessions = operation.accepted <= {_KINDS["session"], _KINDS["jwt"]}
    for name, kind in _KINDS.items():
        if kind not in operation.accepted:
            code = "session_required" if only_sessions else "credential_not_accepted"
            yield {"kind": name, "code": code}


def _absent_methods(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Yield each unsupported method of the operation's path, with the supported ones."""
    names = {name.upper() for name in load_document()["paths"][operation.path]}
    supported = names & {*_ALL_METHODS}
    if "GET" in supported:
        supported.add("HEAD")
    for method in _ALL_METHODS:
        if method not in supported:
            yield {"method": method, "allow": ", ".join(sorted(supported))}


def _required_fields(operation: OperationSpec) -> Iterator[dict[str, Any]]:
    """Yield the violations of an empty body, if fields are required."""
    schema = resolve(load_document(), next(iter(operation.bodies.values())))
    if schema.get("required"):
        yield {
            "violations": [
                {"in": "body", "field": [name], "rule": "is required"}
                for name in schema["required"]
            ]
        }


_SPREADS: Mapping[str, Callable[[OperationSpec], Iterable[dict[str, Any]]]] = {
    "once": lambda _: [{}],
    "refused kinds": _unaccepted_kinds,
    "absent methods": _absent_methods,
    "required fields": _required_fields,
    "broken rules": schema_mutations,
    "media types": lambda operation: [{"media": media} for media in operation.bodies],
}
