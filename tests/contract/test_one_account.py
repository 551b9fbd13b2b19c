"""One account behind all dialects: acts store the same rows and are visible in each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from oneself_conformance.actors import Actor, Actors
from oneself_conformance.http_client import json_request
from tests.support.service import Service
from tests.support.stored import reading

NEW_PASSWORD = "n3wS3cur3P@ss!"
#: Columns that differ between users or times; all others must be equal.
_OWN = {
    "id", "uuid", "external_id", "tenant_id", "user_id", "email", "email_canonical", "username",
    "first_email", "first_email_canonical", "claimed_email", "claimed_email_canonical",
    "rotated_at", "family_id", "created_at",
    "authenticated_at", "changed_at", "expires_at", "used_at",
    "token_digest", "token_sealed",
    "secret_digest", "address", "address_canonical", "recipient", "parameters_sealed",
    "last_used_at", "delivered_at", "due_at", "leased_until", "occurred_at", "request_id",
    "credential_id", "details",
}  # fmt: skip
_TABLES = (
    "user",
    "password_record",
    "login_session",
    "access_token",
    "api_key",
    "personal_access_token",
    "one_time_secret",
    "user_settings",
    "outbox_message",
    "security_event",
)
#: Recorded later, in batches.
_LATER = "sensitive_read"


def _change_address(user: Actor) -> None:
    body = {"email": f"new.{user['email']}"}
    pending = user.ask("POST", "/resources/me/email/change", body)
    proof = {"identityId": pending["identityId"], "secret": pending["secret"]}
    user.ask("POST", "/resources/me/email/validate", proof)


def _rename(method: str, path: str, field: str) -> Callable[[Actor], None]:
    return lambda user: user.ask(method, path, {field: "Zoë Quinn"})


def _ask_jitsudo(
    user: Actor, service: Service, method: str = "GET", fields: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the profile of jitsudo, whose requests name the tenant."""
    named = (
        ("Authorization", f"Bearer {user['session_token']}"),
        ("X-Tenant-ID", user["tenant_uuid"]),
    )
    answer = service.ask(json_request(method, "/v1/users/me/profile", fields, named))
    assert answer.status == 200, answer
    profile: dict[str, Any] = answer.json()
    return profile


def _change_password(path: str, current: str, new: str) -> Callable[[Actor, Service], None]:
    def act(user: Actor, service: Service) -> None:
        headers = (
            ("Authorization", f"Bearer {user['session_token']}"),
            *([("X-Tenant-ID", user["tenant_uuid"])] if "/users/" in path else []),
        )
        body = {current: user["password"], new: NEW_PASSWORD}
        answer = service.ask(json_request("POST", path, body, headers))
        assert answer.status in {200, 204}, answer

    return act


def _shown(user: Actor) -> dict[str, dict[str, Any]]:
    """Return the user as each dialect shows it."""
    return {
        "ipto": user.ask("GET", "/v1/me")["data"],
        "hyperclast": user.ask("GET", "/api/users/me/"),
        "scaikey": user.ask("GET", "/api/v1/me"),
        "hantera": user.ask("GET", "/resources/me/profile"),
    }


def _verified(shown: dict[str, dict[str, Any]]) -> set[bool]:
    """Return what the dialects say of the address; attack finding 12: every one says it."""
    names = {"hantera": "emailVerified"}
    return {user[names.get(dialect, "email_verified")] for dialect, user in shown.items()}


READS = {
    "ipto": lambda user, _service: user.ask("GET", "/v1/me"),
    "hyperclast": lambda user, _service: user.ask("GET", "/api/users/me/"),
    "scaikey": lambda user, _service: user.ask("GET", "/api/v1/me"),
    "hantera": lambda user, _service: user.ask("GET", "/resources/me/profile"),
    "jitsudo": _ask_jitsudo,
}
RENAMES = {
    "scaikey": lambda user, _service: _rename("PATCH", "/api/v1/me", "display_name")(user),
    "hantera": lambda user, _service: _rename("PATCH", "/resources/me/profile", "name")(user),
    "jitsudo": partial(_ask_jitsudo, method="PUT", fields={"display_name": "Zoë Quinn"}),
}
PASSWORDS = {
    "ipto": _change_password("/v1/me/password", "current_password", "new_password"),
    "scaikey": _change_password("/api/v1/me/password", "current_password", "new_password"),
    "hantera": _change_password("/resources/me/password", "currentPassword", "newPassword"),
    "jitsudo": _change_password("/v1/users/me/password", "current_password", "new_password"),
}
ADDRESSES = {"hantera": lambda user, _service: _change_address(user)}


def _sees_name(user: Actor, service: Service, name: str) -> None:
    seen = _shown(user)
    assert _ask_jitsudo(user, service)["name"] == name
    assert seen["ipto"]["display_name"] == name
    assert seen["scaikey"]["display_name"] == name
    assert seen["hantera"]["name"] == name


def _sees_user(user: Actor, service: Service) -> None:
    seen = _shown(user)
    _sees_name(user, service, "Alice Chen")
    assert {each["email"] for each in seen.values()} == {user["email"]}
    assert _verified(seen) == {False}
    assert seen["ipto"]["user_id"] == seen["scaikey"]["id"] == user["user_id"]
    assert seen["ipto"]["tenant_id"] == seen["scaikey"]["tenant_id"] == user["tenant_id"]


def _sees_rename(user: Actor, service: Service) -> None:
    _sees_name(user, service, "Zoë Quinn")


def _sees_password(user: Actor, service: Service) -> None:
    for password, status in ((user["password"], 401), (NEW_PASSWORD, 200)):
        body = {"email": user["email"], "password": password}
        assert service.ask(json_request("POST", "/v1/auth/login", body)).status == status
    # Every dialect rejects the old password as wrong.
    for path, current, new in (
        ("/v1/me/password", "current_password", "new_password"),
        ("/api/v1/me/password", "current_password", "new_password"),
        ("/resources/me/password", "currentPassword", "newPassword"),
        ("/v1/users/me/password", "current_password", "new_password"),
    ):
        headers = (
            ("Authorization", f"Bearer {user['session_token']}"),
            *([("X-Tenant-ID", user["tenant_uuid"])] if "/users/" in path else []),
        )
        body = {current: user["password"], new: "an0therS3cur3P@ss!"}
        answer = service.ask(json_request("POST", path, body, headers))
        assert answer.status == 400
        assert b"wrong_password" in answer.body


def _sees_address(user: Actor, service: Service) -> None:
    seen = _shown(user)
    assert _ask_jitsudo(user, service)["email"] == f"new.{user['email']}"
    assert {each["email"] for each in seen.values()} == {f"new.{user['email']}"}
    assert _verified(seen) == {False}
    assert seen["hantera"]["pendingEmail"] is None


ACTS = {
    "read the user": (READS, _sees_user),
    "change the name": (RENAMES, _sees_rename),
    "change the password": (PASSWORDS, _sees_password),
    "change the address": (ADDRESSES, _sees_address),
}


def _rows(service: Service, user: Actor) -> dict[str, list[dict[str, Any]]]:
    """Return the stored rows of a user, without the columns that differ between users."""
    with reading(service) as connection:
        rows_by_table = {}
        for table in _TABLES:
            key = {"user": "id", "outbox_message": "recipient"}.get(table, "user_id")
            key_value = user["email"] if table == "outbox_message" else user["user_id"]
            rows = connection.execute(
                text(f'SELECT * FROM "{table}" WHERE {key} = :key_value'),  # noqa: S608 # ours
                {"key_value": key_value},
            )
            rows_by_table[table] = [
                {name: _plain(name, value) for name, value in row.items() if name not in _OWN}
                for row in rows.mappings()
                if table != "security_event" or row["kind"] != _LATER
            ]
            # Two events in one millisecond can have their ids in either order.
            rows_by_table[table].sort(key=str)
    return rows_by_table


def _plain(name: str, value: Any) -> Any:
    # Only the scheme, pepper and cost of a hash; the rest depends on the salt.
    return value[:17] if name == "record" else value


@pytest.mark.parametrize("act", ACTS)
def test_act_stores_the_same_rows_in_every_dialect_and_is_visible_in_all(
    act: str, service: Service, actors: Actors
):
    variants, check = ACTS[act]
    stored = {}
    for dialect, do in variants.items():
        user = actors.sign_up()
        before = _rows(service, user)
        do(user, service)
        stored[dialect] = _rows(service, user)
        if act == "read the user":
            assert stored[dialect] == before
        check(user, service)
    expected = next(iter(stored.values()))
    assert stored == dict.fromkeys(stored, expected)
    always = ("user", "password_record", "login_session", "security_event")
    assert all(expected[table] for table in always)
