"""Acts on demo data that no API offers: of an operator, of time, and of incoming mail."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from accounts.flows.administration import clients, tenants, users
from accounts.flows.deletion.account_deletion import delete_account
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.user_views import find_user_view
from accounts.values.identifiers import new_uuid
from models import (
    AccessToken,
    ApiKey,
    LoginSession,
    OneTimeSecret,
    PersonalAccessToken,
    RefreshToken,
    Tenant,
    User,
)
from oneself.database import Database

__all__ = ["DemoActs"]

#: For the service to deliver an email.
SECONDS_TO_DELIVER = 10.0
_SECRET = re.compile(r"ots_[0-9A-Za-z]{49}")


class DemoActs:
    """Acts beside a running service, on its database and its mail folder."""

    def __init__(
        self, database: Database, mail: Path, *, seconds_to_deliver: float | None = None
    ) -> None:
        self._database = database
        self._mail = mail
        self._seconds_to_deliver = seconds_to_deliver or SECONDS_TO_DELIVER

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply the act of this name to a user or their tenant, and return its results by name.

        Raises:
            LookupError: There is no such act.
        """
        apply = _ACTS[name]
        with self._database.transaction(writing=True) as session:
            return apply(session, session.get_one(User, user_id), **arguments)

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """Return the UUID of a tenant, which no dialect shows."""
        with self._database.transaction(writing=False) as session:
            return tenants.find_tenant(session, tenant_id).uuid

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Wait for the newest email to a recipient with a subject, which the product name follows.

        It is deleted, so that the next call waits for the next one.

        Raises:
            TimeoutError: There is no such email.
        """
        deadline = time.monotonic() + self._seconds_to_deliver
        while time.monotonic() < deadline:
            for path in self._mail.glob("*.eml"):
                mail = message_from_bytes(path.read_bytes(), policy=policy.default)
                title, _, _ = mail["Subject"].rpartition(" \N{EN DASH} ")
                if (mail["To"], title) == (recipient, subject):
                    path.unlink()
                    part = mail.get_body(("plain",))
                    text = part.get_content() if part else ""
                    match = _SECRET.search(text)
                    return {"text": text, "secret": match[0] if match else ""}
            time.sleep(0.05)
        raise TimeoutError(f"no mail {subject!r} to {recipient}")


def _add_client(
    session: AccountSession,
    user: User,
    *,
    scopes: list[str] | None = None,
    audiences: Iterable[str] = (),
    public: bool = False,
) -> Mapping[str, Any]:
    client, secret = clients.add_client(
        session,
        session.get_one(Tenant, user.tenant_id),
        name="CI",
        scopes=scopes or SESSION_RIGHTS,
        audiences=audiences,
        public=public,
    )
    return {"client_id": client.id, "client_secret": secret}


def _disable_user(session: AccountSession, user: User) -> Mapping[str, Any]:
    users.disable_user(session, user)
    session.add(user)
    return {}


def _delete_account(session: AccountSession, user: User) -> Mapping[str, Any]:
    """Delete the account, as its user does."""
    delete_account(session, find_user_view(session, user.id))
    return {}


def _disable_tenant(session: AccountSession, user: User) -> Mapping[str, Any]:
    session.add(tenants.disable_tenant(session, user.tenant_id))
    return {}


def _time_passes(session: AccountSession, user: User, **parts: int) -> Mapping[str, Any]:
    """Move the times of all credentials and secrets of a user into the past."""
    tables: tuple[Any, ...] = (
        OneTimeSecret,
        LoginSession,
        ApiKey,
        PersonalAccessToken,
        RefreshToken,
    )
    for table in tables:
        for row in session.exec(select(table).where(col(table.user_id) == user.id)):
            row.expires_at -= timedelta(**parts)
            row.created_at -= timedelta(**parts)
            for optional in ("authenticated_at", "rotated_at"):
                if getattr(row, optional, None) is not None:
                    setattr(row, optional, getattr(row, optional) - timedelta(**parts))
            session.add(row)
    return {}


def _name_tenant(session: AccountSession, user: User, *, uuid: str) -> Mapping[str, Any]:
    """Give a tenant the UUID that a reference prints, and its present owner another one."""
    for former in session.exec(select(Tenant).where(col(Tenant.uuid) == uuid)).all():
        former.uuid = new_uuid()
        session.add(former)
    session.flush()
    tenant = session.get_one(Tenant, user.tenant_id)
    tenant.uuid = uuid
    session.add(tenant)
    return {}


def _swap_sealed_tokens(session: AccountSession, user: User, *, other: str) -> Mapping[str, Any]:
    """Swap the sealed tokens of two users, as an attacker with database access could."""
    own, theirs = (session.get_one(AccessToken, user_id) for user_id in (user.id, other))
    own.token_sealed, theirs.token_sealed = theirs.token_sealed, own.token_sealed
    session.add_all((own, theirs))
    return {}


_ACTS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "add client": _add_client,
    "disable user": _disable_user,
    "delete account": _delete_account,
    "disable tenant": _disable_tenant,
    "time passes": _time_passes,
    "name tenant": _name_tenant,
    "swap sealed tokens": _swap_sealed_tokens,
}
