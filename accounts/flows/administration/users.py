"""Finding, listing, disabling and enabling users, and changing their roles."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_
from sqlmodel import col, select

from accounts.errors import NotFound
from accounts.services.credentials import count_live
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.user_views import find_user_view
from accounts.services.users import find_owner, parse_roles
from accounts.values import email_address
from accounts.values.identifiers import is_id
from models import User


class UserRecord(NamedTuple):
    """A user as operators see them."""

    user_id: str
    tenant_id: str
    email: str
    username: str
    provider: str
    roles: list[str]
    is_platform_admin: bool
    disabled: bool


class UserDetails(NamedTuple):
    """A user with the state of the account, as operators see it."""

    record: UserRecord
    email_verified: bool
    claimed_email: str | None
    created_at: datetime
    disabled_at: datetime | None
    deletion_due_at: datetime | None
    live: Mapping[str, int]


def describe(user: User) -> UserRecord:
    """Return what operators see of a user."""
    return UserRecord(
        user.id,
        user.tenant_id,
        user.email,
        user.username,
        user.provider,
        user.roles,
        user.is_platform_admin,
        user.disabled_at is not None,
    )


def find_user_by_email(session: AccountSession, email: str) -> User:
    """Return the user with this address.

    Raises:
        NotFound: There is none.
    """
    user = find_owner(session, email_address.canonical(email) or "")
    if user is None:
        raise NotFound
    return user


def find_user(session: AccountSession, name: str) -> User:
    """Return the user with this id or address.

    Raises:
        NotFound: There is none.
    """
    user = session.get(User, name) if is_id(name, "usr_") else None
    return user or find_user_by_email(session, name)


def list_users(
    session: AccountSession, *, search: str | None = None, limit: int
) -> Sequence[UserRecord]:
    """List users, newest first; `search` is a part of an address, a name or an id."""
    users = select(User).order_by(col(User.created_at).desc(), col(User.id).desc()).limit(limit)
    if search:
        columns = (User.email, User.email_canonical, User.claimed_email_canonical, User.username)
        ids = (User.display_name, User.id, User.tenant_id)
        parts = (col(column).icontains(search, autoescape=True) for column in (*columns, *ids))
        users = users.where(or_(*parts))
    return [describe(user) for user in session.exec(users)]


def show_user(session: AccountSession, user: User) -> UserDetails:
    """Return a user with the state of the account: addresses, times and live credentials."""
    return UserDetails(
        describe(user),
        email_verified=user.email_verified_at is not None,
        claimed_email=user.claimed_email,
        created_at=user.created_at,
        disabled_at=user.disabled_at,
        deletion_due_at=user.deletion_due_at,
        live=count_live(session, user.id),
    )


def disable_user(session: AccountSession, user: User) -> None:
    """Disable a user: every credential is rejected from the next request on."""
    if user.disabled_at is None:
        user.disabled_at = session.now
        record_event(session, EventKind.USER_ARCHIVED, find_user_view(session, user.id))


def enable_user(session: AccountSession, user: User) -> None:
    """Enable a disabled user: the credentials that have not ended since are valid again."""
    if user.disabled_at is not None:
        user.disabled_at = None
        view = find_user_view(session, user.id)
        record_event(session, EventKind.ADMINISTRATION, view, act="user_enabled")


def change_roles(
    session: AccountSession, user: User, *, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> None:
    """Add and remove roles, effective from the next request on.

    Raises:
        InvalidRequest: A role is not a short lower-case word, or there would be too many.
    """
    lock_account(session, user.id)
    session.refresh(user, ["roles"])  # they may have changed before the account was locked
    remaining = [role for role in user.roles if role not in set(remove)]
    user.roles = parse_roles([*remaining, *(role for role in add if role not in remaining)])
    session.add(user)
    record_event(
        session,
        EventKind.PERMISSIONS_CHANGED,
        find_user_view(session, user.id),
        roles=", ".join(user.roles),
    )
