"""Tenants and users: creating them, and finding the owner of an address."""

import re
import secrets
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select as select_columns
from sqlalchemy import union_all, update
from sqlmodel import col, select

from accounts.crypto.password_hashing import NO_PASSWORD
from accounts.errors import EmailTaken, InvalidRequest, UsernameTaken
from accounts.services import access_tokens
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.one_time_secrets import SecretPurpose, is_redeemable
from accounts.services.user_views import ENABLED, find_user_view
from accounts.values import email_address, names
from accounts.values.identifiers import new_external_id, new_id, new_uuid
from models import OneTimeSecret, PasswordRecord, Tenant, User

_NOT_IN_A_USERNAME = re.compile(r"[^a-z0-9._-]+")
_USERNAME = re.compile(r"[a-z0-9._-]{4,20}")
#: User names that could be taken for those who run the service, or for a missing value.
_RESERVED_USERNAMES = frozenset(
    {
        *("admin", "administrator", "root", "superuser", "sysadmin", "system", "staff"),
        *("moderator", "security", "support", "helpdesk", "abuse", "postmaster", "hostmaster"),
        *("webmaster", "noreply", "no-reply", "oneself", "anonymous", "unknown", "null"),
        *("none", "undefined"),
    }
)
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_MAX_ROLES = 20


def find_password_record(session: AccountSession, user_id: str) -> str | None:
    """Return the password record of a user, as the database has it now."""
    return session.core.execute(
        select_columns(col(PasswordRecord.record)).where(col(PasswordRecord.user_id) == user_id)
    ).scalar()


def open_tenant(session: AccountSession, display_name: str) -> Tenant:
    """Open a tenant.

    Raises:
        InvalidRequest: The name breaks a rule.
    """
    tenant = Tenant(
        id=new_id("tnt_"),
        uuid=new_uuid(),
        display_name=names.normalize_name(display_name, "tenant_name"),
        created_at=session.now,
    )
    session.add(tenant)
    # Users refer to it, and without relationships SQLModel does not order the inserts.
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
    """Open a user with an access token; `record` is the password record of a local user.

    Raises:
        EmailTaken: Another user, in any tenant, has this address.
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
        display_name=names.normalize_name(display_name, "display_name"),
        provider=provider,
        roles=parse_roles(roles),
        created_at=session.now,
    )
    session.add(user)
    session.flush()  # rows that are added below refer to it
    if record is not None:
        session.add(PasswordRecord(user_id=user.id, record=record, changed_at=session.now))
    access_tokens.issue_access_token(session, user.id)
    record_event(session, EventKind.USER_CREATED, find_user_view(session, user.id))
    return user


def is_taken(session: AccountSession, canonical: str, *, by_other_than: str | None = None) -> bool:
    """Return whether a user, except one if given, owns this canonical address or can undo to it.

    A former address stays reserved for its owner while an undo link to it is valid: otherwise an
    attacker could take it, and it could not be restored. A claim takes no address.

    The address is locked, so that the result is true until the transaction ends (UN-01).
    """
    session.lock(f"address {canonical}")
    return is_held(session, canonical, by_other_than=by_other_than)


def is_held(session: AccountSession, canonical: str, *, by_other_than: str | None) -> bool:
    """Return the same at this moment, without the lock."""
    return any(user_id != by_other_than for user_id in _find_holders(session, canonical))


def lock_held(session: AccountSession, canonicals: Collection[str]) -> frozenset[str]:
    """Lock addresses, and return those that a user owns or can undo to; see `is_taken`."""
    for canonical in sorted(canonicals):  # in one order, so that two imports cannot deadlock
        session.lock(f"address {canonical}")
    return find_held(session, canonicals)


def find_held(session: AccountSession, canonicals: Collection[str]) -> frozenset[str]:
    """Return the same at this moment, without the locks."""
    held = session.core.execute(
        union_all(
            select(User.email_canonical).where(col(User.email_canonical).in_(canonicals)),
            select(OneTimeSecret.address_canonical).where(
                col(OneTimeSecret.address_canonical).in_(canonicals),
                col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
                *is_redeemable(session.now),
            ),
        )
    )
    return frozenset(held.scalars())


def find_holder(session: AccountSession, canonical: str) -> User | None:
    """Return the owner of the address, or a user who can still undo to it."""
    owner = find_owner(session, canonical)
    if owner is not None:
        return owner
    holders = _find_holders(session, canonical)
    return session.get(User, holders[0]) if holders else None


def _find_holders(session: AccountSession, canonical: str) -> Sequence[str]:
    user_ids = session.core.execute(
        union_all(
            select(User.id).where(col(User.email_canonical) == canonical),
            select(OneTimeSecret.user_id).where(
                col(OneTimeSecret.address_canonical) == canonical,
                col(OneTimeSecret.purpose) == SecretPurpose.EMAIL_UNDO,
                *is_redeemable(session.now),
            ),
        )
    )
    return user_ids.scalars().all()


def find_owner(session: AccountSession, canonical: str) -> User | None:
    """Return the user who owns this address, or None."""
    return session.exec(select(User).where(col(User.email_canonical) == canonical)).first()


def find_enabled_user(session: AccountSession, user_id: str) -> User | None:
    """Return a user by id, if user and tenant are enabled."""
    return session.exec(
        select(User)
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(col(User.id) == user_id, ENABLED)
    ).first()


def parse_roles(roles: Sequence[str]) -> list[str]:
    """Return the roles without duplicates.

    Raises:
        InvalidRequest: A role is not a short lower-case word, or there are too many.
    """
    if len(roles) > _MAX_ROLES or not all(_ROLE.fullmatch(role) for role in roles):
        rule = f"must be at most {_MAX_ROLES} lower-case words of at most 40 characters"
        raise InvalidRequest.of("roles", rule)
    return list(dict.fromkeys(roles))


def parse_username(value: str, field: str) -> str:
    """Return a user name in lower case, so that no two differ in the case of letters only.

    Raises:
        InvalidRequest: It has other characters than user names may have, too few or too many.
    """
    # Of ASCII only: the lower case of the Kelvin sign is a plain k.
    username = value.lower() if value.isascii() else ""
    if not _USERNAME.fullmatch(username):
        raise InvalidRequest.of(field, "must be 4 to 20 letters, digits, dots, hyphens or _")
    return username


def claim_username(session: AccountSession, username: str) -> None:
    """Lock a user name for the rest of the transaction, which gives it to a user.

    Raises:
        UsernameTaken: Another user has it, or it is reserved.
    """
    if _is_used_or_reserved(session, username):
        raise UsernameTaken


def _free_username(session: AccountSession, canonical: str) -> str:
    """Return a free user name made from the address, with random digits if it is taken.

    It never contains an `@`, so that no user name is the address of another user (UN-02).
    """
    stem = _username_stem(canonical)
    name = stem
    while _is_used_or_reserved(session, name):
        name = f"{stem}{secrets.randbelow(10**8):08}"
    return name


def free_usernames(session: AccountSession, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return a free user name for each canonical address, the wanted one where it is free."""
    free: dict[str, str] = {}
    names = {each: name or _username_stem(each) for each, name in wanted.items()}
    stems = names
    while names:
        for name in sorted(set(names.values())):
            session.lock(f"user name {name}")
        used = set(
            session.core.execute(
                select(User.username).where(col(User.username).in_(set(names.values())))
            ).scalars()
        )
        used |= _RESERVED_USERNAMES | set(free.values())
        for canonical, name in names.items():
            if name not in used:
                free[canonical] = name
                used.add(name)
        names = {
            each: f"{stem[:40]}{secrets.randbelow(10**8):08}"
            for each, stem in stems.items()
            if each not in free
        }
    return free


def _username_stem(canonical: str) -> str:
    local, _, _ = canonical.partition("@")
    return _NOT_IN_A_USERNAME.sub("", local).strip("._-")[:40] or "user"


def _is_used_or_reserved(session: AccountSession, name: str) -> bool:
    if name in _RESERVED_USERNAMES:
        return True
    session.lock(f"user name {name}")
    taken = session.core.execute(select(User.id).where(col(User.username) == name))
    return taken.first() is not None


def expire_password(session: AccountSession, user_id: str) -> None:
    """Let no password log the user in until a reset sets a new one."""
    session.core.execute(
        update(PasswordRecord)
        .where(col(PasswordRecord.user_id) == user_id)
        .values(record=NO_PASSWORD, changed_at=session.now)
    )
