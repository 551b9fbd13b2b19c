"""Clients: programs that a tenant knows."""

from collections.abc import Iterable

from accounts import text, tokens
from accounts.database import AccountSession
from accounts.errors import InvalidClient, InvalidRequest
from accounts.identifiers import new_id
from accounts.keyring import Purpose
from accounts.rights import SESSION_RIGHTS
from models import Client, Tenant

__all__ = ["add_client", "authenticate_client"]


def add_client(
    session: AccountSession, tenant: Tenant, *, name: str, scopes: Iterable[str]
) -> tuple[Client, str]:
    """Add a client; the second of the pair is its secret, known here and never again.

    Raises:
        InvalidRequest: The name breaks a rule, or a scope does not exist.
    """
    wanted = sorted(set(scopes))
    if not set(wanted) <= SESSION_RIGHTS:
        raise InvalidRequest.of("scopes", f"must be among {', '.join(sorted(SESSION_RIGHTS))}")
    secret = tokens.mint(tokens.CLIENT_SECRET)
    client = Client(
        id=new_id("cli_"),
        tenant_id=tenant.id,
        name=text.clean_name(name, "name"),
        secret_digest=session.keys.digest(Purpose.CLIENT_SECRET, secret),
        key_id=session.keys.key_id,
        scopes=wanted,
        created_at=session.now,
    )
    session.add(client)
    return client, secret


def authenticate_client(
    session: AccountSession, tenant_id: str, *, client_id: str, secret: str
) -> Client:
    """Find the tenant's client with this id and this secret.

    Raises:
        InvalidClient: Unknown, another tenant's, or the wrong secret; all alike.
    """
    client = session.get(Client, client_id)
    if (
        client is None
        or client.tenant_id != tenant_id
        or not session.keys.matches(Purpose.CLIENT_SECRET, secret, client.secret_digest)
    ):
        raise InvalidClient
    return client
