"""Acts on accounts without HTTP: by an operator, by time, and by received email."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

from sqlmodel import col, select

from accounts.flows.administration.clients import add_client
from accounts.flows.administration.tenants import disable_tenant, find_tenant
from accounts.flows.administration.users import disable_user
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
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
from oneself.runtime.key_file import open_keyring
from oneself_conformance.actors import Actors, Operator
from tests.support.deadlines import patient
from tests.support.service import Service
from tests.support.stored import settings_of

__all__ = ["OperatorActs", "open_actors"]

_SECRET = re.compile(r"ots_[0-9A-Za-z]{49}")
_SECONDS_TO_DELIVER = 10


class OperatorActs(Operator):
    """Acts beside a running service, on its database and its mail folder.

    They call the functions behind the command line, since a process for each would take a second.
    """

    is_available = True

    def __init__(self, service: Service) -> None:
        settings = settings_of(service)
        self._database = Database(
            settings.location, keys=open_keyring(settings), limits=settings.limits
        )
        self._mail = service.data / "mail"

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply the act of this name to a user or their tenant, and return its results by name."""
        with self._database.transaction(writing=True) as session:
            return _ACTS[name](session, session.get_one(User, user_id), **arguments)

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """Return the UUID of a tenant, which no dialect shows."""
        with self._database.transaction(writing=False) as session:
            return find_tenant(session, tenant_id).uuid

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Wait for the newest email to a recipient with a subject, which the product name follows.

        It is deleted, so that the next call waits for the next one.
        """
        deadline = time.monotonic() + patient(_SECONDS_TO_DELIVER)
        while time.monotonic() < deadline:
            for path in self._mail.glob("*.eml"):
                mail = message_from_bytes(path.read_bytes(), policy=policy.default)
                title, _, _ = mail["Subject"].rpartition(" \N{EN DASH} ")
                if (mail["To"], title) == (recipient, subject):
                    path.unlink()
                    text = mail.get_body(("plain",)).get_content()
                    match = _SECRET.search(text)
                    return {"text": text, "secret": match[0] if match else ""}
            time.sleep(0.05)
        message = f"no mail {subject!r} to {recipient}"
        raise AssertionError(message)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _client(
    session: AccountSession,
    user: User,
    *,
    scopes: list[str] | None = None,
    audiences: Iterable[str] = (),
    public: bool = False,
) -> Mapping[str, Any]:
    client, secret = add_client(
        session,
        session.get_one(Tenant, user.tenant_id),
        name="CI",
        scopes=scopes or SESSION_RIGHTS,
        audiences=audiences,
        public=public,
    )
    return {
        "client_id": client.id,
        "client_secret": secret,
        "client": f"{client.id}:{secret}",
        # Percent-encode every character, which form encoding allows.
        "client_encoded": ":".join(
            "".join(f"%{ord(char):02X}" for char in part) for part in (client.id, secret or "")
        ),
    }


def _disable_user(session: AccountSession, user: User) -> Mapping[str, Any]:
    disable_user(session, user)
    session.add(user)
    return {}


def _disable_tenant(session: AccountSession, user: User) -> Mapping[str, Any]:
    session.add(disable_tenant(session, user.tenant_id))
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
            if getattr(row, "authenticated_at", None) is not None:
                row.authenticated_at -= timedelta(**parts)
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
    "add client": _client,
    "disable user": _disable_user,
    "disable tenant": _disable_tenant,
    "time passes": _time_passes,
    "name tenant": _name_tenant,
    "swap sealed tokens": _swap_sealed_tokens,
}


@contextmanager
def open_actors(service: Service) -> Iterator[Actors]:
    """Open the actors of a service, with an operator, for as long as it runs."""
    operator = OperatorActs(service)
    try:
        yield Actors(service, operator)
    finally:
        operator.close()
