"""Adding and listing clients, and renewing their secrets."""

import re
from collections.abc import Iterable, Sequence

from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, NotFound
from accounts.services.clients import CLIENT_ID_PREFIX
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.values import names
from accounts.values.identifiers import new_id
from models import Client, Tenant

__all__ = ["add_client", "find_confidential_client", "list_clients", "renew_client_secret"]

_MOST_AUDIENCES = 20
# With it a token stays below what is read of one, 4 KiB.
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
    """Add a client; the second of the pair is its secret, known here and never again.

    A public client has none. `audiences` are whom its JWTs may be for besides this service.

    Raises:
        InvalidRequest: The name or an audience breaks a rule, or a scope does not exist.
    """
    wanted = sorted(set(scopes))
    if not set(wanted) <= SESSION_RIGHTS:
        raise InvalidRequest.of("scopes", f"must be among {', '.join(sorted(SESSION_RIGHTS))}")
    client = Client(
        id=new_id(CLIENT_ID_PREFIX),
        tenant_id=tenant.id,
        name=names.clean_name(name, "name"),
        secret_digest=b"",
        key_id=session.keys.key_id,
        scopes=wanted,
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


def renew_client_secret(session: AccountSession, client: Client) -> str:
    """Give a client a new secret; the old one is dead with the commit."""
    secret = tokens.mint(tokens.CLIENT_SECRET)
    client.secret_digest = session.keys.digest(Purpose.CLIENT_SECRET, secret)
    client.key_id = session.keys.key_id
    return secret


def _parse_audiences(audiences: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(audiences))
    if len(found) > _MOST_AUDIENCES or not all(map(_AUDIENCE.fullmatch, found)):
        rule = f"must be at most {_MOST_AUDIENCES} words of ASCII, of at most 1,024 characters"
        raise InvalidRequest.of("audiences", rule)
    return found
