"""Trading a session or a refresh token for a JWT."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts import tokens
from accounts.access_tokens import reveal_access_token
from accounts.api_keys import create_api_key
from accounts.clients import ClientCredentials, add_client
from accounts.errors import (
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    UnsupportedGrantType,
)
from accounts.jwts import HeldKey, KeySet
from accounts.login_sessions import log_out, open_session
from accounts.oauth_grants import (
    GRANT_TYPES,
    exchange_refresh_token,
    exchange_session,
    identify_client,
    issue_token,
)
from accounts.personal_access_tokens import create_pat
from accounts.principal import CredentialKind, Presented
from accounts.refresh_tokens import find_refresh_token
from accounts.rights import SESSION_RIGHTS
from models import Client, Tenant
from tests.unit.conftest import START

ISSUER = "http://localhost:8080"  # what the rules have, where nothing else is said
API, OTHER_API = "https://api.example.com", "https://other.example.com"
EXCHANGE, REFRESH = GRANT_TYPES
READ, WRITE, SETTINGS = "me/profile:read", "me/profile:write", "me/settings:read"


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet.of([HeldKey("a-key", private_key, START, None)], START)


@pytest.fixture
def add(house):
    """Adds a client to a tenant: the client, and its secret."""

    def add(resident, *scopes, **more):
        with house.database.transaction(writing=True) as session:
            tenant = session.get_one(Tenant, resident.person.tenant_id)
            return add_client(
                session, tenant, name="A program", scopes=scopes or SESSION_RIGHTS, **more
            )

    return add


@pytest.fixture
def client(add, alice):
    return add(alice, READ, WRITE, audiences=[API])[0]


@pytest.fixture
def exchange(house, key_set, alice, client):
    """Trades Alice's session; what is named replaces what an ordinary request has."""

    def exchange(by=client, token=alice.token, scope=None, audience=None):
        return house.act(
            exchange_session, key_set, by, subject_token=token, scope=scope, audience=audience
        )

    return exchange


@pytest.fixture
def refresh(house, key_set, client):
    """Trades a refresh token."""

    def refresh(token, by=client, scope=None):
        return house.act(exchange_refresh_token, key_set, by, token=token, scope=scope)

    return refresh


@pytest.fixture
def claims_of(house, key_set):
    def claims_of(issued, audience=ISSUER):
        return key_set.verify(
            issued.access_token, issuer=ISSUER, audience=audience, now=house.clock.now
        )

    return claims_of


@pytest.fixture
def recognise(house, claims_of):
    """Authenticates as a request with the JWT would."""

    def recognise(issued):
        presented = Presented(CredentialKind.JWT, issued.access_token, claims_of(issued))
        return house.act(_authenticate, presented)

    return recognise


def _authenticate(session, presented):
    from accounts.authentication import authenticate

    return authenticate(session, presented)
