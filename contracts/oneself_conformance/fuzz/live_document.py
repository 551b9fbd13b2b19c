"""The document with examples that exist in the deployment, as starting points for the fuzzer.

The document's own examples name an unknown client and times in the past, which are rejected at
once. An overlay adds the little that the document cannot have for the sake of other tools.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml

from oneself_conformance.document import DATA, METHODS, load_document, resolve

_OVERLAY = DATA / "schemathesis-overlay.yaml"
#: The steps of a JSONPath with only names in it.
_STEP = re.compile(r"\.(\w+)|\['([^']+)'\]")

#: For each operation: fields of the body or parameters, with the names of their values.
LIVE: Mapping[str, Mapping[str, str]] = {
    "ipto.logIn": {"email": "email", "password": "password"},
    "ipto.changePassword": {"current_password": "password", "new_password": "other_password"},
    "ipto.renewAuthentication": {"password": "password"},
    "scaikey.changePassword": {"current_password": "password", "new_password": "other_password"},
    "hantera.changePassword": {"currentPassword": "password", "newPassword": "other_password"},
    "jitsudo.changePassword": {
        "current_password": "password",
        "new_password": "other_password",
        "X-Tenant-ID": "tenant_uuid",
    },
    "jitsudo.listMfaMethods": {"X-Tenant-ID": "tenant_uuid"},
    "jitsudo.enrolTotp": {"X-Tenant-ID": "tenant_uuid"},
    "jitsudo.confirmTotp": {"X-Tenant-ID": "tenant_uuid", "password": "password"},
    "jitsudo.removeMfaMethod": {"X-Tenant-ID": "tenant_uuid"},
    "jitsudo.regenerateBackupCodes": {"X-Tenant-ID": "tenant_uuid"},
    "jitsudo.getUserProfile": {"X-Tenant-ID": "tenant_uuid"},
    "jitsudo.updateUserProfile": {"X-Tenant-ID": "tenant_uuid"},
    "ipto.createApiKey": {"expires_at": "next_month", "scopes": "own_scopes"},
    "ipto.listEvents": {"cursor": "cursor"},
    "hantera.createPat": {
        "clientId": "client_id",
        "clientSecret": "client_secret",
        "expiresAt": "next_month",
    },
    "oauth.issueToken": {"client_id": "client_id", "subject_token": "session_token"},
}


def live_document(values: Mapping[str, Any]) -> Any:
    """Return the document with the overlay, and these values as examples by their `LIVE` names."""
    document: Any = deepcopy(load_document())
    _apply_overlay(document)
    for item in document["paths"].values():
        for method in METHODS:
            operation = item.get(method)
            if operation is not None and operation["operationId"] in LIVE:
                live = {
                    field: values[name] for field, name in LIVE[operation["operationId"]].items()
                }
                _fill(document, operation, live)
    return document


def _apply_overlay(document: Any) -> None:
    """Update or remove what the overlay names (OpenAPI Overlay 1.0, section 4.4.3)."""
    for action in yaml.safe_load(_OVERLAY.read_bytes())["actions"]:
        *above, last = (name or quoted for name, quoted in _STEP.findall(action["target"]))
        target = document
        for step in above:
            target = target[step]
        if action.get("remove"):
            del target[last]
        else:
            target[last].update(action["update"])


def _fill(document: Any, operation: Any, live: Mapping[str, Any]) -> None:
    if "parameters" in operation:
        parameters = [resolve(document, each) for each in operation["parameters"]]
        operation["parameters"] = [
            {**each, "example": live[each["name"]]} if each["name"] in live else each
            for each in parameters
        ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = resolve(document, content["schema"])
        properties = {
            name: {**resolve(document, below), "example": live[name]} if name in live else below
            for name, below in schema.get("properties", {}).items()
        }
        content["schema"] = {**schema, "properties": properties} if properties else schema
        if "example" in content:
            example = content["example"]
            content["example"] = {name: live.get(name, value) for name, value in example.items()}
