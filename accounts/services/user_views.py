"""Read model of a user with their tenant."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, func, select
from sqlmodel import col

from accounts.errors import NotFound
from accounts.services.database import AccountSession, columns_of
from accounts.services.second_factors import has_second_factor
from models import Tenant, User


class UserView(NamedTuple):
    """One user with their tenant, as read; later changes of the tables do not affect it.

    `email` is the address that the account shows: the one that it claims, else the one that it
    owns (`accounts.services.recovery_address`).
    """

    user_id: str
    identity_id: str
    external_id: str
    tenant_id: str
    tenant_uuid: str
    tenant_display_name: str
    email: str
    email_verified_at: datetime | None
    username: str
    first_name: str | None
    last_name: str | None
    display_name: str | None
    phone: str | None
    picture: str | None
    locale: str | None
    timezone: str | None
    provider: str
    roles: list[str]
    is_platform_admin: bool
    has_second_factor: bool

    @property
    def email_verified(self) -> bool:
        """True if the shown address is verified; a claimed one never is."""
        return self.email_verified_at is not None

    @property
    def name(self) -> str:
        """Display name, else first and last name, else user name."""
        if self.display_name:
            return self.display_name
        full = " ".join(part for part in (self.first_name, self.last_name) if part)
        # Two names of 200 characters each exceed the limit of every dialect.
        return full[:200].rstrip() or self.username


#: The columns of `UserView`, for statements that read a user beside something else.
USER_VIEW_COLUMNS = columns_of(
    User,
    UserView,
    user_id=col(User.id),
    email=func.coalesce(col(User.claimed_email), col(User.email)).label("email"),
    email_verified_at=case(
        (col(User.claimed_email).is_(None), col(User.email_verified_at)), else_=None
    ).label("email_verified_at"),
    identity_id=col(User.uuid),
    tenant_uuid=col(Tenant.uuid),
    tenant_display_name=col(Tenant.display_name),
    has_second_factor=has_second_factor().label("has_second_factor"),
)

#: The condition that user and tenant are enabled and the account is not deleted, for statements
#: that join them.
ENABLED = and_(
    col(User.disabled_at).is_(None),
    col(User.deletion_due_at).is_(None),
    col(Tenant.disabled_at).is_(None),
)

_USER = (
    select(*USER_VIEW_COLUMNS)
    .join(Tenant, col(Tenant.id) == col(User.tenant_id))
    .where(col(User.id) == bindparam("user_id"))
)


def find_user_view(session: AccountSession, user_id: str) -> UserView:
    """Return a user as they are now, including pending changes of this session.

    Raises:
        NotFound: There is no such user.
    """
    rows = session.rows(_USER, {"user_id": user_id})
    if not rows:
        raise NotFound
    return UserView._make(rows[0])
