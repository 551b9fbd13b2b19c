"""Exchanging a session or a refresh token for a JWT."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto import tokens
from accounts.crypto.jwts import KeySet, LoadedKey
from accounts.errors import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    TooManyAttempts,
    UnsupportedGrantType,
)
from accounts.flows.administration.clients import add_client
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.oauth.refresh_tokens import find_refresh_token
from accounts.flows.oauth.token_exchange import (
    GRANT_TYPES,
    exchange_refresh_token,
    exchange_session,
    issue_token,
)
from accounts.flows.sign_in.sessions import log_out, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import RateLimit
from accounts.services.access_tokens import reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.principal import Authentication, CredentialKind, Presented
from models import Client, Tenant
from tests.unit.conftest import START

ISSUER = "http://localhost:8080"  # the default
API, OTHER_API = "https://api.example.com", "https://other.example.com"
EXCHANGE, REFRESH = GRANT_TYPES
READ, WRITE, SETTINGS = "me/profile:read", "me/profile:write", "me/settings:read"


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet((LoadedKey("a-key", private_key, START, None),))


@pytest.fixture
def add(env):
    """Add a client to a tenant; returns it with its secret."""

    def add(user, *scopes, **options):
        with env.database.transaction(writing=True) as session:
            tenant = session.get_one(Tenant, user.view.tenant_id)
            return add_client(
                session, tenant, name="A program", scopes=scopes or SESSION_RIGHTS, **options
            )

    return add


@pytest.fixture
def client(add, alice):
    return add(alice, READ, WRITE, audiences=[API])[0]


@pytest.fixture
def exchange(env, key_set, alice, client):
    """Exchange Alice's session, with these overrides."""

    def exchange(by=client, token=alice.token, scope=None, audience=None):
        return env.act(
            exchange_session, key_set, by, subject_token=token, scope=scope, audience=audience
        )

    return exchange


@pytest.fixture
def refresh(env, key_set, client):
    """Exchange a refresh token."""

    def refresh(token, by=client, scope=None):
        return env.act(exchange_refresh_token, key_set, by, token=token, scope=scope, audience=None)

    return refresh


@pytest.fixture
def claims_of(env, key_set):
    def claims_of(issued, audience=ISSUER):
        return key_set.verify(
            issued.access_token, issuer=ISSUER, audience=audience, now=env.clock.now
        )

    return claims_of


# Issued tokens


def test_session_is_exchanged_for_a_token_of_its_user(alice, clock, client, exchange, claims_of):
    """JW-10: user, tenant, session and client come from the session, not from the request."""
    clock.move(minutes=5)
    claims = claims_of(exchange())
    assert (claims.subject, claims.tenant_id) == (alice.user_id, alice.view.tenant_id)
    assert (claims.session_id, claims.client_id) == (alice.principal.credential.id, client.id)
    assert (claims.audience, claims.epoch) == (ISSUER, 0)
    assert claims.issued_at == clock.now
    assert claims.authenticated_at == START


def test_token_tells_when_and_how_its_user_authenticated(env, clock, exchange, refresh, claims_of):
    """RFC 9068 section 2.2.1: all tokens of a family tell the same, also after a later login."""
    first = exchange()
    clock.move(minutes=5)
    env.execute("UPDATE login_session SET authenticated_at = ?, amr = 'pwd otp mfa'", clock.now)
    claims = claims_of(refresh(first.refresh_token))
    assert (claims.authenticated_at, claims.amr) == (START, ("pwd",))
    claims = claims_of(exchange())
    assert (claims.authenticated_at, claims.amr) == (clock.now, ("pwd", "otp", "mfa"))


def test_session_of_an_earlier_release_tells_its_login_by_password(
    env, alice, exchange, refresh, claims_of
):
    """A replica of that release writes no authentication, neither of sessions nor of families."""
    first = exchange()
    env.execute("UPDATE login_session SET authenticated_at = NULL, amr = NULL")
    env.execute("UPDATE refresh_token SET authenticated_at = NULL, amr = NULL")
    env.clock.move(minutes=5)
    principal = env.authenticate(CredentialKind.SESSION, alice.token)
    assert principal.credential.authentication == Authentication(START, ("pwd",))
    claims = claims_of(refresh(first.refresh_token))
    assert (claims.authenticated_at, claims.amr) == (START, ("pwd",))


def test_token_claims_whether_the_address_is_verified(env, alice, exchange, claims_of):
    """Attack finding 12: as of the exchange; services must not trust an unverified address."""
    assert claims_of(exchange()).email_verified is False
    env.act(request_email_verification, alice.view)
    env.act(confirm_email, env.act(unseal_parameters, env.messages()[-1])["secret"])
    assert claims_of(exchange()).email_verified is True


def test_token_claims_no_verified_address_while_another_is_shown(
    env, alice, exchange, refresh, claims_of
):
    """Attack finding 12: services would take the claim for that of the address in the profile."""
    env.act(request_email_verification, alice.view)
    env.act(confirm_email, env.act(unseal_parameters, env.messages()[-1])["secret"])
    view = env.view(alice.user_id)
    _, secret = env.act(request_email_change, view, "chief@victim.example")
    env.act(validate_email_change, identity_id=view.identity_id, secret=secret)
    issued = exchange()
    for token in (issued, refresh(issued.refresh_token)):
        assert claims_of(token).email_verified is env.view(alice.user_id).email_verified is False


def test_exchanges_are_limited(make_env, key_set):
    """LG-18, attack finding 8: each of them, of a session or a refresh token, adds rows."""
    env = make_env(write_budget=RateLimit(2, 60))
    user = env.user("alice@example.com")
    client, _ = env.client(user.view.tenant_id)

    def exchange():
        return env.act(
            exchange_session, key_set, client, subject_token=user.token, scope=None, audience=None
        )

    def refresh(token):
        return env.act(
            exchange_refresh_token, key_set, client, token=token, scope=None, audience=None
        )

    second = refresh(exchange().refresh_token)
    for again in (exchange, lambda: refresh(second.refresh_token)):
        with pytest.raises(TooManyAttempts) as caught:
            again()
        assert caught.value.policy == "write"


def test_issued_token_authenticates(env, alice, exchange, claims_of):
    """JW-09: with its own scopes, not those of its session."""
    issued = exchange(scope=READ)
    presented = Presented(CredentialKind.JWT, issued.access_token, claims_of(issued))
    principal = env.act(authenticate, presented)
    assert principal.user == alice.view
    assert principal.credential.kind is CredentialKind.JWT
    assert principal.credential.rights == {READ}
    assert principal.credential.session_id == alice.principal.credential.id


def test_each_token_has_its_own_id(exchange, claims_of):
    """JW-09: each can be revoked on its own."""
    assert len({claims_of(exchange()).jti for _ in range(5)}) == 5


def test_token_expires_after_ten_minutes(exchange, claims_of, clock):
    """JW-09: both the response and the token say so."""
    issued = exchange()
    assert issued.seconds == 600
    clock.move(minutes=9, seconds=59)
    claims_of(issued)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        claims_of(issued)


def test_token_expires_with_its_session(exchange, claims_of, clock):
    """SE-04: an exchange does not extend the login."""
    clock.move(days=29, hours=23, minutes=57, microseconds=500_000)
    issued = exchange()
    assert issued.seconds == 180
    assert claims_of(issued).expires_at == START + timedelta(days=30)


@pytest.fixture
def expiring_tokens(env, clock, alice, exchange):
    """A session and its refresh token, 0.3 seconds before they expire."""
    clock.move(microseconds=700_000)
    new_session = env.act(open_session, alice.user_id)
    issued = exchange(token=new_session.token)
    clock.now = new_session.expires_at - timedelta(microseconds=300_000)
    return new_session.token, issued.refresh_token


def test_session_in_its_last_second_is_not_exchanged(exchange, expiring_tokens):
    """SE-04: no token with a lifetime below a second is issued, and this is no internal error."""
    with pytest.raises(InvalidGrant):
        exchange(token=expiring_tokens[0])


def test_refresh_token_in_its_last_second_is_not_exchanged(refresh, expiring_tokens):
    """SE-04: as with a session."""
    with pytest.raises(InvalidGrant):
        refresh(expiring_tokens[1])


def test_exchange_is_an_event_of_the_user(env, alice, client, exchange):
    """LO-02: it names the client, and contains no token."""
    issued = exchange()
    event = next(row for row in env.rows("security_event") if row["kind"] == "authn_token_created")
    assert event["user_id"] == alice.user_id
    assert client.id in event["details"]
    for token in (issued.access_token, issued.refresh_token, alice.token):
        assert token not in str(env.rows("security_event"))


# Subject tokens


@pytest.fixture
def other_credentials(env, alice, add):
    """A valid credential of Alice of each other kind."""
    client, secret = add(alice)
    _, key = env.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=[READ],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    _, pat = env.act(
        create_pat,
        alice.principal,
        name="Token",
        scopes=[READ],
        expires_at=env.clock.now + timedelta(days=1),
        client_id=client.id,
        client_secret=secret,
    )
    access_token = env.act(reveal_access_token, alice.view)
    return {"API key": key, "PAT": pat, "access token": access_token, "client secret": secret}


@pytest.mark.parametrize("kind", ["API key", "PAT", "access token", "client secret"])
def test_only_sessions_are_exchanged(exchange, other_credentials, kind):
    """TK-11: credentials cannot be exchanged for ones with more rights or no expiry."""
    with pytest.raises(InvalidRequest):
        exchange(token=other_credentials[kind])


def test_issued_tokens_are_no_subject_tokens(exchange):
    """TK-11: neither a JWT, nor a refresh token in place of a session."""
    issued = exchange()
    for token in (issued.access_token, issued.refresh_token):
        with pytest.raises(InvalidRequest):
            exchange(token=token)


@pytest.mark.parametrize(
    "wrong", ["", "sess_", tokens.mint("sess_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_unknown_or_malformed_session_is_rejected(exchange, wrong):
    """TK-02: unknown and malformed sessions are rejected alike."""
    with pytest.raises(InvalidRequest) as caught:
        exchange(token=wrong)
    with pytest.raises(InvalidRequest) as unknown:
        exchange(token=tokens.mint("sess_"))
    assert caught.value.violations == unknown.value.violations


def test_session_of_another_tenant_is_rejected_as_unknown(add, bob, exchange):
    """JW-10: a client exchanges sessions of its tenant, and learns nothing about others."""
    with pytest.raises(InvalidRequest) as caught:
        exchange(token=bob.token)
    with pytest.raises(InvalidRequest) as unknown:
        exchange(token=tokens.mint("sess_"))
    assert caught.value.violations == unknown.value.violations
    exchange(by=add(bob)[0], token=bob.token)


def test_ended_session_is_not_exchanged(env, alice, exchange):
    """SE-03: at the next exchange."""
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidRequest):
        exchange()
    assert env.count("refresh_token") == 0


# Scopes


def test_scopes_of_the_client_are_granted_by_default(exchange, refresh):
    """TK-10: but not scopes that only the session has."""
    issued = exchange()
    assert issued.scopes == {READ, WRITE}
    assert refresh(issued.refresh_token).scopes == {READ, WRITE}


@pytest.mark.parametrize(
    ("scope", "granted"),
    [(READ, {READ}), (f"{WRITE} {READ}", {READ, WRITE}), (f"{READ} {SETTINGS}", {READ})],
)
def test_requested_scopes_are_granted_if_held(exchange, scope, granted):
    """TK-10: the response names them, since they can be fewer (RFC 6749 section 3.3)."""
    assert exchange(scope=scope).scopes == granted


@pytest.mark.parametrize(
    "scope", [SETTINGS, "", " ", f"{READ} ", f"{READ}  {WRITE}", f"{READ} burn", "*", READ.upper()]
)
def test_scope_unknown_or_not_held_is_rejected(exchange, refresh, scope):
    """TK-10: and the request consumes nothing."""
    issued = exchange()
    with pytest.raises(InvalidScope):
        exchange(scope=scope)
    with pytest.raises(InvalidScope):
        refresh(issued.refresh_token, scope=scope)
    refresh(issued.refresh_token)


def test_narrower_token_does_not_narrow_its_family(exchange, refresh):
    """RFC 6749 section 6: a later exchange may request all scopes again."""
    narrow = refresh(exchange().refresh_token, scope=READ)
    assert narrow.scopes == {READ}
    assert refresh(narrow.refresh_token).scopes == {READ, WRITE}


def test_family_never_gains_scopes(exchange, refresh):
    """TK-11: not even up to the scopes of the client."""
    issued = exchange(scope=READ)
    assert refresh(issued.refresh_token, scope=f"{READ} {WRITE}").scopes == {READ}
    with pytest.raises(InvalidScope):
        refresh(exchange(scope=READ).refresh_token, scope=WRITE)


def test_scopes_that_the_client_lost_are_not_granted(env, client, exchange, refresh):
    """TK-12: the client's scopes are checked at each exchange."""

    def set_scopes(*scopes):
        with env.database.transaction(writing=True) as session:
            stored_client = session.get_one(Client, client.id)
            stored_client.scopes = list(scopes)
        return stored_client

    issued = exchange()
    issued = refresh(issued.refresh_token, by=set_scopes(WRITE))
    assert issued.scopes == {WRITE}
    with pytest.raises(InvalidScope):
        refresh(issued.refresh_token, by=set_scopes(SETTINGS))
    # The failed exchange was rolled back, so the token can still be used.
    assert refresh(issued.refresh_token, by=set_scopes(READ)).scopes == {READ}


# Audiences


def test_audience_is_this_service_or_a_registered_one(exchange, claims_of):
    """JW-03: a token has one audience, the requested one."""
    assert claims_of(exchange(), ISSUER)
    assert claims_of(exchange(audience=ISSUER), ISSUER)
    assert claims_of(exchange(audience=API), API)
    with pytest.raises(InvalidToken):
        claims_of(exchange(audience=API), ISSUER)


@pytest.mark.parametrize("audience", [OTHER_API, "", f"{API}/", API.upper(), f"{ISSUER} {API}"])
def test_unregistered_audience_is_rejected(exchange, audience):
    """JW-03: compared character by character."""
    with pytest.raises(InvalidTarget):
        exchange(audience=audience)


def test_family_keeps_its_audience(exchange, refresh, claims_of):
    """JW-03: it is not requested again, and cannot change."""
    issued = refresh(exchange(audience=API).refresh_token)
    assert claims_of(issued, API)
    with pytest.raises(InvalidToken):
        claims_of(issued, ISSUER)


def test_public_client_gets_its_default_audience(alice, add, exchange, claims_of):
    """JW-03: its first registered audience, or else this service."""
    for audiences, expected in (([API, OTHER_API], API), ([], ISSUER)):
        public, _ = add(alice, READ, audiences=audiences, public=True)
        assert claims_of(exchange(by=public), expected)


# Refresh tokens


def test_refresh_token_is_exchanged_for_a_token_and_its_successor(
    alice, clock, exchange, refresh, claims_of
):
    """JW-12: the time of login stays, and the token starts now."""
    first = exchange()
    clock.move(minutes=30)
    second = refresh(first.refresh_token)
    claims = claims_of(second)
    assert claims.issued_at == clock.now
    assert claims.authenticated_at == START
    assert claims.session_id == alice.principal.credential.id
    third = refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3


def test_token_carries_the_credential_epoch(env, alice, exchange, refresh, claims_of):
    """JW-09: raising the epoch revokes earlier tokens only."""
    issued = exchange()
    old = Presented(CredentialKind.JWT, issued.access_token, claims_of(issued))
    env.act(authenticate, old)
    env.execute('UPDATE "user" SET credential_epoch = 1 WHERE id = ?', alice.user_id)
    with pytest.raises(InvalidToken):
        env.act(authenticate, old)
    for newer in (refresh(issued.refresh_token), exchange()):
        claims = claims_of(newer)
        assert claims.epoch == 1
        env.act(authenticate, Presented(CredentialKind.JWT, newer.access_token, claims))


def test_invalid_refresh_token_is_rejected(env, add, alice, exchange, refresh):
    """JW-12: used, unknown, of another client or of another kind."""
    issued = exchange()
    for token in (tokens.mint("ref_"), alice.token, issued.access_token):
        with pytest.raises(InvalidGrant):
            refresh(token)
    with pytest.raises(InvalidGrant):
        refresh(issued.refresh_token, by=add(alice)[0])
    next_token = refresh(issued.refresh_token).refresh_token
    with pytest.raises(InvalidGrant):
        refresh(issued.refresh_token)
    # The refused exchange has revoked its family.
    assert env.act(find_refresh_token, next_token) is None


# Endpoint


@pytest.fixture
def issue(env, key_set, alice, add):
    """Answer a token request, with these overrides."""
    client, _ = add(alice, READ)
    fields = {
        "grant_type": EXCHANGE,
        "subject_token": alice.token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "refresh_token": None,
        "scope": None,
        "audience": None,
        "resource": None,
        "actor_token": None,
    }

    def issue(**overrides):
        return env.act(issue_token, key_set, client, **(fields | overrides))

    return issue


def test_endpoint_supports_two_grants(issue):
    """RFC 8693 section 2.1, RFC 6749 section 6: one starts a family, the other continues it."""
    first = issue()
    assert first.scopes == {READ}
    second = issue(grant_type=REFRESH, refresh_token=first.refresh_token)
    assert second.refresh_token != first.refresh_token


@pytest.mark.parametrize("grant", ["password", "client_credentials", "authorization_code", ""])
def test_other_grants_are_rejected(issue, grant):
    """RFC 6749 section 5.2: in particular not `password` (RFC 9700 section 2.4)."""
    with pytest.raises(UnsupportedGrantType):
        issue(grant_type=grant)


@pytest.mark.parametrize(
    ("grant", "field"),
    [(EXCHANGE, "subject_token"), (EXCHANGE, "subject_token_type"), (REFRESH, "refresh_token")],
)
def test_missing_field_is_named(issue, grant, field):
    """RFC 6749 section 5.2: the fields of the grant are checked first."""
    with pytest.raises(InvalidRequest) as caught:
        issue(grant_type=grant, **{field: None})
    assert [violation.field for violation in caught.value.violations] == [(field,)]
