"""Adding, listing, disabling and removing clients, and renewing their secrets."""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import or_
from sqlmodel import col, select

from accounts.errors import InvalidRequest, NotFound
from accounts.services.clients import CLIENT_ID_PREFIX, renew_client_secret
from accounts.services.credentials import SESSION_RIGHTS, revoke_issued_by
from accounts.services.database import AccountSession
from accounts.services.events import record_administration
from accounts.values import names
from accounts.values.identifiers import new_id
from models import Client, Tenant

__all__ = [
    "add_client",
    "disable_client",
    "enable_client",
    "find_confidential_client",
    "list_clients",
    "remove_client",
    "renew_client_secret",
]

_MOST_AUDIENCES = 20
# Short enough for a token to stay below 4 KiB, the most that is read.
_AUDIENCE = re.compile(r"[!-~]{1,1024}")


def add_client(
    session: AccountSession,
    tenant: Tenant,
    *,
    name: str,
    scopes: Iterable[str],
    audiences: Iterable[str] = (),
    public: bool = False,
) -> tuple[Client, str | None]:
    """Add a client; returns its row and its secret, which cannot be read again.

    A public client has no secret. `audiences` are the allowed audiences of its JWTs besides this
    service.

    Raises:
        InvalidRequest: The name or an audience breaks a rule, or a scope does not exist.
    """
    unique_scopes = sorted(set(scopes))
    if not set(unique_scopes) <= SESSION_RIGHTS:
        raise InvalidRequest.of("scopes", f"must be among {', '.join(sorted(SESSION_RIGHTS))}")
    client = Client(
        id=new_id(CLIENT_ID_PREFIX),
        tenant_id=tenant.id,
        name=names.normalize_name(name, "name"),
        secret_digest=b"",
        key_id=session.keys.key_id,
        scopes=unique_scopes,
        is_public=public,
        audiences=_parse_audiences(audiences),
        created_at=session.now,
    )
    secret = renew_client_secret(session, client)
    session.add(client)
    return client, None if public else secret


def list_clients(
    session: AccountSession, tenant_id: str, *, search: str | None = None, limit: int
) -> Sequence[Client]:
    """List the clients of a tenant, oldest first; `search` is a part of the name or of the id."""
    clients = (
        select(Client)
        .where(col(Client.tenant_id) == tenant_id, col(Client.removed_at).is_(None))
        .order_by(col(Client.created_at), col(Client.id))
        .limit(limit)
    )
    if search:
        columns = (Client.name, Client.id)
        parts = (col(column).icontains(search, autoescape=True) for column in columns)
        clients = clients.where(or_(*parts))
    return session.exec(clients).all()


def find_confidential_client(session: AccountSession, client_id: str) -> Client:
    """Return a client that has a secret.

    Raises:
        NotFound: There is none of this id, it is public, or it was removed.
    """
    client = _find(session, client_id)
    if client.is_public:
        raise NotFound
    return client


def disable_client(session: AccountSession, client_id: str) -> Client:
    """Disable a client: it gets no token, and those issued through it are rejected.

    Nothing is revoked, so `enable_client` restores everything.

    Raises:
        NotFound: There is no such client, or it was removed.
    """
    client = _find(session, client_id)
    if client.disabled_at is None:
        client.disabled_at = session.now
        record_administration(session, client.tenant_id, "client_disabled", client_id=client.id)
    return client


def enable_client(session: AccountSession, client_id: str) -> Client:
    """Enable a disabled client: tokens issued through it that have not ended are valid again.

    Raises:
        NotFound: There is no such client, or it was removed.
    """
    client = _find(session, client_id)
    if client.disabled_at is not None:
        client.disabled_at = None
        record_administration(session, client.tenant_id, "client_enabled", client_id=client.id)
    return client


def remove_client(session: AccountSession, client_id: str) -> int:
    """Remove a client for good, and revoke every token that was issued through it.

    Returns how many live personal access tokens and refresh tokens were revoked. Its JWTs are
    rejected, since the client is disabled.

    Raises:
        NotFound: There is no such client.
    """
    client = session.get(Client, client_id)
    if client is None:
        raise NotFound
    client.disabled_at = client.disabled_at or session.now
    if client.removed_at is None:
        client.removed_at = session.now
        record_administration(session, client.tenant_id, "client_removed", client_id=client.id)
    # Again for a removed one: a request that began before may have issued a token since.
    return revoke_issued_by(session, client)


def _find(session: AccountSession, client_id: str) -> Client:
    client = session.get(Client, client_id)
    if client is None or client.removed_at is not None:
        raise NotFound
    return client


def _parse_audiences(audiences: Iterable[str]) -> list[str]:
    unique = list(dict.fromkeys(audiences))
    if len(unique) > _MOST_AUDIENCES or not all(map(_AUDIENCE.fullmatch, unique)):
        rule = f"must be at most {_MOST_AUDIENCES} words of ASCII, of at most 1,024 characters"
        raise InvalidRequest.of("audiences", rule)
    return unique
