"""Keycloak's realm export, with users: `kc.sh export --users same_file`.

The two JSON texts in each credential are those of its own storage.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from oneself.commands.administration.user_files.row import (
    MalformedFile,
    Row,
    load_json,
    make_row,
    parse_time,
)

_ARGON2_VERSION = "1.3"


def read(content: str) -> Iterator[Row]:
    """Yield the users of a realm, or of a file of users alone."""
    realms = load_json(content)
    for realm in realms if isinstance(realms, list) else [realms]:
        users = realm.get("users") if isinstance(realm, dict) else None
        if not isinstance(users, list):
            raise MalformedFile(" has no users. Export the realm with --users same_file.")
        for number, user in enumerate(users, 1):
            yield _make(f"user {number}", user)


def _make(place: str, user: Mapping[str, Any]) -> Row:
    if user.get("serviceAccountClientId"):
        return Row(place, None, "it is the service account of a client")
    attributes = user.get("attributes") or {}
    return make_row(
        place,
        email=user.get("email"),
        username=user.get("username"),
        first_name=user.get("firstName"),
        last_name=user.get("lastName"),
        phone=_first(attributes, "phoneNumber") or _first(attributes, "phone_number"),
        locale=_first(attributes, "locale"),
        is_verified=user.get("emailVerified") is True,
        is_enabled=user.get("enabled") is not False,
        created_at=parse_time(user.get("createdTimestamp")),
        password_hash=_hash(user.get("credentials") or []),
    )


def _first(attributes: Mapping[str, Any], name: str) -> str | None:
    values = attributes.get(name)
    value = values[0] if values and isinstance(values, list) else values
    return value if isinstance(value, str) else None


def _hash(credentials: list[Mapping[str, Any]]) -> str | None:
    for credential in credentials:
        if credential.get("type") != "password":
            continue
        try:
            secret = json.loads(credential["secretData"])
            data = json.loads(credential["credentialData"])
            algorithm, iterations = data["algorithm"], data["hashIterations"]
            salt, value = secret["salt"], secret["value"]
            more = data.get("additionalParameters") or {}
            if algorithm == "argon2":
                if more["version"] != [_ARGON2_VERSION]:
                    return "an older version of argon2"
                memory, lanes, kind = (more[name][0] for name in ("memory", "parallelism", "type"))
                return f"$argon2{kind}$v=19$m={memory},t={iterations},p={lanes}${salt}${value}"
        except (KeyError, TypeError, ValueError, IndexError):
            return "a malformed credential"
        # `pbkdf2` is with SHA-1, the others name their digest.
        return f"${algorithm}$i={iterations}${salt}${value}"
    return None


def write(users: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a file that Keycloak imports into a realm."""
    yield '{"users": ['
    before = None
    for user in users:
        if before is not None:
            yield before + ","
        before = json.dumps(_describe(user))
    if before is not None:
        yield before
    yield "]}"


def _describe(user: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {
        name: [user[ours]]
        for name, ours in (("phoneNumber", "phone"), ("locale", "locale"))
        if user[ours]
    }
    return {
        "username": user["username"],
        "email": user["email"],
        "emailVerified": user["email_verified"],
        "enabled": user["enabled"],
        "firstName": user["first_name"] or user["name"],
        "lastName": user["last_name"] or "",
        "attributes": attributes,
        "requiredActions": ["UPDATE_PASSWORD"],
    }
