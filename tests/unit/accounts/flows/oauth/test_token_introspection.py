"""Introspection and revocation of tokens by clients."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims, KeySet, LoadedKey
from accounts.errors import InvalidToken
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user
from accounts.flows.oauth.token_exchange import (
    IssuedToken,
    exchange_refresh_token,
    exchange_session,
)
from accounts.flows.oauth.token_introspection import (
    ActiveToken,
    delete_expired_jwts,
    introspect_token,
    revoke_token,
)
from accounts.flows.sign_in.sessions import log_out
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.services.access_tokens import reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.principal import CredentialKind, Presented
from models import Client, User
from tests.unit.conftest import START

ISSUER = "http://localhost:8080"  # the default
READ = "me/profile:read"
CLIENT_TOKENS = ["JWT", "refresh token", "PAT"]


def _key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet((LoadedKey("a-key", private_key, START, None),))


@pytest.fixture(scope="module")
def key_set():
    return _key_set()


@dataclass(frozen=True)
class ClientSide:
    """A client with one token of each kind, and its requests."""

    env: Any
    keys: KeySet
    client: Client
    made: dict[str, str]

    def introspect(self, token: str, *, by: Client | None = None) -> ActiveToken | None:
        active_token: ActiveToken | None = self.env.act(
            introspect_token, self.keys, by or self.client, token
        )
        return active_token

    def revoke(self, token: str, *, by: Client | None = None) -> None:
        self.env.act(revoke_token, self.keys, by or self.client, token)

    def rotate(self) -> str:
        """Use the refresh token, and return the next one of its family."""
        token = self.made["refresh token"]
        issued: IssuedToken = self.env.act(
            exchange_refresh_token, self.keys, self.client, token=token, scope=None, audience=None
        )
        return issued.refresh_token

    def claims(self) -> Claims:
        return self.keys.verify(self.made["JWT"], issuer=ISSUER, audience=ISSUER, now=START)


@pytest.fixture
def make_client_side(env, key_set):
    """Create a client in the user's tenant, and one token of each kind with it."""

    def make_client_side(user):
        client, secret = env.client(user.view.tenant_id, READ)
        issued = env.act(
            exchange_session, key_set, client, subject_token=user.token, scope=None, audience=None
        )
        _, pat = env.act(
            create_pat,
            user.principal,
            name="Token",
            scopes=[READ],
            expires_at=env.clock.now + timedelta(days=1),
            client_id=client.id,
            client_secret=secret,
        )
        made = {
            "JWT": issued.access_token,
            "refresh token": issued.refresh_token,
            "PAT": pat,
            "client secret": secret,
        }
        return ClientSide(env, key_set, client, made)

    return make_client_side


@pytest.fixture
def client_side(alice, make_client_side):
    return make_client_side(alice)


def _revocations(env):
    return [row for row in env.rows("security_event") if row["kind"] == "authn_token_revoked"]


# Introspection


def test_jwt_is_introspected(alice, client_side):
    """TK-18: for clients of its tenant (RFC 7662 section 2.2)."""
    assert client_side.introspect(client_side.made["JWT"]) == ActiveToken(
        client_id=client_side.client.id,
        subject=alice.user_id,
        email_verified=False,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(minutes=10),
        audience=ISSUER,
        jti=client_side.claims().jti,
    )


def test_refresh_token_is_introspected_as_no_bearer_token(alice, client_side):
    """TK-18: a resource server must not accept it as one."""
    assert client_side.introspect(client_side.made["refresh token"]) == ActiveToken(
        client_id=client_side.client.id,
        subject=alice.user_id,
        email_verified=False,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(days=30),
        audience=ISSUER,
        bearer=False,
    )


def test_pat_is_introspected(alice, client_side):
    """TK-18: it has no audience, since it is for this service."""
    assert client_side.introspect(client_side.made["PAT"]) == ActiveToken(
        client_id=client_side.client.id,
        subject=alice.user_id,
        email_verified=False,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(days=1),
    )


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
def test_other_clients_of_the_tenant_get_the_same_answer(env, alice, client_side, kind):
    """TK-18: a resource server is a client itself, and asks about tokens of others."""
    other_client, _ = env.client(alice.view.tenant_id)
    assert client_side.introspect(
        client_side.made[kind], by=other_client
    ) == client_side.introspect(client_side.made[kind])


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
def test_token_of_another_tenant_is_inactive(bob, make_client_side, client_side, kind):
    """TK-18: tokens of other tenants look like unknown ones (CVE-2026-18208)."""
    other_side = make_client_side(bob)
    assert other_side.introspect(client_side.made[kind]) is None
    assert other_side.introspect(other_side.made[kind]) is not None
    assert client_side.introspect(other_side.made[kind]) is None


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_token_of_disabled_user_or_tenant_is_inactive(env, alice, client_side, kind, disabled):
    """SE-06, TK-18: at the next introspection."""
    assert client_side.introspect(client_side.made[kind]) is not None
    if disabled == "user":
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    assert client_side.introspect(client_side.made[kind]) is None


@pytest.mark.parametrize(
    ("kind", "lifetime"),
    [
        ("JWT", timedelta(minutes=10)),
        ("refresh token", timedelta(days=30)),
        ("PAT", timedelta(days=1)),
    ],
)
def test_token_is_active_until_its_expiry(clock, client_side, kind, lifetime):
    """TK-18: introspection agrees with the use of the token."""
    clock.now += lifetime - timedelta(seconds=1)
    assert client_side.introspect(client_side.made[kind]) is not None
    clock.move(seconds=1)
    assert client_side.introspect(client_side.made[kind]) is None


def test_tokens_of_a_session_are_inactive_after_logout(env, alice, client_side):
    """SE-07, TK-18: a PAT does not depend on a session."""
    env.act(log_out, alice.principal)
    active = {kind for kind in CLIENT_TOKENS if client_side.introspect(client_side.made[kind])}
    assert active == {"PAT"}


def test_used_refresh_token_is_inactive(client_side):
    """JW-12, TK-18: introspecting it is no reuse, so its family stays."""
    next_token = client_side.rotate()
    assert client_side.introspect(client_side.made["refresh token"]) is None
    assert client_side.introspect(next_token) is not None


@pytest.fixture
def other_credentials(env, alice, client_side):
    _, key = env.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=[READ],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    return {
        "session": alice.token,
        "access token": env.act(reveal_access_token, alice.view),
        "API key": key,
        "client secret": client_side.made["client secret"],
    }


@pytest.mark.parametrize("kind", ["session", "access token", "API key", "client secret"])
def test_credential_not_made_with_a_client_is_inactive(
    env, alice, client_side, other_credentials, kind
):
    """TK-17, TK-18: a client learns nothing about it, and cannot revoke it."""
    token = other_credentials[kind]
    assert client_side.introspect(token) is None
    client_side.revoke(token)
    assert _revocations(env) == []
    env.authenticate(CredentialKind.SESSION, alice.token)


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "a.b.c", "pat_", tokens.mint("pat_"), tokens.mint("ref_"), "\ud800", "x" * 10_000],
    ids=range(8),
)
def test_malformed_token_is_inactive_and_its_revocation_no_error(env, client_side, wrong):
    """TK-17, TK-18: RFC 7009 section 2.2."""
    assert client_side.introspect(wrong) is None
    client_side.revoke(wrong)
    assert _revocations(env) == []
    assert env.count("revoked_jwt") == 0


def test_jwt_signed_by_another_service_is_unknown(env, client_side, alice):
    """JW-01: even if all its claims are true."""
    issued = env.act(
        exchange_session,
        _key_set(),
        client_side.client,
        subject_token=alice.token,
        scope=None,
        audience=None,
    )
    assert client_side.introspect(issued.access_token) is None
    client_side.revoke(issued.access_token)
    assert env.count("revoked_jwt") == 0


# Revocation


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
def test_client_revokes_its_own_tokens(env, alice, client_side, kind):
    """TK-17: at the next request, and without effect on the others."""
    client_side.revoke(client_side.made[kind])
    assert {
        token_kind
        for token_kind in CLIENT_TOKENS
        if client_side.introspect(client_side.made[token_kind])
    } == ({*CLIENT_TOKENS} - {kind})
    (event,) = _revocations(env)
    assert event["user_id"] == alice.user_id
    assert client_side.made[kind] not in str(event)


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
def test_second_revocation_is_no_error(env, client_side, kind):
    """TK-17, LO-02: RFC 7009 section 2.2; and there is one event."""
    client_side.revoke(client_side.made[kind])
    client_side.revoke(client_side.made[kind])
    assert client_side.introspect(client_side.made[kind]) is None
    assert len(_revocations(env)) == 1
    assert env.count("revoked_jwt") == (kind == "JWT")


@pytest.mark.parametrize("kind", CLIENT_TOKENS)
def test_client_cannot_revoke_tokens_of_another_client(env, alice, bob, client_side, kind):
    """TK-17: a client revokes its own tokens only (RFC 7009 section 2.1)."""
    for user in (alice, bob):
        other_client, _ = env.client(user.view.tenant_id)
        client_side.revoke(client_side.made[kind], by=other_client)
    assert client_side.introspect(client_side.made[kind]) is not None
    assert _revocations(env) == []


def test_revoked_jwt_is_rejected_at_the_next_request(env, client_side):
    """JW-09: no cache keeps it valid."""
    presented = Presented(CredentialKind.JWT, client_side.made["JWT"], client_side.claims())
    env.act(authenticate, presented)
    client_side.revoke(client_side.made["JWT"])
    with pytest.raises(InvalidToken):
        env.act(authenticate, presented)


def test_revoking_a_refresh_token_revokes_its_family(env, client_side):
    """TK-17: all tokens of the family are revoked (RFC 7009 section 2.1)."""
    next_token = client_side.rotate()
    client_side.revoke(next_token)
    assert client_side.introspect(next_token) is None
    assert all(row["revoked_at"] for row in env.rows("refresh_token"))


def test_revoking_an_expired_jwt_stores_nothing(env, clock, client_side):
    """JW-09: expired tokens cannot fill the table of revocations."""
    clock.move(minutes=10)
    client_side.revoke(client_side.made["JWT"])
    assert env.count("revoked_jwt") == 0


def test_revocation_is_stored_until_the_jwt_has_expired(env, clock, client_side):
    """JW-09, OP-10: and a day longer, so that a corrected clock does not make it valid again."""
    client_side.revoke(client_side.made["JWT"])
    clock.move(days=1, minutes=9, seconds=59)
    assert env.act(delete_expired_jwts) == 0
    assert client_side.introspect(client_side.made["JWT"]) is None
    clock.move(seconds=1)
    assert env.act(delete_expired_jwts) == 1
    assert client_side.introspect(client_side.made["JWT"]) is None
    assert env.act(delete_expired_jwts) == 0
