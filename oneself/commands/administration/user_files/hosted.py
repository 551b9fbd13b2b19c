"""Exports of hosted services: Auth0, Cognito and Firebase."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oneself.commands.administration.user_files.row import (
    MalformedFile,
    Row,
    is_true,
    load_json,
    load_objects,
    make_row,
    parse_time,
)
from oneself.commands.administration.user_files.tables import read_csv

#: A value of the password hash parameters, as the console of Firebase shows them.
_PARAMETER = re.compile(r'"?(?P<name>\w+)"?\s*:\s*"?(?P<value>[\w+/=-]+)"?')


def read_auth0(content: str) -> Iterator[Row]:
    """Yield the users of an Auth0 export (NDJSON), or of its import format (JSON)."""
    for place, user in load_objects(content):
        yield make_row(
            place,
            email=user.get("email"),
            name=user.get("name"),
            first_name=user.get("given_name"),
            last_name=user.get("family_name"),
            username=user.get("username"),
            phone=user.get("phone_number"),
            locale=user.get("locale"),
            is_verified=user.get("email_verified") is True,
            is_enabled=user.get("blocked") is not True,
            created_at=parse_time(_plain_date(user.get("created_at"))),
            password_hash=_auth0_hash(user),
        )


def _plain_date(value: Any) -> Any:
    return value.get("$date") if isinstance(value, dict) else value


def _auth0_hash(user: Mapping[str, Any]) -> str | None:
    custom = user.get("custom_password_hash")
    if not custom:
        return user.get("passwordHash") or user.get("password_hash")
    try:
        value = custom["hash"]["value"]
        if custom["algorithm"] != "scrypt":
            return str(value)  # in the PHC string format, or as LDAP writes it
        salt = custom["salt"]
        if (custom["hash"].get("encoding"), salt.get("encoding")) != ("base64", "base64"):
            return "scrypt in another encoding than base64"
        log_n = int(custom["cost"]).bit_length() - 1
        if 1 << log_n != custom["cost"]:
            return "a cost of scrypt that is no power of two"
        costs = f"ln={log_n},r={custom['blockSize']},p={custom['parallelization']}"
        return f"$scrypt${costs}${salt['value']}${value}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return "a malformed hash"


def write_auth0(users: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a file that Auth0 imports; it has no more than the document allows."""
    yield "["
    before = None
    for user in users:
        if before is not None:
            yield before + ","
        before = json.dumps(
            {
                "user_id": user["id"],
                "email": user["email"],
                "email_verified": user["email_verified"],
                "username": user["username"],
                "name": user["name"],
                "given_name": user["first_name"],
                "family_name": user["last_name"],
                "blocked": not user["enabled"],
            }
        )
    if before is not None:
        yield before
    yield "]"


def read_cognito(content: str) -> Iterator[Row]:
    """Yield the users of a CSV file of a Cognito user pool, which never has hashes."""
    for place, user in read_csv(content):
        if "cognito:username" not in user:
            raise MalformedFile(" has no column cognito:username.")
        yield make_row(
            place,
            email=user.get("email"),
            name=user.get("name"),
            first_name=user.get("given_name"),
            last_name=user.get("family_name"),
            phone=user.get("phone_number"),
            locale=user.get("locale"),
            username=user["cognito:username"],
            is_verified=is_true(user.get("email_verified")),
        )


def read_firebase(content: str, hash_parameters: str | None = None) -> Iterator[Row]:
    """Yield the users of `firebase auth:export users.json --format=JSON`.

    `hash_parameters` is the text that the console shows under "Password hash parameters".
    """
    parameters = {
        match["name"]: match["value"] for match in _PARAMETER.finditer(hash_parameters or "")
    }
    export = load_json(content)
    users = export.get("users") if isinstance(export, dict) else None
    if not isinstance(users, list):
        raise MalformedFile(" has no users.")
    for number, user in enumerate(users, 1):
        hashed = None
        if user.get("passwordHash"):
            try:
                hashed = (
                    f"$fbscrypt$v=1,n={parameters['mem_cost']},r={parameters['rounds']},p=1,"
                    f"ss={parameters['base64_salt_separator']},"
                    f"sk={parameters['base64_signer_key']}${user['salt']}${user['passwordHash']}"
                )
            except KeyError:
                raise MalformedFile(
                    " has hashes of Firebase. Save the password hash parameters of the project,"
                    " which its console shows, and name the file with --hash-parameters."
                ) from None
        yield make_row(
            f"user {number}",
            email=user.get("email"),
            name=user.get("displayName"),
            phone=user.get("phoneNumber"),
            is_verified=user.get("emailVerified") is True,
            is_enabled=user.get("disabled") is not True,
            created_at=parse_time(user.get("createdAt")),
            password_hash=hashed,
        )
