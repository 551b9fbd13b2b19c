"""What a client may learn of a token, and how it gives one back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims, HeldKey, KeySet
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

ISSUER = "http://localhost:8080"  # what the rules have, where nothing else is said
READ = "me/profile:read"
MADE_WITH_A_CLIENT = ["JWT", "refresh token", "PAT"]


def _key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet.of([HeldKey("a-key", private_key, START, None)], START)


@pytest.fixture(scope="module")
def key_set():
    return _key_set()


@dataclass(frozen=True)
class Desk:
    """A client, what was made with it, and what it can ask for."""

    env: Any
    keys: KeySet
    client: Client
    made: dict[str, str]

    def introspect(self, token: str, *, by: Client | None = None) -> ActiveToken | None:
        found: ActiveToken | None = self.env.act(
            introspect_token, self.keys, by or self.client, token
        )
        return found

    def revoke(self, token: str, *, by: Client | None = None) -> None:
        self.env.act(revoke_token, self.keys, by or self.client, token)

    def renewed(self) -> str:
        """Use the refresh token; returns the next of its family."""
        token = self.made["refresh token"]
        issued: IssuedToken = self.env.act(
            exchange_refresh_token, self.keys, self.client, token=token, scope=None, audience=None
        )
        return issued.refresh_token

    def claims(self) -> Claims:
        return self.keys.verify(self.made["JWT"], issuer=ISSUER, audience=ISSUER, now=START)


@pytest.fixture
def open_desk(env, key_set):
    """Makes a client in the tenant of a resident, and one token of each kind with it."""

    def open_desk(user):
        client, secret = env.client(user.view.tenant_id, READ)
        issued = env.act(
            exchange_session,
            key_set,
            client,
            subject_token=user.token,
            scope=None,
            audience=None,
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
        return Desk(env, key_set, client, made)

    return open_desk


@pytest.fixture
def desk(alice, open_desk):
    return open_desk(alice)


def _revocations(env):
    return [row for row in env.rows("security_event") if row["kind"] == "authn_token_revoked"]


# What is said of a token


def test_a_jwt_is_told_by_its_claims(alice, desk):
    """TK-18: to a client of its tenant (RFC 7662 section 2.2)."""
    assert desk.introspect(desk.made["JWT"]) == ActiveToken(
        client_id=desk.client.id,
        subject=alice.user_id,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(minutes=10),
        audience=ISSUER,
        jti=desk.claims().jti,
    )


def test_a_refresh_token_is_told_to_be_no_bearer_token(alice, desk):
    """TK-18: a resource server must not take it for one."""
    assert desk.introspect(desk.made["refresh token"]) == ActiveToken(
        client_id=desk.client.id,
        subject=alice.user_id,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(days=30),
        audience=ISSUER,
        bearer=False,
    )


def test_a_pat_is_told_by_its_row(alice, desk):
    """TK-18: it has no audience, since it is for this service."""
    assert desk.introspect(desk.made["PAT"]) == ActiveToken(
        client_id=desk.client.id,
        subject=alice.user_id,
        scopes=frozenset({READ}),
        issued_at=START,
        expires_at=START + timedelta(days=1),
    )


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
def test_another_client_of_the_tenant_is_told_the_same(env, alice, desk, kind):
    """TK-18: a resource server is a client of its own, and asks about what others bring."""
    other, _ = env.client(alice.view.tenant_id)
    assert desk.introspect(desk.made[kind], by=other) == desk.introspect(desk.made[kind])


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
def test_a_client_of_another_tenant_is_told_nothing(bob, open_desk, desk, kind):
    """TK-18: a live token of another tenant is as one that nobody has (CVE-2026-18208)."""
    foreign = open_desk(bob)
    assert foreign.introspect(desk.made[kind]) is None
    assert foreign.introspect(foreign.made[kind]) is not None
    assert desk.introspect(foreign.made[kind]) is None


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_a_token_of_the_disabled_is_inactive(env, alice, desk, kind, disabled):
    """SE-06, TK-18: from the next question on."""
    assert desk.introspect(desk.made[kind]) is not None
    if disabled == "user":
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    assert desk.introspect(desk.made[kind]) is None


@pytest.mark.parametrize(
    ("kind", "lasts"),
    [
        ("JWT", timedelta(minutes=10)),
        ("refresh token", timedelta(days=30)),
        ("PAT", timedelta(days=1)),
    ],
)
def test_a_token_is_active_until_its_last_second(clock, desk, kind, lasts):
    """TK-18: what is said of it is what using it would show."""
    clock.now += lasts - timedelta(seconds=1)
    assert desk.introspect(desk.made[kind]) is not None
    clock.move(seconds=1)
    assert desk.introspect(desk.made[kind]) is None


def test_what_was_made_of_a_session_is_inactive_after_it(env, alice, desk):
    """SE-07, TK-18: and a PAT is not made of a session."""
    env.act(log_out, alice.principal)
    active = {kind for kind in MADE_WITH_A_CLIENT if desk.introspect(desk.made[kind])}
    assert active == {"PAT"}


def test_a_used_refresh_token_is_inactive(desk):
    """JW-12, TK-18: and asking about it is not using it, so its family lives on."""
    following = desk.renewed()
    assert desk.introspect(desk.made["refresh token"]) is None
    assert desk.introspect(following) is not None


@pytest.fixture
def not_made_with_a_client(env, alice, desk):
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
        "client secret": desk.made["client secret"],
    }


@pytest.mark.parametrize("kind", ["session", "access token", "API key", "client secret"])
def test_what_is_not_made_with_a_client_is_inactive(env, alice, desk, not_made_with_a_client, kind):
    """TK-17, TK-18: a client finds out nothing about it, and ends nothing by asking to."""
    token = not_made_with_a_client[kind]
    assert desk.introspect(token) is None
    desk.revoke(token)
    assert _revocations(env) == []
    env.recognise(CredentialKind.SESSION, alice.token)


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "a.b.c", "pat_", tokens.mint("pat_"), tokens.mint("ref_"), "\ud800", "x" * 10_000],
    ids=range(8),
)
def test_what_is_no_token_is_inactive_and_revoking_it_is_no_error(env, desk, wrong):
    """TK-17, TK-18: RFC 7009 section 2.2, so that nobody has to handle what is so already."""
    assert desk.introspect(wrong) is None
    desk.revoke(wrong)
    assert _revocations(env) == []
    assert env.count("revoked_jwt") == 0


def test_a_jwt_that_another_service_signed_is_unknown(env, desk, alice):
    """JW-01: though all that it says is so."""
    issued = env.act(
        exchange_session,
        _key_set(),
        desk.client,
        subject_token=alice.token,
        scope=None,
        audience=None,
    )
    assert desk.introspect(issued.access_token) is None
    desk.revoke(issued.access_token)
    assert env.count("revoked_jwt") == 0


# How one is given back


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
def test_a_client_gives_back_what_was_made_with_it(env, alice, desk, kind):
    """TK-17: it is dead at the next request, and the others live."""
    desk.revoke(desk.made[kind])
    assert {other for other in MADE_WITH_A_CLIENT if desk.introspect(desk.made[other])} == (
        {*MADE_WITH_A_CLIENT} - {kind}
    )
    (event,) = _revocations(env)
    assert event["user_id"] == alice.user_id
    assert desk.made[kind] not in str(event)


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
def test_giving_back_twice_is_no_error(env, desk, kind):
    """TK-17, LO-02: RFC 7009 section 2.2; and it has happened once."""
    desk.revoke(desk.made[kind])
    desk.revoke(desk.made[kind])
    assert desk.introspect(desk.made[kind]) is None
    assert len(_revocations(env)) == 1
    assert env.count("revoked_jwt") == (kind == "JWT")


@pytest.mark.parametrize("kind", MADE_WITH_A_CLIENT)
def test_another_client_ends_nothing(env, alice, bob, desk, kind):
    """TK-17: a client burns what it holds, not what others do (RFC 7009 section 2.1)."""
    for user in (alice, bob):
        other, _ = env.client(user.view.tenant_id)
        desk.revoke(desk.made[kind], by=other)
    assert desk.introspect(desk.made[kind]) is not None
    assert _revocations(env) == []


def test_a_revoked_jwt_is_refused_at_the_next_request(env, desk):
    """JW-09: nothing remembers that it was good."""
    presented = Presented(CredentialKind.JWT, desk.made["JWT"], desk.claims())
    env.act(authenticate, presented)
    desk.revoke(desk.made["JWT"])
    with pytest.raises(InvalidToken):
        env.act(authenticate, presented)


def test_a_refresh_token_is_given_back_with_its_family(env, desk):
    """TK-17: the next of it, shown once it is known, ends it too (RFC 7009 section 2.1)."""
    following = desk.renewed()
    desk.revoke(following)
    assert desk.introspect(following) is None
    assert all(row["revoked_at"] for row in env.rows("refresh_token"))


def test_an_expired_jwt_needs_no_revocation(env, clock, desk):
    """JW-09: the list of the revoked cannot be filled with what is dead."""
    clock.move(minutes=10)
    desk.revoke(desk.made["JWT"])
    assert env.count("revoked_jwt") == 0


def test_a_revoked_jwt_is_remembered_until_it_has_expired(env, clock, desk):
    """JW-09, OP-10: and a day longer, so that no clock that is put right makes it good again."""
    desk.revoke(desk.made["JWT"])
    clock.move(days=1, minutes=9, seconds=59)
    assert env.act(delete_expired_jwts) == 0
    assert desk.introspect(desk.made["JWT"]) is None
    clock.move(seconds=1)
    assert env.act(delete_expired_jwts) == 1
    assert desk.introspect(desk.made["JWT"]) is None
    assert env.act(delete_expired_jwts) == 0
