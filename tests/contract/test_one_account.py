"""One account: an act leaves the same rows through each dialect, and is seen through all others."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from oneself.conformance.actors import Actor, Actors
from oneself.conformance.http_client import json_request
from tests.support.service import Service
from tests.support.stored import reading

NEW_PASSWORD = "n3wS3cur3P@ss!"
#: What is each person's or each moment's own; everything else is to be the same.
_OWN = {
    "id", "uuid", "external_id", "tenant_id", "user_id", "email", "email_canonical", "username",
    "first_email", "first_email_canonical", "created_at", "changed_at", "expires_at", "used_at",
    "token_digest", "token_sealed",
    "secret_digest", "address", "address_canonical", "recipient", "parameters_sealed",
    "delivered_at", "due_at", "leased_until", "occurred_at", "request_id", "credential_id",
    "details",
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
#: Written in a while, with others of its kind.
_LATER = "sensitive_read"


def _change_address(person: Actor) -> None:
    wanted = {"email": f"new.{person['email']}"}
    pending = person.ask("POST", "/resources/me/email/change", wanted)
    proof = {"identityId": pending["identityId"], "secret": pending["secret"]}
    person.ask("POST", "/resources/me/email/validate", proof)


def _rename(method: str, path: str, field: str) -> Callable[[Actor], None]:
    return lambda person: person.ask(method, path, {field: "Zoë Quinn"})


def _change_password(path: str, current: str, new: str) -> Callable[[Actor, Service], None]:
    def act(person: Actor, service: Service) -> None:
        headers = (
            ("Authorization", f"Bearer {person['session_token']}"),
            *([("X-Tenant-ID", person["tenant_uuid"])] if "/users/" in path else []),
        )
        body = {current: person["password"], new: NEW_PASSWORD}
        answer = service.ask(json_request("POST", path, body, headers))
        assert answer.status in {200, 204}, answer

    return act


def _people_seen(person: Actor) -> dict[str, dict[str, Any]]:
    """What each dialect shows of the person."""
    return {
        "ipto": person.ask("GET", "/v1/me")["data"],
        "hyperclast": person.ask("GET", "/api/users/me/"),
        "scaikey": person.ask("GET", "/api/v1/me"),
        "hantera": person.ask("GET", "/resources/me/profile"),
    }


READS = {
    "ipto": lambda person, _service: person.ask("GET", "/v1/me"),
    "hyperclast": lambda person, _service: person.ask("GET", "/api/users/me/"),
    "scaikey": lambda person, _service: person.ask("GET", "/api/v1/me"),
    "hantera": lambda person, _service: person.ask("GET", "/resources/me/profile"),
}
RENAMES = {
    "scaikey": lambda person, _service: _rename("PATCH", "/api/v1/me", "display_name")(person),
    "hantera": lambda person, _service: _rename("PATCH", "/resources/me/profile", "name")(person),
}
PASSWORDS = {
    "ipto": _change_password("/v1/me/password", "current_password", "new_password"),
    "scaikey": _change_password("/api/v1/me/password", "current_password", "new_password"),
    "hantera": _change_password("/resources/me/password", "currentPassword", "newPassword"),
    "jitsudo": _change_password("/v1/users/me/password", "current_password", "new_password"),
}
ADDRESSES = {"hantera": lambda person, _service: _change_address(person)}


def _sees_name(person: Actor, _service: Service, name: str) -> None:
    seen = _people_seen(person)
    assert seen["ipto"]["display_name"] == name
    assert seen["scaikey"]["display_name"] == name
    assert seen["hantera"]["name"] == name


def _sees_person(person: Actor, service: Service) -> None:
    seen = _people_seen(person)
    _sees_name(person, service, "Alice Chen")
    assert {each["email"] for each in seen.values()} == {person["email"]}
    assert seen["ipto"]["user_id"] == seen["scaikey"]["id"] == person["user_id"]
    assert seen["ipto"]["tenant_id"] == seen["scaikey"]["tenant_id"] == person["tenant_id"]


def _sees_rename(person: Actor, service: Service) -> None:
    _sees_name(person, service, "Zoë Quinn")


def _sees_password(person: Actor, service: Service) -> None:
    for password, status in ((person["password"], 401), (NEW_PASSWORD, 200)):
        body = {"email": person["email"], "password": password}
        assert service.ask(json_request("POST", "/v1/auth/login", body)).status == status
    # Each other dialect asks for the new password now, and takes the old one for wrong.
    for path, current, new in (
        ("/v1/me/password", "current_password", "new_password"),
        ("/api/v1/me/password", "current_password", "new_password"),
        ("/resources/me/password", "currentPassword", "newPassword"),
        ("/v1/users/me/password", "current_password", "new_password"),
    ):
        headers = (
            ("Authorization", f"Bearer {person['session_token']}"),
            *([("X-Tenant-ID", person["tenant_uuid"])] if "/users/" in path else []),
        )
        body = {current: person["password"], new: "an0therS3cur3P@ss!"}
        answer = service.ask(json_request("POST", path, body, headers))
        assert answer.status == 400
        assert b"wrong_password" in answer.body


def _sees_address(person: Actor, _service: Service) -> None:
    seen = _people_seen(person)
    assert {each["email"] for each in seen.values()} == {f"new.{person['email']}"}
    assert (seen["hyperclast"]["email_verified"], seen["scaikey"]["email_verified"]) == (False,) * 2
    assert seen["hantera"]["pendingEmail"] is None


ACTS = {
    "read the person": (READS, _sees_person),
    "change the name": (RENAMES, _sees_rename),
    "change the password": (PASSWORDS, _sees_password),
    "change the address": (ADDRESSES, _sees_address),
}


def _rows(service: Service, person: Actor) -> dict[str, list[dict[str, Any]]]:
    """What the database has of a person, without what is each person's own."""
    with reading(service) as connection:
        found = {}
        for table in _TABLES:
            key = {"user": "id", "outbox_message": "recipient"}.get(table, "user_id")
            wanted = person["email"] if table == "outbox_message" else person["user_id"]
            rows = connection.execute(
                text(f'SELECT * FROM "{table}" WHERE {key} = :wanted'),  # noqa: S608 # ours
                {"wanted": wanted},
            )
            found[table] = [
                {name: _plain(name, value) for name, value in row.items() if name not in _OWN}
                for row in rows.mappings()
                if table != "security_event" or row["kind"] != _LATER
            ]
            # Of two events in one millisecond either may have the greater id.
            found[table].sort(key=str)
    return found


def _plain(name: str, value: Any) -> Any:
    # Of a hash its scheme, pepper and cost; the salt makes the rest each person's own.
    return value[:17] if name == "record" else value


@pytest.mark.parametrize("act", ACTS)
def test_an_act_leaves_the_same_rows_through_each_dialect_and_is_seen_through_all(
    act: str, service: Service, people: Actors
):
    """The dialects are doors to one house, and not houses."""
    doors, seen = ACTS[act]
    left = {}
    for dialect, do in doors.items():
        person = people.sign_up()
        untouched = _rows(service, person)
        do(person, service)
        left[dialect] = _rows(service, person)
        if act == "read the person":
            assert left[dialect] == untouched
        seen(person, service)
    expected = next(iter(left.values()))
    assert left == dict.fromkeys(left, expected)
    always = ("user", "password_record", "login_session", "security_event")
    assert all(expected[table] for table in always)
