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

CLIENT_ID_PREFIX = "cli_"


class ClientCredentials(NamedTuple):
    """The id and secret of a client; a public client has no secret."""

    client_id: str
    secret: str | None


def authenticate_client(
    session: AccountSession, credentials: ClientCredentials, *, tenant_id: str | None = None
) -> Client:
    """Return the client with this id and secret, and of this tenant if one is given.

    A malformed secret is rejected without the database and is not counted: secrets have 256 bits,
    so the count catches faulty programs rather than guessing. It is by client and source, and by
    source: a count by client alone would let an attacker who knows the id lock the client out. A
    malformed id is counted like an unknown one.

    Raises:
        InvalidClient: The client is unknown, disabled, public or of another or a disabled tenant,
            or the secret is wrong; the error is the same for all but public clients.
        TooManyAttempts: The source address has failed too often, at this client or at any.
    """
    client_id, secret = credentials
    session.attempted = client_id
    if secret is None or not tokens.is_well_formed(secret, tokens.CLIENT_SECRET):
        raise InvalidClient
    reservation = throttling.reserve_attempt(session, throttling.RateLimitScope.CLIENT, client_id)
    client = _find(session, client_id)
    if client is not None and client.is_public and tenant_id is None:
        # No secret of theirs: that they are public, each caller can learn by their id alone.
        raise InvalidClient("It is public: send its client_id without a secret (none).")
    if (
        client is None
        or client.is_public
        or (tenant_id is not None and client.tenant_id != tenant_id)
        or not session.keys.matches(Purpose.CLIENT_SECRET, secret, client.secret_digest)
    ):
        raise InvalidClient
    throttling.refund_attempt(session, reservation)
    if client.key_id != session.keys.key_id:
        # The root secret was rotated since, and the plain secret is known only now. If the client
        # got a new secret meanwhile, the old one must stay invalid.
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
    """Return a public client.

    Raises:
        InvalidClient: There is none of this id, or it has a secret and did not send it.
    """
    client = _find(session, client_id)
    if client is None or not client.is_public:
        raise InvalidClient
    return client


def renew_client_secret(session: AccountSession, client: Client) -> str:
    """Give a client a new secret; the old one is invalid from the commit on."""
    secret = tokens.mint(tokens.CLIENT_SECRET)
    client.secret_digest = session.keys.digest(Purpose.CLIENT_SECRET, secret)
    client.key_id = session.keys.key_id
    return secret


def _find(session: AccountSession, client_id: str) -> Client | None:
    """Return the client with this id, if it and its tenant are enabled."""
    # The id of a Basic header can contain anything, and PostgreSQL rejects NUL.
    if not is_id(client_id, CLIENT_ID_PREFIX):
        return None
    return session.exec(
        select(Client)
        .join(Tenant, col(Tenant.id) == col(Client.tenant_id))
        .where(
            col(Client.id) == client_id,
            col(Client.disabled_at).is_(None),
            col(Tenant.disabled_at).is_(None),
        )
    ).first()
