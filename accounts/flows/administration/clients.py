"""Adding and listing clients, and renewing their secrets."""

import re
from collections.abc import Iterable, Sequence

from sqlmodel import col, select

from accounts.errors import InvalidRequest, NotFound
from accounts.services.clients import CLIENT_ID_PREFIX, renew_client_secret
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.values import names
from accounts.values.identifiers import new_id
from models import Client, Tenant

__all__ = ["add_client", "find_confidential_client", "list_clients", "renew_client_secret"]

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


def list_clients(session: AccountSession, tenant_id: str) -> Sequence[Client]:
    """List the clients of a tenant, oldest first."""
    return session.exec(
        select(Client)
        .where(col(Client.tenant_id) == tenant_id)
        .order_by(col(Client.created_at), col(Client.id))
    ).all()


def find_confidential_client(session: AccountSession, client_id: str) -> Client:
    """Return a client that has a secret.

    Raises:
        NotFound: There is none of this id, or it is public.
    """
    client = session.get(Client, client_id)
    if client is None or client.is_public:
        raise NotFound
    return client


def _parse_audiences(audiences: Iterable[str]) -> list[str]:
    unique = list(dict.fromkeys(audiences))
    if len(unique) > _MOST_AUDIENCES or not all(map(_AUDIENCE.fullmatch, unique)):
        rule = f"must be at most {_MOST_AUDIENCES} words of ASCII, of at most 1,024 characters"
        raise InvalidRequest.of("audiences", rule)
    return unique
