"""Exporting users, for another system or another deployment."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlmodel import col

from accounts.services.database import AccountSession, columns_of
from models import User

#: Users that one statement reads.
_PAGE_SIZE = 500


class ExportedUser(NamedTuple):
    """A user as an export has them; `email` is the address that the account owns.

    There is no password: each hash is bound to the root secret of this deployment, so that no
    other system could verify it.
    """

    id: str
    external_id: str
    email: str
    email_verified_at: datetime | None
    username: str
    display_name: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    locale: str | None
    roles: list[str]
    created_at: datetime
    disabled_at: datetime | None


_COLUMNS = columns_of(User, ExportedUser)


def list_for_export(session: AccountSession, tenant_id: str) -> Iterator[ExportedUser]:
    """Yield the users of a tenant in the order of their ids."""
    after = ""
    while True:
        page = session.core.execute(
            select(*_COLUMNS)
            .where(col(User.tenant_id) == tenant_id, col(User.id) > after)
            .order_by(col(User.id))
            .limit(_PAGE_SIZE)
        ).all()
        for row in page:
            yield ExportedUser._make(row)
        if len(page) < _PAGE_SIZE:
            return
        after = page[-1][0]
