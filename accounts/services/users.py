"""Tenants and users: creating them, and finding the owner of an address."""

import re
import secrets
from collections.abc import Sequence

from sqlalchemy import union_all
from sqlmodel import col, select

from accounts.errors import EmailTaken, InvalidRequest
from accounts.services import access_tokens
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import SecretPurpose, is_redeemable
from accounts.services.recovery_address import recovers_by
from accounts.services.user_views import find_user_view
from accounts.values import email_address, names
from accounts.values.identifiers import new_external_id, new_id, new_uuid
from models import OneTimeSecret, PasswordRecord, Tenant, User

__all__ = [
    "find_claimant",
    "find_owner",
    "is_taken",
    "open_tenant",
    "open_user",
    "parse_roles",
]

_NOT_IN_A_USERNAME = re.compile(r"[^a-z0-9._-]+")
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_MAX_ROLES = 20


def open_tenant(session: AccountSession, display_name: str) -> Tenant:
    """Open a tenant.

    Raises:
        InvalidRequest: The name breaks a rule.
    """
    tenant = Tenant(
        id=new_id("tnt_"),
        uuid=new_uuid(),
        display_name=names.clean_name(display_name, "tenant_name"),
        created_at=session.now,
    )
    session.add(tenant)
    # Users refer to it, and SQLModel's tables know no relationship that would order the inserts.
    session.flush()
    return tenant


def open_user(
    session: AccountSession,
    tenant: Tenant,
    *,
    email: str,
    display_name: str,
    record: str | None,
    provider: str = "local",
    roles: Sequence[str] = ("member",),
) -> User:
    """Open a user with an access token; `record` is the hashed password of a local one.

    Raises:
        EmailTaken: Another user, in whatever tenant, has this address.
        InvalidRequest: A value breaks a rule.
    """
    address = email_address.parse_address(email)
    if is_taken(session, address.canonical):
        raise EmailTaken
    user = User(
        id=new_id("usr_"),
        uuid=new_uuid(),
        external_id=new_external_id(),
        tenant_id=tenant.id,
        email=address.entered,
        email_canonical=address.canonical,
        first_email=address.entered,
        first_email_canonical=address.canonical,
        username=_free_username(session, address.canonical),
        display_name=names.clean_name(display_name, "display_name"),
        provider=provider,
        roles=parse_roles(roles),
        created_at=session.now,
    )
    session.add(user)
    session.flush()  # the rows below refer to it
    if record is not None:
        session.add(PasswordRecord(user_id=user.id, record=record, changed_at=session.now))
    access_tokens.issue_access_token(session, user.id)
    record_event(session, EventKind.USER_CREATED, find_user_view(session, user.id))
    return user


def is_taken(session: AccountSession, canonical: str, *, by_other_than: str | None = None) -> bool:
    """Whether a user has this canonical address, or may have it back; one of them may be left out.

    An address that was changed stays its owner's while they can undo the change, or are mailed
    there: a thief could take it else, and nothing would bring it back.

    In a transaction that writes, it stays so until its end (UN-01).
    """
    session.lock(f"address {canonical}")
    return any(claimant != by_other_than for claimant in _claimants(session, canonical))


def find_claimant(session: AccountSession, canonical: str) -> User | None:
    """The user who has this address or, where nobody has, one who may have it back."""
    owner = find_owner(session, canonical)
    if owner is not None:
        return owner
    claimants = _claimants(session, canonical)
    return session.get(User, claimants[0]) if claimants else None


def _claimants(session: AccountSession, canonical: str) -> Sequence[str]:
    found = session.core.execute(
        union_all(
            select(User.id).where(col(User.email_canonical) == canonical),
            select(User.id).where(recovers_by(canonical)),
            select(OneTimeSecret.user_id).where(
                col(OneTimeSecret.address_canonical) == canonical,
                col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
                *is_redeemable(session.now),
            ),
        )
    )
    return found.scalars().all()


def find_owner(session: AccountSession, canonical: str) -> User | None:
    """The user whose present address this is, if there is one."""
    return session.exec(select(User).where(col(User.email_canonical) == canonical)).first()


def parse_roles(roles: Sequence[str]) -> list[str]:
    """Roles, each once.

    Raises:
        InvalidRequest: One is not a short lower-case word, or there are too many.
    """
    if len(roles) > _MAX_ROLES or not all(_ROLE.fullmatch(role) for role in roles):
        rule = f"must be at most {_MAX_ROLES} lower-case words of at most 40 characters"
        raise InvalidRequest.of("roles", rule)
    return list(dict.fromkeys(roles))


def _free_username(session: AccountSession, canonical: str) -> str:
    """A user name made from the address; one that is taken gets digits behind it.

    No `@` can be in it, so that no user name is ever another user's address (UN-02).
    """
    local, _, _ = canonical.partition("@")
    stem = _NOT_IN_A_USERNAME.sub("", local).strip("._-")[:40] or "user"
    name = stem
    while _has_username(session, name):
        name = f"{stem}{secrets.randbelow(10**8):08}"
    return name


def _has_username(session: AccountSession, name: str) -> bool:
    session.lock(f"user name {name}")
    taken = session.core.execute(select(User.id).where(col(User.username) == name))
    return taken.first() is not None
