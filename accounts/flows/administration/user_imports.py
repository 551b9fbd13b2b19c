"""Importing users of another system, with hashes in place of passwords."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, select

from accounts.crypto import password_hashing
from accounts.crypto.keyring import Keyring
from accounts.errors import EmailTaken, InvalidRequest
from accounts.limits import Limits
from accounts.services.access_tokens import issue_access_tokens
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_events_of
from accounts.services.recovery_address import verified_columns
from accounts.services.users import free_usernames, lock_held, parse_roles, parse_username
from accounts.values import email_address, locales, names, phone_number
from accounts.values.email_address import Address
from accounts.values.identifiers import new_external_id, new_id, new_uuid
from models import PasswordRecord, Tenant, User

_EXTERNAL_ID = re.compile(r"[0-9A-Za-z]{10}")


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """A user of another system; without a hash the user resets the password by mail.

    `username`, `phone` and `locale` are dropped if they break a rule here.
    """

    email: str
    name: str
    password_hash: str | None = None
    is_verified: bool = False
    roles: Sequence[str] = ("member",)
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    locale: str | None = None
    username: str | None = None
    external_id: str | None = None
    is_enabled: bool = True
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PreparedUser:
    """A validated user, with the password record to store and the names of dropped values."""

    imported: ImportedUser
    address: Address
    display_name: str
    record: str | None
    roles: list[str]
    values: dict[str, str | None]
    username: str | None
    dropped: tuple[str, ...]


def prepare_import(imported: ImportedUser, *, keys: Keyring, limits: Limits) -> PreparedUser:
    """Validate a user without the database.

    Raises:
        InvalidRequest: A value breaks a rule.
    """
    address = email_address.parse_address(imported.email)
    display_name = names.normalize_name(imported.name, "name")
    roles = parse_roles(imported.roles)
    if imported.external_id is not None and not _EXTERNAL_ID.fullmatch(imported.external_id):
        raise InvalidRequest.of("external_id", "must be 10 letters and digits")
    record = _adopt(imported, keys, limits)
    parsers: dict[str, Callable[[str, str], str]] = {
        "first_name": names.normalize_name,
        "last_name": names.normalize_name,
        "phone": phone_number.parse_phone,
        "locale": locales.parse_locale,
        "username": parse_username,
    }
    values: dict[str, str | None] = {}
    dropped = []
    for field, parse in parsers.items():
        value = getattr(imported, field)
        try:
            values[field] = None if value is None else parse(value, field)
        except InvalidRequest:
            values[field] = None
            dropped.append(field)
    username = values.pop("username")
    return PreparedUser(
        imported, address, display_name, record, roles, values, username, tuple(dropped)
    )


def check_import(imported: ImportedUser, *, keys: Keyring, limits: Limits) -> str:
    """Validate a user without the database; returns the canonical address.

    Raises:
        InvalidRequest: A value breaks a rule.
    """
    return prepare_import(imported, keys=keys, limits=limits).address.canonical


def import_user(session: AccountSession, tenant: Tenant, imported: ImportedUser) -> User:
    """Open a user with an existing password hash.

    Raises:
        EmailTaken: Another user, in any tenant, has this address.
        InvalidRequest: A value breaks a rule.
    """
    prepared = prepare_import(imported, keys=session.keys, limits=session.limits)
    [user_id] = import_users(session, tenant, [prepared])
    return session.get_one(User, user_id)


def import_users(
    session: AccountSession, tenant: Tenant, batch: Sequence[PreparedUser]
) -> list[str]:
    """Open users with a few statements for all of them; returns their ids.

    Raises:
        EmailTaken: Another user, in any tenant, has one of the addresses.
    """
    wanted = {each.address.canonical: each.username for each in batch}
    if len(wanted) < len(batch) or lock_held(session, wanted):
        raise EmailTaken
    usernames = free_usernames(session, wanted)
    rows = [_make_row(session, tenant.id, each, usernames) for each in batch]
    # Not as entities: creating those took more time than everything else.
    session.core.execute(insert(User), rows)
    records = [
        {"user_id": row["id"], "record": each.record, "changed_at": session.now}
        for row, each in zip(rows, batch, strict=True)
        if each.record is not None
    ]
    if records:
        session.core.execute(insert(PasswordRecord), records)
    user_ids = [row["id"] for row in rows]
    issue_access_tokens(session, user_ids)
    record_events_of(
        session, EventKind.USER_CREATED, tenant.id, [(user_id, {}) for user_id in user_ids]
    )
    return user_ids


def find_external_ids(session: AccountSession, external_ids: Collection[str]) -> frozenset[str]:
    """Return those of the external ids that users have."""
    used = session.core.execute(
        select(User.external_id).where(col(User.external_id).in_(external_ids))
    )
    return frozenset(used.scalars())


def _make_row(
    session: AccountSession, tenant_id: str, prepared: PreparedUser, usernames: Mapping[str, str]
) -> dict[str, Any]:
    address, imported = prepared.address, prepared.imported
    verified = {
        "email_verified_at": None,
        "claimed_email": None,
        "claimed_email_canonical": None,
        "verified_email": None,
        "verified_email_canonical": None,
        "first_email": address.entered,
        "first_email_canonical": address.canonical,
    }
    return {
        "id": new_id("usr_"),
        "uuid": new_uuid(),
        "external_id": imported.external_id or new_external_id(),
        "tenant_id": tenant_id,
        "email": address.entered,
        "email_canonical": address.canonical,
        **(verified_columns(address, session.now) if imported.is_verified else verified),
        "username": usernames[address.canonical],
        "display_name": prepared.display_name,
        **prepared.values,
        "picture": None,
        "timezone": None,
        "provider": "local",
        "roles": prepared.roles,
        "is_platform_admin": False,
        "credential_epoch": 0,
        # Not later than now: the clock of the other system may have been ahead.
        "created_at": min(imported.created_at or session.now, session.now),
        "disabled_at": None if imported.is_enabled else session.now,
    }


def _adopt(imported: ImportedUser, keys: Keyring, limits: Limits) -> str | None:
    if imported.password_hash is None:
        return None
    adopted = password_hashing.import_hash(imported.password_hash, keys)
    if adopted is None:
        rule = "must be of a known scheme, such as bcrypt, with parameters that a login can afford"
        raise InvalidRequest.of("password_hash", rule)
    record, cost = adopted
    if cost > limits.password_cost:
        # Its logins would take longer than those of unknown addresses, and so reveal that there is
        # an account (LG-03).
        rule = (
            f"takes as long as bcrypt with cost {cost}: ONESELF_PASSWORD_COST must be at least that"
        )
        raise InvalidRequest.of("password_hash", rule)
    return record
