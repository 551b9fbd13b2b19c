"""Authenticating clients: programs that a tenant has registered."""

from typing import NamedTuple

from sqlalchemy import update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidClient
from accounts.services import throttling
from accounts.services.database import AccountSession
from accounts.values.identifiers import is_id
from models import Client, Tenant

__all__ = ["CLIENT_ID_PREFIX", "ClientCredentials", "authenticate_client", "find_public_client"]

CLIENT_ID_PREFIX = "cli_"


class ClientCredentials(NamedTuple):
    """By what a client says that it is itself; without a secret it is a public one."""

    client_id: str
    secret: str | None


def authenticate_client(
    session: AccountSession, credentials: ClientCredentials, *, tenant_id: str | None = None
) -> Client:
    """Find the client with this id and this secret; of one tenant, where it is given.

    A secret that cannot be one is refused without the database, and without a count: it has 256
    bits, so what is counted are programs gone wrong, and not guesses. An id that cannot be one is
    counted as an unknown one is.

    Raises:
        InvalidClient: Unknown, public, another tenant's or a disabled one's, or the wrong secret;
            all alike.
        TooManyAttempts: The client or the source has failed too often.
    """
    client_id, secret = credentials
    if secret is None or not tokens.well_formed(secret, tokens.CLIENT_SECRET):
        raise InvalidClient
    reservation = throttling.reserve_attempt(session, throttling.RateLimitScope.CLIENT, client_id)
    client = _find(session, client_id)
    if (
        client is None
        or client.is_public
        or (tenant_id is not None and client.tenant_id != tenant_id)
        or not session.keys.matches(Purpose.CLIENT_SECRET, secret, client.secret_digest)
    ):
        raise InvalidClient
    throttling.refund_attempt(session, reservation)
    if client.key_id != session.keys.key_id:
        # The root secret was rotated since; only now is there a secret to store anew. Unless it was
        # renewed meanwhile: then the old one must stay dead.
        session.core.execute(
            update(Client)
            .where(col(Client.id) == client.id, col(Client.secret_digest) == client.secret_digest)
            .values(
                secret_digest=session.keys.digest(Purpose.CLIENT_SECRET, secret),
                key_id=session.keys.key_id,
            )
        )
    return client


def find_public_client(session: AccountSession, client_id: str) -> Client:
    """Find a client that needs no secret.

    Raises:
        InvalidClient: There is none of this id, or it has a secret and did not show it.
    """
    client = _find(session, client_id)
    if client is None or not client.is_public:
        raise InvalidClient
    return client


def _find(session: AccountSession, client_id: str) -> Client | None:
    """The client of this id, if its tenant is enabled."""
    # That of a Basic header is whatever somebody has encoded, and PostgreSQL takes no NUL.
    if not is_id(client_id, CLIENT_ID_PREFIX):
        return None
    return session.exec(
        select(Client)
        .join(Tenant, col(Tenant.id) == col(Client.tenant_id))
        .where(col(Client.id) == client_id, col(Tenant.disabled_at).is_(None))
    ).first()
