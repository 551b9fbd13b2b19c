"""Spare demo users, for the conformance tests: each is the owner of a tenant with clients."""

from collections.abc import Mapping
from typing import Any

from accounts.crypto.password_hashing import hash_password
from accounts.services.database import AccountSession
from oneself.commands.demo_data import (
    Account,
    DemoUser,
    choose_password,
    find_or_add_client,
    find_or_open_tenant,
    find_or_open_user,
    session_account,
)
from oneself.database import Database

__all__ = ["make_spares"]

_NARROW: Mapping[str, Any] = {"scopes": frozenset({"me/profile:read"})}
#: The clients of a spare user by the prefix of their fields, with what differs from the first.
_CLIENTS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "other_": {},
    "narrow_": _NARROW,
    "public_": {"public": True},
    "narrow_public_": {**_NARROW, "public": True},
    "audience_": {"audiences": ("https://api.example.com",)},
}


def make_spares(
    database: Database, count: int, former: Mapping[str, Mapping[str, str]]
) -> dict[str, Account]:
    """Find or create so many spare users, which share one password.

    What still works of `former`, an earlier result, is kept.
    """
    users = {f"spare_{number}": _spare_user(number) for number in range(1, count + 1)}
    if not users:
        return {}
    with database.transaction(writing=False) as session:
        keys, limits = session.keys, session.limits
    password = choose_password(_spare_user(1), former.get("spare_1", {}).get("password"), limits)
    record = hash_password(password, keys, limits)
    with database.transaction(writing=True) as session:
        return {
            name: {**_account(session, user, record, former.get(name, {})), "password": password}
            for name, user in users.items()
        }


def _spare_user(number: int) -> DemoUser:
    """Return a user like those who sign up in the tests."""
    return DemoUser(f"fresh.{number:016x}@example.com", "Alice Chen", "Acme Corp", "owner")


def _account(
    session: AccountSession, user: DemoUser, record: str, former: Mapping[str, str]
) -> Account:
    tenant = find_or_open_tenant(session, (user,))
    opened = find_or_open_user(session, tenant, user, record, is_verified=False)
    account = session_account(session, tenant, opened, former)
    for prefix, settings in _CLIENTS.items():
        client, secret = find_or_add_client(
            session,
            tenant,
            former.get(f"{prefix}client_secret"),
            name=f"demo {prefix}".replace("_", " ").strip(),
            **settings,
        )
        account[f"{prefix}client_id"] = client.id
        if secret is not None:
            account[f"{prefix}client_secret"] = secret
    return account
