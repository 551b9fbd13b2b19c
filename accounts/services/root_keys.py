"""The root secrets that rows of the database are stored under."""

from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from accounts.services.database import AccountSession
from models import RootKey


def list_roots(session: AccountSession) -> dict[str, datetime]:
    """Return the key id of each root secret that rows may be stored under, and its first use."""
    rows = session.core.execute(select(col(RootKey.key_id), col(RootKey.created_at)))
    return dict(rows.all())


def find_unknown_roots(session: AccountSession) -> list[str]:
    """Return the key ids of roots in use that this process does not have (TK-07)."""
    rows = session.core.execute(
        select(col(RootKey.key_id), col(RootKey.check_value)).order_by(col(RootKey.created_at))
    )
    return [key_id for key_id, check_value in rows if not session.keys.knows(key_id, check_value)]


def remember_root(session: AccountSession, key_id: str) -> None:
    """Record that rows are stored under a root from now on, unless it is recorded."""
    if session.get(RootKey, key_id) is None:
        session.add(
            RootKey(
                key_id=key_id, check_value=session.keys.check_value(key_id), created_at=session.now
            )
        )
