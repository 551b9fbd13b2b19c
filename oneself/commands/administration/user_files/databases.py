"""Users of applications: Supabase and its GoTrue, Django, Laravel and Devise, and LDAP."""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
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
from oneself.commands.administration.user_files.tables import read_table

_UNUSABLE = ("!", "*")
_LDIF_TIME = re.compile(r"\d{14}Z")


def read_gotrue(content: str) -> Iterator[Row]:
    """Yield the users of `auth.users`, as CSV or as a dump of PostgreSQL."""
    for place, user in read_table(content, "auth.users"):
        try:
            details = json.loads(user.get("raw_user_meta_data") or "{}") or {}
        except ValueError:
            details = {}
        if user.get("deleted_at"):
            yield Row(place, None, "it is deleted")
            continue
        banned_until = parse_time(user.get("banned_until"))
        yield make_row(
            place,
            email=user.get("email"),
            name=details.get("full_name") or details.get("name"),
            phone=f"+{user['phone'].lstrip('+')}" if user.get("phone") else None,
            is_verified=bool(user.get("email_confirmed_at") or user.get("confirmed_at")),
            is_enabled=banned_until is None or banned_until < datetime.now(UTC),
            created_at=parse_time(user.get("created_at")),
            password_hash=user.get("encrypted_password"),
        )


def read_django(content: str) -> Iterator[Row]:
    """Yield the users of `manage.py dumpdata`, of any model that has a password and an address.

    An address is verified if django-allauth says so in the same file.
    """
    entries = load_json(content)
    if not isinstance(entries, list):
        raise MalformedFile(" is not an output of dumpdata.")
    verified = {
        (str(entry["fields"].get("user")), str(entry["fields"].get("email")).lower())
        for entry in entries
        if entry.get("model") == "account.emailaddress" and entry["fields"].get("verified") is True
    }
    for number, entry in enumerate(entries, 1):
        fields = entry.get("fields") or {}
        if "password" not in fields or not {"email", "username"} & set(fields):
            continue
        password = str(fields["password"] or "")
        yield make_row(
            f"entry {number}",
            email=fields.get("email"),
            name=fields.get("name"),
            first_name=fields.get("first_name"),
            last_name=fields.get("last_name"),
            username=fields.get("username"),
            is_verified=(str(entry.get("pk")), str(fields.get("email")).lower()) in verified,
            is_enabled=fields.get("is_active") is not False,
            created_at=parse_time(fields.get("date_joined")),
            password_hash=None if password.startswith(_UNUSABLE) else _plain_bcrypt(password),
        )


def _plain_bcrypt(password: str) -> str:
    return password.removeprefix("bcrypt$") if password.startswith("bcrypt$$2") else password


def read_laravel(content: str) -> Iterator[Row]:
    """Yield the users of a table `users` of Laravel or Devise: CSV, SQL dump or JSON."""
    is_json = content.lstrip().startswith(("[", "{"))
    rows: Iterator[tuple[str, dict[str, Any]]] = (
        load_objects(content) if is_json else read_table(content, "users")
    )
    for place, user in rows:
        confirmed = user.get("email_verified_at") or user.get("confirmed_at")
        hashed = user.get("password") or user.get("encrypted_password") or None
        yield make_row(
            place,
            email=user.get("email"),
            name=user.get("name"),
            first_name=user.get("first_name"),
            last_name=user.get("last_name"),
            username=user.get("username"),
            is_verified=bool(confirmed) or is_true(user.get("email_verified")),
            is_enabled=not user.get("deleted_at"),
            created_at=parse_time(user.get("created_at")),
            password_hash=_plain_bcrypt(hashed) if hashed else None,
        )


def read_ldif(content: str) -> Iterator[Row]:
    """Yield the people of an LDIF file (RFC 2849): entries that have a mail address."""
    entry: dict[str, str] = {}
    first = 1
    for number, line in _unfold(content):
        if line.startswith("#"):
            continue
        if line:
            first = first if entry else number
            name, value = _read_attribute(line, number)
            entry.setdefault(name, value)
            continue
        if "mail" in entry or "userpassword" in entry:
            yield _make_person(f"entry at line {first}", entry)
        entry = {}


def _unfold(content: str) -> Iterator[tuple[int, str]]:
    """Yield each logical line with its number; a line that begins with a space continues one."""
    number, parts = 1, [""]
    for each, line in enumerate([*content.splitlines(), ""], 1):
        if line[:1] in {" ", "\t"}:
            parts.append(line[1:])
            continue
        yield number, "".join(parts)
        number, parts = each, [line]
    yield number, "".join(parts)


def _read_attribute(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise MalformedFile(f", line {number}: it is no attribute of LDIF.")
    if value.startswith(":"):
        try:
            value = base64.b64decode(value[1:].strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            value = ""
    return name.partition(";")[0].lower(), value.strip()


def _make_person(place: str, entry: dict[str, str]) -> Row:
    created = entry.get("createtimestamp", "")
    hashed = entry.get("userpassword", "")
    for label in ("{CRYPT}", "{BCRYPT}", "{crypt}", "{bcrypt}"):
        hashed = hashed.removeprefix(label)
    return make_row(
        place,
        email=entry.get("mail"),
        name=entry.get("displayname") or entry.get("cn"),
        first_name=entry.get("givenname"),
        last_name=entry.get("sn"),
        username=entry.get("uid"),
        phone=entry.get("telephonenumber") or entry.get("mobile"),
        locale=entry.get("preferredlanguage"),
        # An administrator wrote the address; nothing says that a mail was read there.
        is_verified=False,
        is_enabled="pwdaccountlockedtime" not in entry,
        created_at=(
            datetime.strptime(created, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
            if _LDIF_TIME.fullmatch(created)
            else None
        ),
        password_hash=hashed,
    )
