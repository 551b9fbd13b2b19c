"""Clients: programs that a tenant knows."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import update
from sqlmodel import col, select

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidClient, InvalidRequest
from accounts.services import throttling
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.values import names
from accounts.values.identifiers import is_id, new_id
from models import Client, Tenant

__all__ = [
    "ClientCredentials",
    "add_client",
    "authenticate_client",
    "find_public_client",
    "renew_client_secret",
]

_ID_PREFIX = "cli_"
_MOST_AUDIENCES = 20
# With it a token stays below what is read of one, 4 KiB.
_AUDIENCE = re.compile(r"[!-~]{1,1024}")


class ClientCredentials(NamedTuple):
    """By what a client says that it is itself; without a secret it is a public one."""

    client_id: str
    secret: str | None


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
        id=new_id(_ID_PREFIX),
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


def renew_client_secret(session: AccountSession, client: Client) -> str:
    """Give a client a new secret; the old one is dead with the commit."""
    secret = tokens.mint(tokens.CLIENT_SECRET)
    _store_secret(session, client, secret)
    return secret


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


def _store_secret(session: AccountSession, client: Client, secret: str) -> None:
    client.secret_digest = session.keys.digest(Purpose.CLIENT_SECRET, secret)
    client.key_id = session.keys.key_id


def _find(session: AccountSession, client_id: str) -> Client | None:
    """The client of this id, if its tenant is enabled."""
    # That of a Basic header is whatever somebody has encoded, and PostgreSQL takes no NUL.
    if not is_id(client_id, _ID_PREFIX):
        return None
    return session.exec(
        select(Client)
        .join(Tenant, col(Tenant.id) == col(Client.tenant_id))
        .where(col(Client.id) == client_id, col(Tenant.disabled_at).is_(None))
    ).first()


def _parse_audiences(audiences: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(audiences))
    if len(found) > _MOST_AUDIENCES or not all(map(_AUDIENCE.fullmatch, found)):
        rule = f"must be at most {_MOST_AUDIENCES} words of ASCII, of at most 1,024 characters"
        raise InvalidRequest.of("audiences", rule)
    return found
