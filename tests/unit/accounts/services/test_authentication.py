"""From a credential to its person, and from anything else to the same refusal."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.exc import IntegrityError

from accounts.crypto import tokens
from accounts.crypto.jwts import HeldKey, KeySet
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
LASTS = {
    CredentialKind.SESSION: timedelta(days=30),
    CredentialKind.API_KEY: timedelta(days=1),
    CredentialKind.PAT: timedelta(days=1),
    CredentialKind.JWT: timedelta(minutes=10),
}
ISSUER = "http://localhost:8080"  # what the rules have, where nothing else is said


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet.of([HeldKey("a-key", private_key, START, None)], START)


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)


@pytest.fixture
def issued(env, key_set, alice, client):
    """A JWT of Alice's session, and the refresh token that came with it."""
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
def recognise(env, key_set):
    """Authenticates as a request does, which has read a JWT before the database is asked."""

    def recognise(kind, token):
        claims = None
        if kind is CredentialKind.JWT:
            now = env.clock.now
            claims = key_set.verify(token, issuer=ISSUER, audience=ISSUER, now=now)
        return env.act(authenticate, Presented(kind, token, claims))

    return recognise


@pytest.fixture
def credentials(env, alice, client, issued):
    """A credential of each kind, all of them Alice's and all good for a day."""
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
def end(env, key_set, recognise, credentials, client):
    """Logs out of a credential of this kind, or revokes it."""

    def end(kind):
        view, credential = principal = recognise(kind, credentials[kind])
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
    ("kind", "held"),
    [
        (CredentialKind.SESSION, SESSION_RIGHTS),
        (CredentialKind.ACCESS_TOKEN, ACCESS_TOKEN_RIGHTS),
        (CredentialKind.API_KEY, {"keys:read"}),
        (CredentialKind.PAT, {"me/pat:read"}),
        (CredentialKind.JWT, {"me/profile:read"}),
    ],
)
def test_each_kind_is_recognised_with_its_rights(recognise, alice, credentials, kind, held):
    """TK-12: every kind of credential leads to the same person."""
    principal = recognise(kind, credentials[kind])
    assert principal.user == alice.view
    assert (principal.credential.kind, principal.credential.rights) == (kind, held)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_a_session_or_was_made_of_one_names_it(recognise, alice, credentials, kind):
    """SE-05: so that ending the others leaves the one in use; what has none ends them all."""
    session_id = recognise(kind, credentials[kind]).credential.session_id
    of_a_session = kind in {CredentialKind.SESSION, CredentialKind.JWT}
    assert session_id == (alice.principal.credential.id if of_a_session else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", KINDS)
def test_no_kind_opens_the_door_of_another(recognise, credentials, kind, door):
    """TK-02: each kind has a key of its own, so a digest is found among its own only."""
    if kind is door:
        recognise(door, credentials[kind])
        return
    with pytest.raises(InvalidToken):
        recognise(door, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_ended_is_refused_at_the_next_request(end, recognise, credentials, kind):
    """SE-03, TK-15, JW-09: nothing remembers that a credential was good."""
    end(kind)
    with pytest.raises(InvalidToken):
        recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_ending_one_kind_leaves_the_others(end, recognise, credentials, kind):
    """SE-07: a credential is ended alone, but for a session, with which its JWTs end."""
    end(kind)
    gone = {kind, CredentialKind.JWT} if kind is CredentialKind.SESSION else {kind}
    for other in set(KINDS) - gone:
        recognise(other, credentials[other])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disabled_user_is_refused_at_the_next_request(env, recognise, credentials, kind):
    """SE-06: whatever the credential, its user has to be enabled."""
    user_id = recognise(kind, credentials[kind]).user.user_id
    env.act(lambda session: disable_user(session, session.get_one(User, user_id)))
    with pytest.raises(InvalidToken):
        recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disabled_tenant_is_refused_at_the_next_request(env, recognise, credentials, kind):
    """SE-06, AZ-15: whatever the credential, its user's tenant has to be enabled."""
    env.act(disable_tenant, recognise(kind, credentials[kind]).user.tenant_id)
    with pytest.raises(InvalidToken):
        recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", LASTS)
def test_a_credential_is_good_until_its_last_second(clock, recognise, credentials, kind):
    """SE-04, TK-13, JW-09: the end itself is past the end, and no clean-up is needed for it."""
    clock.now += LASTS[kind] - timedelta(seconds=1)
    recognise(kind, credentials[kind])
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        recognise(kind, credentials[kind])


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("table", ["login_session", "api_key", "personal_access_token"])
def test_no_credential_can_be_without_an_end(env, table):
    """TK-13: there is no null that could be taken for ever (CVE-2026-18363)."""
    assert env.count(table)
    with pytest.raises(IntegrityError):
        env.execute(f"UPDATE {table} SET expires_at = NULL")  # noqa: S608 # a test's


def test_an_access_token_has_no_end(clock, recognise, credentials):
    """TK-15: it lives until it is regenerated."""
    clock.move(days=10_000)
    recognise(CredentialKind.ACCESS_TOKEN, credentials[CredentialKind.ACCESS_TOKEN])


@pytest.mark.parametrize("kind", STORED)
def test_a_well_formed_token_that_nobody_has_is_refused(recognise, credentials, kind):
    """TK-01, TK-02: a checksum is no credential."""
    prefixes = {"session": "sess_", "accessToken": "tok_", "personalAccessToken": "pat_"}
    made = tokens.mint(prefixes[kind]) if kind in prefixes else tokens.mint_api_key("ipto").key
    assert recognise(kind, credentials[kind])
    with pytest.raises(InvalidToken):
        recognise(kind, made)


# What a JWT says, and what is so


def _claimed(env, issued, claims):
    return env.act(authenticate, Presented(CredentialKind.JWT, issued.access_token, claims))


def test_a_jwt_is_its_persons_and_no_others(env, alice, bob, issued, claims):
    """JW-10: the session, the user and the tenant that it names belong together."""
    assert _claimed(env, issued, claims).user == alice.view
    other = env.act(open_session, alice.user_id).session_id
    for changed in (
        {"subject": bob.user_id},
        {"tenant_id": bob.view.tenant_id},
        {"subject": bob.user_id, "tenant_id": bob.view.tenant_id},
        {"session_id": bob.principal.credential.id},
        {"session_id": "ses_000000000000"},
    ):
        with pytest.raises(InvalidToken):
            _claimed(env, issued, claims._replace(**changed))
    # Another session of the same person is one that it could have been made of.
    assert _claimed(env, issued, claims._replace(session_id=other)).user == alice.view


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_jwt_of_another_epoch_is_refused(env, alice, issued, claims, epoch):
    """JW-09: an earlier one has ended, and a later one has not begun."""
    env.execute('UPDATE "user" SET credential_epoch = 1 WHERE id = ?', alice.user_id)
    assert _claimed(env, issued, claims._replace(epoch=1))
    with pytest.raises(InvalidToken):
        _claimed(env, issued, claims._replace(epoch=epoch))


def test_a_jwt_is_named_by_its_id(env, issued, claims):
    """LO-02: what is remembered of a request is not the token."""
    credential = _claimed(env, issued, claims).credential
    assert (credential.id, credential.session_id) == (claims.jti, claims.session_id)


def test_a_right_that_no_user_has_is_none(env, issued, claims):
    """TK-12: what a JWT says of scopes counts within what there is."""
    wide = claims._replace(scopes=frozenset({"me/profile:read", "admin", "*"}))
    assert _claimed(env, issued, wide).credential.rights == {"me/profile:read"}


# After a rotation of the root secret


@pytest.fixture
def rotated(env):
    keys = Keyring(b"n" * 32, b"x" * 32)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield database
    database.close()


@pytest.mark.parametrize("kind", STORED)
def test_a_token_under_a_former_root_is_found_and_said_to_be(rotated, credentials, kind):
    """TK-07: so that it can be stored anew, while it is at hand."""
    with rotated.transaction(writing=False) as session:
        assert authenticate(session, Presented(kind, credentials[kind]))
        (anew,) = session.observed
    assert anew.kind is kind
    assert anew.before != anew.after
    with rotated.transaction(writing=True) as session, pytest.raises(InvalidToken):
        authenticate(session, Presented(kind, f"{credentials[kind]}0"))


@pytest.mark.parametrize("kind", STORED)
def test_a_token_under_the_present_root_needs_nothing(env, credentials, kind):
    """TK-07: and whatever is to be stored anew is not said twice."""
    with env.database.transaction(writing=False) as session:
        authenticate(session, Presented(kind, credentials[kind]))
        assert session.observed == []


# What the database tells a thief


def test_of_two_keys_with_one_prefix_each_is_its_own(env, alice, bob):
    """The prefix narrows the search, and the whole digest decides (TK-09)."""
    made = {}
    for user in (alice, bob):
        key, token = env.act(
            create_api_key,
            user.principal,
            name="Key",
            scopes=["keys:read"],
            dataset_access_mode="all_available",
            expires_at=None,
        )
        made[token] = (key.id, user.user_id)
    shared = tokens.api_key_prefix(next(iter(made)), "ipto")
    env.execute("UPDATE api_key SET prefix = ?", shared)
    first, second = made
    assert env.recognise(CredentialKind.API_KEY, first).user.user_id == made[first][1]
    # The second is found by its own prefix no more, so a key of that secret with the shared one is
    # made by hand: what it would be found by is the first's, what it is told by its own.
    twin = tokens.mint(f"ipto_{shared}_")
    env.execute(
        "UPDATE api_key SET key_digest = ? WHERE id = ?",
        env.keys.digest(Purpose.API_KEY, twin),
        made[second][0],
    )
    assert env.recognise(CredentialKind.API_KEY, twin).user.user_id == made[second][1]
    assert env.recognise(CredentialKind.API_KEY, first).user.user_id == made[first][1]
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.API_KEY, tokens.mint(f"ipto_{shared}_"))


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
def env(open_house):
    """Without limits, since a thief who has the database has all the time there is."""
    endless = RateLimit(1_000_000, 60)
    return open_house(
        account_and_source_budget=endless, account_budget=endless, source_budget=endless
    )


def _dumped(env):
    """Every value in every table, as it is and in the forms that bytes are pasted in."""
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
def test_a_dump_of_the_database_opens_nothing(env, recognise, alice, client):
    """TK-08: no value of any column is a credential of any kind."""
    env.act(request_email_change, alice.view, "new@example.com")
    env.act(request_email_verification, alice.view)
    env.act(request_password_reset, alice.view.email)
    tried = set(_dumped(env))
    assert len(tried) > 50
    for value in tried:
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
                recognise(kind, value)
        with pytest.raises(InvalidCredentials):
            env.act(log_in, email=alice.view.email, password=value, user_agent=None)


def test_no_secret_is_in_the_database(env, alice, client, credentials, issued):
    """SE-01: what is shown once can be read nowhere afterwards, nor in the write-ahead log."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    stored = env.stored()
    assert alice.view.email.encode() in stored
    for shown in (
        *credentials.values(),
        client[1],
        issued.refresh_token,
        secret,
        alice.password,
    ):
        assert shown.encode() not in stored
