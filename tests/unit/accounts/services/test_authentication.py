"""Authentication of each kind of credential."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.exc import IntegrityError

from accounts.crypto import tokens
from accounts.crypto.jwts import KeySet, LoadedKey
from accounts.crypto.keyring import Keyring, Purpose
from accounts.errors import (
    InvalidClient,
    InvalidCredentials,
    InvalidGrant,
    InvalidToken,
    SecretInvalid,
)
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user
from accounts.flows.email.email_change import request_email_change
from accounts.flows.email.email_verification import request_email_verification
from accounts.flows.oauth.refresh_tokens import rotate_refresh_token
from accounts.flows.oauth.token_exchange import exchange_session
from accounts.flows.oauth.token_introspection import revoke_token
from accounts.flows.password.password_reset import request_password_reset
from accounts.flows.sign_in.sessions import log_in, log_out, open_session
from accounts.flows.tokens.api_keys import create_api_key, revoke_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat, revoke_pat
from accounts.limits import RateLimit
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.credentials import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS
from accounts.services.one_time_secrets import SecretPurpose, redeem_secret
from accounts.services.principal import CredentialKind, Presented
from models import User
from oneself.database import Database
from tests.unit.conftest import START

KINDS = sorted(CredentialKind)
STORED = [kind for kind in KINDS if kind is not CredentialKind.JWT]
LIFETIMES = {
    CredentialKind.SESSION: timedelta(days=30),
    CredentialKind.API_KEY: timedelta(days=1),
    CredentialKind.PAT: timedelta(days=1),
    CredentialKind.JWT: timedelta(minutes=10),
}
ISSUER = "http://localhost:8080"  # the default


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet((LoadedKey("a-key", private_key, START, None),))


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)


@pytest.fixture
def issued(env, key_set, alice, client):
    """A JWT for Alice's session, and the refresh token issued with it."""
    return env.act(
        exchange_session,
        key_set,
        client[0],
        subject_token=alice.token,
        scope="me/profile:read",
        audience=None,
    )


@pytest.fixture
def claims(key_set, issued):
    return key_set.verify(issued.access_token, issuer=ISSUER, audience=ISSUER, now=START)


@pytest.fixture
def authenticate_as(env, key_set):
    """Authenticate as a request does: the JWT is read before the database is queried."""

    def authenticate_as(kind, token):
        claims = None
        if kind is CredentialKind.JWT:
            now = env.clock.now
            claims = key_set.verify(token, issuer=ISSUER, audience=ISSUER, now=now)
        return env.act(authenticate, Presented(kind, token, claims))

    return authenticate_as


@pytest.fixture
def credentials(env, alice, client, issued):
    """A credential of Alice of each kind, valid for a day."""
    tomorrow = env.clock.now + timedelta(days=1)
    _, key = env.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=["keys:read"],
        dataset_access_mode="all_available",
        expires_at=tomorrow,
    )
    _, pat = env.act(
        create_pat,
        alice.principal,
        name="Token",
        scopes=["me/pat:read"],
        expires_at=tomorrow,
        client_id=client[0].id,
        client_secret=client[1],
    )
    return {
        CredentialKind.SESSION: alice.token,
        CredentialKind.ACCESS_TOKEN: env.act(reveal_access_token, alice.view),
        CredentialKind.API_KEY: key,
        CredentialKind.PAT: pat,
        CredentialKind.JWT: issued.access_token,
    }


@pytest.fixture
def end(env, key_set, authenticate_as, credentials, client):
    """Log out of the credential of this kind, or revoke it."""

    def end(kind):
        view, credential = principal = authenticate_as(kind, credentials[kind])
        match kind:
            case CredentialKind.SESSION:
                env.act(log_out, principal)
            case CredentialKind.ACCESS_TOKEN:
                env.act(regenerate_access_token, view)
            case CredentialKind.API_KEY:
                env.act(revoke_api_key, view, credential.id)
            case CredentialKind.PAT:
                env.act(revoke_pat, view, credential.id)
            case CredentialKind.JWT:
                env.act(revoke_token, key_set, client[0], credentials[kind])

    return end


@pytest.mark.parametrize(
    ("kind", "expected_rights"),
    [
        (CredentialKind.SESSION, SESSION_RIGHTS),
        (CredentialKind.ACCESS_TOKEN, ACCESS_TOKEN_RIGHTS),
        (CredentialKind.API_KEY, {"keys:read"}),
        (CredentialKind.PAT, {"me/pat:read"}),
        (CredentialKind.JWT, {"me/profile:read"}),
    ],
)
def test_each_kind_authenticates_with_its_rights(
    authenticate_as, alice, credentials, kind, expected_rights
):
    """TK-12: every kind leads to the same user."""
    principal = authenticate_as(kind, credentials[kind])
    assert principal.user == alice.view
    assert (principal.credential.kind, principal.credential.rights) == (kind, expected_rights)


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_and_their_jwts_name_the_session(authenticate_as, alice, credentials, kind):
    """SE-05: so that ending the other sessions can spare the current one."""
    session_id = authenticate_as(kind, credentials[kind]).credential.session_id
    has_session = kind in {CredentialKind.SESSION, CredentialKind.JWT}
    assert session_id == (alice.principal.credential.id if has_session else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("presented_as", KINDS)
def test_credential_is_rejected_as_another_kind(authenticate_as, credentials, kind, presented_as):
    """TK-02: each kind has its own key, so its digests are separate."""
    if kind is presented_as:
        authenticate_as(presented_as, credentials[kind])
        return
    with pytest.raises(InvalidToken):
        authenticate_as(presented_as, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_ended_credential_is_rejected_at_the_next_request(end, authenticate_as, credentials, kind):
    """SE-03, TK-15, JW-09: no cache keeps a credential valid."""
    end(kind)
    with pytest.raises(InvalidToken):
        authenticate_as(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_ending_a_credential_keeps_the_others(end, authenticate_as, credentials, kind):
    """SE-07: credentials end on their own, except the JWTs of a session."""
    end(kind)
    ended_kinds = {kind, CredentialKind.JWT} if kind is CredentialKind.SESSION else {kind}
    for other_kind in set(KINDS) - ended_kinds:
        authenticate_as(other_kind, credentials[other_kind])


@pytest.mark.parametrize("kind", KINDS)
def test_disabled_user_is_rejected_at_the_next_request(env, authenticate_as, credentials, kind):
    """SE-06: with any credential."""
    user_id = authenticate_as(kind, credentials[kind]).user.user_id
    env.act(lambda session: disable_user(session, session.get_one(User, user_id)))
    with pytest.raises(InvalidToken):
        authenticate_as(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_user_of_disabled_tenant_is_rejected_at_the_next_request(
    env, authenticate_as, credentials, kind
):
    """SE-06, AZ-15: with any credential."""
    env.act(disable_tenant, authenticate_as(kind, credentials[kind]).user.tenant_id)
    with pytest.raises(InvalidToken):
        authenticate_as(kind, credentials[kind])


@pytest.mark.parametrize("kind", LIFETIMES)
def test_credential_is_valid_until_its_expiry(clock, authenticate_as, credentials, kind):
    """SE-04, TK-13, JW-09: the time of expiry is excluded, and needs no clean-up job."""
    clock.now += LIFETIMES[kind] - timedelta(seconds=1)
    authenticate_as(kind, credentials[kind])
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        authenticate_as(kind, credentials[kind])


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("table", ["login_session", "api_key", "personal_access_token"])
def test_expiry_of_credentials_is_not_nullable(env, table):
    """TK-13: no null can be taken for an infinite lifetime (CVE-2026-18363)."""
    assert env.count(table)
    with pytest.raises(IntegrityError):
        env.execute(f"UPDATE {table} SET expires_at = NULL")  # noqa: S608 # a test's


def test_access_token_does_not_expire(clock, authenticate_as, credentials):
    """TK-15: it is valid until it is regenerated."""
    clock.move(days=10_000)
    authenticate_as(CredentialKind.ACCESS_TOKEN, credentials[CredentialKind.ACCESS_TOKEN])


@pytest.mark.parametrize("kind", STORED)
def test_unknown_well_formed_token_is_rejected(authenticate_as, credentials, kind):
    """TK-01, TK-02: a checksum is no credential."""
    prefixes = {"session": "sess_", "accessToken": "tok_", "personalAccessToken": "pat_"}
    token = tokens.mint(prefixes[kind]) if kind in prefixes else tokens.mint_api_key("ipto").key
    assert authenticate_as(kind, credentials[kind])
    with pytest.raises(InvalidToken):
        authenticate_as(kind, token)


# Claims of a JWT


def _authenticate_jwt(env, issued, claims):
    return env.act(authenticate, Presented(CredentialKind.JWT, issued.access_token, claims))


def test_jwt_claims_must_belong_together(env, alice, bob, issued, claims):
    """JW-10: the named session, user and tenant must belong together."""
    assert _authenticate_jwt(env, issued, claims).user == alice.view
    other_session = env.act(open_session, alice.user_id).session_id
    for changes in (
        {"subject": bob.user_id},
        {"tenant_id": bob.view.tenant_id},
        {"subject": bob.user_id, "tenant_id": bob.view.tenant_id},
        {"session_id": bob.principal.credential.id},
        {"session_id": "ses_000000000000"},
    ):
        with pytest.raises(InvalidToken):
            _authenticate_jwt(env, issued, claims._replace(**changes))
    # The token could have been issued for any session of the same user.
    assert (
        _authenticate_jwt(env, issued, claims._replace(session_id=other_session)).user == alice.view
    )


@pytest.mark.parametrize("epoch", [0, 2])
def test_jwt_of_another_epoch_is_rejected(env, alice, issued, claims, epoch):
    """JW-09: neither an earlier nor a later epoch."""
    env.execute('UPDATE "user" SET credential_epoch = 1 WHERE id = ?', alice.user_id)
    assert _authenticate_jwt(env, issued, claims._replace(epoch=1))
    with pytest.raises(InvalidToken):
        _authenticate_jwt(env, issued, claims._replace(epoch=epoch))


def test_jwt_is_identified_by_its_id(env, issued, claims):
    """LO-02: records of a request do not contain the token."""
    credential = _authenticate_jwt(env, issued, claims).credential
    assert (credential.id, credential.session_id) == (claims.jti, claims.session_id)


def test_unknown_scopes_of_a_jwt_are_ignored(env, issued, claims):
    """TK-12: a JWT cannot have scopes that do not exist."""
    wide = claims._replace(scopes=frozenset({"me/profile:read", "admin", "*"}))
    assert _authenticate_jwt(env, issued, wide).credential.rights == {"me/profile:read"}


# Rotation of the root secret


@pytest.fixture
def rotated(env):
    keys = Keyring(b"n" * 32, b"x" * 32)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield database
    database.close()


@pytest.mark.parametrize("kind", STORED)
def test_token_under_a_previous_root_is_found_and_observed(rotated, credentials, kind):
    """TK-07: so that it can be stored under the new root while it is at hand."""
    with rotated.transaction(writing=False) as session:
        assert authenticate(session, Presented(kind, credentials[kind]))
        (observation,) = session.observed
    assert observation.kind is kind
    assert observation.before != observation.after
    with rotated.transaction(writing=True) as session, pytest.raises(InvalidToken):
        authenticate(session, Presented(kind, f"{credentials[kind]}0"))


@pytest.mark.parametrize("kind", STORED)
def test_token_under_the_current_root_is_not_observed(env, credentials, kind):
    """TK-07: nothing is observed, and nothing is stored again."""
    with env.database.transaction(writing=False) as session:
        authenticate(session, Presented(kind, credentials[kind]))
        assert session.observed == []


# Attackers with a copy of the database


def test_keys_with_the_same_prefix_are_distinguished(env, alice, bob):
    """TK-09: the prefix narrows the search, and the whole digest decides."""
    owners = {}
    for user in (alice, bob):
        key, token = env.act(
            create_api_key,
            user.principal,
            name="Key",
            scopes=["keys:read"],
            dataset_access_mode="all_available",
            expires_at=None,
        )
        owners[token] = (key.id, user.user_id)
    shared = tokens.api_key_prefix(next(iter(owners)), "ipto")
    env.execute("UPDATE api_key SET prefix = ?", shared)
    first, second = owners
    assert env.authenticate(CredentialKind.API_KEY, first).user.user_id == owners[first][1]
    # The second key is not found by its own prefix any more, so it gets a secret with the shared
    # one: the prefix matches both rows, and the digest only its own.
    second_token = tokens.mint(f"ipto_{shared}_")
    env.execute(
        "UPDATE api_key SET key_digest = ? WHERE id = ?",
        env.keys.digest(Purpose.API_KEY, second_token),
        owners[second][0],
    )
    assert env.authenticate(CredentialKind.API_KEY, second_token).user.user_id == owners[second][1]
    assert env.authenticate(CredentialKind.API_KEY, first).user.user_id == owners[first][1]
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.API_KEY, tokens.mint(f"ipto_{shared}_"))


TABLES = (
    "access_token",
    "api_key",
    "attempt_budget",
    "client",
    "login_session",
    "one_time_secret",
    "outbox_message",
    "password_record",
    "password_reset_request",
    "personal_access_token",
    "refresh_token",
    "security_event",
    "tenant",
    "user",
)


@pytest.fixture
def env(make_env):
    """An environment without rate limits, since an attacker with a copy is not limited."""
    unlimited = RateLimit(1_000_000, 60)
    return make_env(
        account_and_source_budget=unlimited, account_budget=unlimited, source_budget=unlimited
    )


def _dumped(env):
    """Yield every value of every table, bytes in all common encodings."""
    for table in TABLES:
        rows = env.rows(table)
        assert rows, f"nothing was written into {table}"
        for row in rows:
            for value in row.values():
                if isinstance(value, bytes):
                    yield value.hex()
                    yield base64.b64encode(value).decode()
                    yield base64.urlsafe_b64encode(value).rstrip(b"=").decode()
                    yield value.decode("latin-1")
                elif value is not None:
                    yield str(value)


@pytest.mark.usefixtures("credentials")
def test_database_dump_contains_no_valid_credential(env, authenticate_as, alice, client):
    """TK-08: no stored value is a valid credential of any kind."""
    env.act(request_email_change, alice.view, "new@example.com")
    env.act(request_email_verification, alice.view)
    env.act(request_password_reset, alice.view.email)
    values = set(_dumped(env))
    assert len(values) > 50
    for value in values:
        with env.database.transaction(writing=True) as session:
            for purpose in SecretPurpose:
                with pytest.raises(SecretInvalid):
                    redeem_secret(session, purpose, value)
            with pytest.raises(InvalidClient):
                authenticate_client(session, ClientCredentials(client[0].id, value))
            with pytest.raises(InvalidGrant):
                rotate_refresh_token(session, client[0], value)
        for kind in KINDS:
            with pytest.raises(InvalidToken):
                authenticate_as(kind, value)
        with pytest.raises(InvalidCredentials):
            env.act(log_in, email=alice.view.email, password=value, user_agent=None)


def test_secrets_are_not_stored_in_the_clear(env, alice, client, credentials, issued):
    """SE-01: neither in a table nor in the write-ahead log."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    content = env.stored_bytes()
    assert alice.view.email.encode() in content
    for credential in (
        *credentials.values(),
        client[1],
        issued.refresh_token,
        secret,
        alice.password,
    ):
        assert credential.encode() not in content
