"""Mail about API keys and personal access tokens that expire."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlmodel import col

from accounts.services.credentials import API_KEY, PAT, CredentialType
from accounts.services.database import AccountSession
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.user_views import ENABLED, find_user_view
from models import Tenant, User

#: How many days before the expiry there is a mail: each time of all tokens that are due.
_LEADS = (0, 3, 14)
#: How late the last mail may be, after which it would only confuse.
_LATEST = timedelta(days=1)
_TYPES = (API_KEY, PAT)
#: The number of users in one transaction.
_BATCH = 20


class _Due(NamedTuple):
    """A token whose owner is told now."""

    name: str
    expires_at: datetime


def mail_expiring_tokens(session: AccountSession) -> int:
    """Tell owners of tokens that expire in 14 or 3 days, or just now; returns how many users.

    One mail for all tokens of a user that are due. A token that was created within the lead is left
    out of it: the user knows its expiry. Nothing is mailed to disabled users.
    """
    users = _find_users(session)
    for user_id in users:
        due = [each for type_ in _TYPES for each in _take_due(session, type_, user_id)]
        if due and _is_enabled(session, user_id):
            post_notification(
                session,
                MessageKind.TOKENS_EXPIRING,
                find_user_view(session, user_id),
                name=", ".join(each.name for each in due),
                number=str(len(due)),
                until=min(each.expires_at for each in due).isoformat(),
            )
    return len(users)


def _find_users(session: AccountSession) -> list[str]:
    """Return ids of users with tokens that are due."""
    found: dict[str, None] = {}
    for type_ in _TYPES:
        for lead in _LEADS:
            owner = type_.column("user_id")
            due = select(owner).where(_is_due(session, type_, lead)).distinct().limit(_BATCH)
            found |= dict.fromkeys(session.core.execute(due).scalars())
    return [*found][:_BATCH]


def _take_due(session: AccountSession, type_: CredentialType, user_id: str) -> Iterator[_Due]:
    """Note that the user is told of the tokens that are due, and yield those to name."""
    table = type_.table
    for lead in _LEADS:
        taken = session.core.execute(
            update(table)
            .where(table.user_id == user_id, _is_due(session, type_, lead))
            .values(expiry_notice_days=lead)
            .returning(table.name, table.created_at, table.expires_at)
        )
        for name, created_at, expires_at in taken:
            if created_at < expires_at - timedelta(days=lead):
                yield _Due(name, expires_at)


def _is_due(session: AccountSession, type_: CredentialType, lead: int) -> ColumnElement[bool]:
    """Return the condition that a live token expires within a lead, and its owner was not told."""
    table: Any = type_.table
    shorter = max((timedelta(days=each) for each in _LEADS if each < lead), default=-_LATEST)
    is_due: ColumnElement[bool] = (
        (table.expires_at > session.now + shorter)
        & (table.expires_at <= session.now + timedelta(days=lead))
        & table.revoked_at.is_(None)
        & or_(table.expiry_notice_days.is_(None), table.expiry_notice_days > lead)
    )
    return is_due & (table.rotated_at.is_(None) if type_.has("rotated_at") else true())


def _is_enabled(session: AccountSession, user_id: str) -> bool:
    found = session.core.execute(
        select(func.count())
        .select_from(User)
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(col(User.id) == user_id, ENABLED)
    )
    return bool(found.scalar_one())
