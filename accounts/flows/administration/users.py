"""Finding and disabling users, and changing their roles."""

from collections.abc import Iterable
from typing import NamedTuple

from accounts.errors import NotFound
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.user_views import find_user_view
from accounts.services.users import find_owner, parse_roles
from accounts.values import email_address
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


def disable_user(session: AccountSession, user: User) -> None:
    """Disable a user: every credential is rejected from the next request on."""
    if user.disabled_at is None:
        user.disabled_at = session.now
        record_event(session, EventKind.USER_ARCHIVED, find_user_view(session, user.id))


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
