"""Importing users of another system, with hashes in place of passwords."""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.crypto import password_hashing
from accounts.crypto.keyring import Keyring
from accounts.errors import InvalidRequest
from accounts.limits import Limits
from accounts.services.database import AccountSession
from accounts.services.recovery_address import mark_verified
from accounts.services.users import open_user, parse_roles
from accounts.values import email_address, names
from models import Tenant, User


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """A user of another system; without a hash the user resets the password by mail."""

    email: str
    name: str
    password_hash: str | None = None
    is_verified: bool = False
    roles: Sequence[str] = ("member",)


def check_import(imported: ImportedUser, *, keys: Keyring, limits: Limits) -> str:
    """Validate a user without the database; returns the canonical address.

    Raises:
        InvalidRequest: A value breaks a rule.
    """
    address = email_address.parse_address(imported.email)
    names.normalize_name(imported.name, "name")
    parse_roles(imported.roles)
    _adopt(imported, keys, limits)
    return address.canonical


def import_user(session: AccountSession, tenant: Tenant, imported: ImportedUser) -> User:
    """Open a user with an existing password hash.

    Raises:
        EmailTaken: Another user, in any tenant, has this address.
        InvalidRequest: A value breaks a rule.
    """
    user = open_user(
        session,
        tenant,
        email=imported.email,
        display_name=imported.name,
        record=_adopt(imported, session.keys, session.limits),
        roles=imported.roles,
    )
    if imported.is_verified:
        mark_verified(user, session.now)
        session.add(user)
    return user


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
