"""Trading a session or a refresh token for a JWT."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto import tokens
from accounts.crypto.jwts import HeldKey, KeySet
from accounts.errors import (
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    UnsupportedGrantType,
)
from accounts.flows.administration.clients import add_client
from accounts.flows.oauth.refresh_tokens import find_refresh_token
from accounts.flows.oauth.token_exchange import (
    GRANT_TYPES,
    exchange_refresh_token,
    exchange_session,
    identify_client,
    issue_token,
)
from accounts.flows.sign_in.sessions import log_out, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.services.access_tokens import reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.principal import CredentialKind, Presented
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
def add(env):
    """Adds a client to a tenant: the client, and its secret."""

    def add(user, *scopes, **more):
        with env.database.transaction(writing=True) as session:
            tenant = session.get_one(Tenant, user.view.tenant_id)
            return add_client(
                session, tenant, name="A program", scopes=scopes or SESSION_RIGHTS, **more
            )

    return add


@pytest.fixture
def client(add, alice):
    return add(alice, READ, WRITE, audiences=[API])[0]


@pytest.fixture
def exchange(env, key_set, alice, client):
    """Trades Alice's session; what is named replaces what an ordinary request has."""

    def exchange(by=client, token=alice.token, scope=None, audience=None):
        return env.act(
            exchange_session, key_set, by, subject_token=token, scope=scope, audience=audience
        )

    return exchange


@pytest.fixture
def refresh(env, key_set, client):
    """Trades a refresh token."""

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


# What a client gets


def test_a_session_becomes_a_token_of_its_person(alice, clock, client, exchange, claims_of):
    """JW-10: user, tenant, session and client are said by it, and none of them by a request."""
    clock.move(minutes=5)
    claims = claims_of(exchange())
    assert (claims.subject, claims.tenant_id) == (alice.user_id, alice.view.tenant_id)
    assert (claims.session_id, claims.client_id) == (alice.principal.credential.id, client.id)
    assert (claims.audience, claims.epoch) == (ISSUER, 0)
    assert claims.issued_at == clock.now
    assert claims.authenticated_at == START


def test_the_token_is_good_at_the_next_request(env, alice, exchange, claims_of):
    """JW-09: with its scopes, and not with those of its session."""
    issued = exchange(scope=READ)
    presented = Presented(CredentialKind.JWT, issued.access_token, claims_of(issued))
    principal = env.act(authenticate, presented)
    assert principal.user == alice.view
    assert principal.credential.kind is CredentialKind.JWT
    assert principal.credential.rights == {READ}
    assert principal.credential.session_id == alice.principal.credential.id


def test_each_token_has_an_id_of_its_own(exchange, claims_of):
    """JW-09: what is revoked is one of them."""
    assert len({claims_of(exchange()).jti for _ in range(5)}) == 5


def test_a_token_lives_for_ten_minutes(exchange, claims_of, clock):
    """JW-09: the client is told, and so is the token."""
    issued = exchange()
    assert issued.seconds == 600
    clock.move(minutes=9, seconds=59)
    claims_of(issued)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        claims_of(issued)


def test_a_token_ends_with_its_session(exchange, claims_of, clock):
    """SE-04: no exchange makes a login longer."""
    clock.move(days=29, hours=23, minutes=57, microseconds=500_000)
    issued = exchange()
    assert issued.seconds == 180
    assert claims_of(issued).expires_at == START + timedelta(days=30)


@pytest.fixture
def in_the_last_second(env, clock, alice, exchange):
    """A session, and a refresh token made of it, three tenths of a second before they end."""
    clock.move(microseconds=700_000)
    opened = env.act(open_session, alice.user_id)
    issued = exchange(token=opened.token)
    clock.now = opened.expires_at - timedelta(microseconds=300_000)
    return opened.token, issued.refresh_token


def test_a_session_in_its_last_second_is_not_traded(exchange, in_the_last_second):
    """SE-04: a token of no whole second is none, and asking for one is no fault of the service."""
    with pytest.raises(InvalidGrant):
        exchange(token=in_the_last_second[0])


def test_a_refresh_token_in_its_last_second_is_not_traded(refresh, in_the_last_second):
    """SE-04: as a session."""
    with pytest.raises(InvalidGrant):
        refresh(in_the_last_second[1])


def test_an_exchange_is_an_event_of_the_person(env, alice, client, exchange):
    """LO-02: whom a token was made for, and no token."""
    issued = exchange()
    event = next(row for row in env.rows("security_event") if row["kind"] == "authn_token_created")
    assert event["user_id"] == alice.user_id
    assert client.id in event["details"]
    for token in (issued.access_token, issued.refresh_token, alice.token):
        assert token not in str(env.rows("security_event"))


# Whose session


@pytest.fixture
def others(env, alice, add):
    """A credential of each other kind, all of them Alice's and good."""
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
def test_only_a_session_is_traded(exchange, others, kind):
    """TK-11: what has fewer rights, or an end, does not become what has more, or none."""
    with pytest.raises(InvalidRequest):
        exchange(token=others[kind])


def test_a_token_is_not_traded_for_another(exchange):
    """TK-11: neither a JWT for a JWT, nor a refresh token as if it were a session."""
    issued = exchange()
    for token in (issued.access_token, issued.refresh_token):
        with pytest.raises(InvalidRequest):
            exchange(token=token)


@pytest.mark.parametrize(
    "wrong", ["", "sess_", tokens.mint("sess_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_what_is_no_session_is_refused(exchange, wrong):
    """TK-02: an unknown session and what cannot be one are refused alike."""
    with pytest.raises(InvalidRequest) as refused:
        exchange(token=wrong)
    with pytest.raises(InvalidRequest) as unknown:
        exchange(token=tokens.mint("sess_"))
    assert refused.value.violations == unknown.value.violations


def test_a_session_of_another_tenant_is_refused_like_an_unknown_one(add, bob, exchange):
    """JW-10: a client trades sessions of its own tenant only, and finds out nothing of others."""
    with pytest.raises(InvalidRequest) as foreign:
        exchange(token=bob.token)
    with pytest.raises(InvalidRequest) as unknown:
        exchange(token=tokens.mint("sess_"))
    assert foreign.value.violations == unknown.value.violations
    exchange(by=add(bob)[0], token=bob.token)


def test_a_session_that_has_ended_is_not_traded(env, alice, exchange):
    """SE-03: at the next exchange."""
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidRequest):
        exchange()
    assert env.count("refresh_token") == 0


# How much of it


def test_without_a_scope_all_that_the_client_has_is_granted(exchange, refresh):
    """TK-10: and nothing that it has not, though the session does."""
    issued = exchange()
    assert issued.scopes == {READ, WRITE}
    assert refresh(issued.refresh_token).scopes == {READ, WRITE}


@pytest.mark.parametrize(
    ("scope", "granted"),
    [(READ, {READ}), (f"{WRITE} {READ}", {READ, WRITE}), (f"{READ} {SETTINGS}", {READ})],
)
def test_of_the_scopes_asked_for_those_that_are_held_are_granted(exchange, scope, granted):
    """TK-10: the client is told which, since they can be fewer (RFC 6749 section 3.3)."""
    assert exchange(scope=scope).scopes == granted


@pytest.mark.parametrize(
    "scope", [SETTINGS, "", " ", f"{READ} ", f"{READ}  {WRITE}", f"{READ} burn", "*", READ.upper()]
)
def test_a_scope_that_is_unknown_or_not_held_is_refused(exchange, refresh, scope):
    """TK-10: and nothing is used up by asking."""
    issued = exchange()
    with pytest.raises(InvalidScope):
        exchange(scope=scope)
    with pytest.raises(InvalidScope):
        refresh(issued.refresh_token, scope=scope)
    refresh(issued.refresh_token)


def test_a_narrower_token_leaves_its_family_as_wide_as_it_was(exchange, refresh):
    """RFC 6749 section 6: a later exchange may ask for all of it again."""
    narrow = refresh(exchange().refresh_token, scope=READ)
    assert narrow.scopes == {READ}
    assert refresh(narrow.refresh_token).scopes == {READ, WRITE}


def test_a_family_never_becomes_wider(exchange, refresh):
    """TK-11: what was not granted first is not granted later, though the client has it."""
    issued = exchange(scope=READ)
    assert refresh(issued.refresh_token, scope=f"{READ} {WRITE}").scopes == {READ}
    with pytest.raises(InvalidScope):
        refresh(exchange(scope=READ).refresh_token, scope=WRITE)


def test_what_the_client_has_lost_is_not_granted_again(env, client, exchange, refresh):
    """TK-12: its rights are looked at in each exchange."""

    def leave(*scopes):
        with env.database.transaction(writing=True) as session:
            changed = session.get_one(Client, client.id)
            changed.scopes = list(scopes)
        return changed

    issued = exchange()
    issued = refresh(issued.refresh_token, by=leave(WRITE))
    assert issued.scopes == {WRITE}
    with pytest.raises(InvalidScope):
        refresh(issued.refresh_token, by=leave(SETTINGS))
    # The exchange was undone whole, so the token is still good for one.
    assert refresh(issued.refresh_token, by=leave(READ)).scopes == {READ}


# For whom


def test_a_token_is_for_this_service_or_one_that_the_client_was_registered_for(exchange, claims_of):
    """JW-03: one audience, and the one that was asked for."""
    assert claims_of(exchange(), ISSUER)
    assert claims_of(exchange(audience=ISSUER), ISSUER)
    assert claims_of(exchange(audience=API), API)
    with pytest.raises(InvalidToken):
        claims_of(exchange(audience=API), ISSUER)


@pytest.mark.parametrize("audience", [OTHER_API, "", f"{API}/", API.upper(), f"{ISSUER} {API}"])
def test_any_other_audience_is_refused(exchange, audience):
    """JW-03: compared letter by letter."""
    with pytest.raises(InvalidTarget):
        exchange(audience=audience)


def test_a_family_keeps_its_audience(exchange, refresh, claims_of):
    """JW-03: it is not asked for again, and cannot be another."""
    issued = refresh(exchange(audience=API).refresh_token)
    assert claims_of(issued, API)
    with pytest.raises(InvalidToken):
        claims_of(issued, ISSUER)


def test_a_public_client_has_an_audience_without_asking(alice, add, exchange, claims_of):
    """JW-03: the first that it was registered for, and this service if it was for none."""
    for audiences, given in (([API, OTHER_API], API), ([], ISSUER)):
        public, _ = add(alice, READ, audiences=audiences, public=True)
        assert claims_of(exchange(by=public), given)


# A refresh token


def test_a_refresh_token_becomes_a_token_and_the_next_of_its_family(
    alice, clock, exchange, refresh, claims_of
):
    """JW-12: the login stays when it was, and the token begins now."""
    first = exchange()
    clock.move(minutes=30)
    second = refresh(first.refresh_token)
    claims = claims_of(second)
    assert claims.issued_at == clock.now
    assert claims.authenticated_at == START
    assert claims.session_id == alice.principal.credential.id
    third = refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3


def test_a_token_bears_the_epoch_of_its_person(env, alice, exchange, refresh, claims_of):
    """JW-09: raising it ends what was made before, and not what is made after."""
    issued = exchange()
    old = Presented(CredentialKind.JWT, issued.access_token, claims_of(issued))
    env.act(authenticate, old)
    env.execute('UPDATE "user" SET credential_epoch = 1 WHERE id = ?', alice.user_id)
    with pytest.raises(InvalidToken):
        env.act(authenticate, old)
    for later in (refresh(issued.refresh_token), exchange()):
        claims = claims_of(later)
        assert claims.epoch == 1
        env.act(authenticate, Presented(CredentialKind.JWT, later.access_token, claims))


def test_a_refresh_token_that_is_not_good_is_refused(env, add, alice, exchange, refresh):
    """JW-12: used, another client's, unknown, or of another kind."""
    issued = exchange()
    for token in (tokens.mint("ref_"), alice.token, issued.access_token):
        with pytest.raises(InvalidGrant):
            refresh(token)
    with pytest.raises(InvalidGrant):
        refresh(issued.refresh_token, by=add(alice)[0])
    following = refresh(issued.refresh_token).refresh_token
    with pytest.raises(InvalidGrant):
        refresh(issued.refresh_token)
    # Its family has ended by that, which was kept although the exchange was refused.
    assert env.act(find_refresh_token, following) is None


# Which client


@pytest.fixture
def known(add, alice):
    client, secret = add(alice)
    return ClientCredentials(client.id, secret)


def test_a_client_is_known_by_its_secret(env, known):
    """TK-17: it may state its id as well."""
    assert env.act(identify_client, known, None).id == known.client_id
    assert env.act(identify_client, known, known.client_id).id == known.client_id


def test_a_client_that_states_another_id_is_refused(env, known, add, alice):
    """RFC 6749 section 3.2.1: whichever of the two it is, one of them is not."""
    other, _ = add(alice)
    with pytest.raises(InvalidRequest) as refused:
        env.act(identify_client, known, other.id)
    assert refused.value.violations[0].field == ("client_id",)


def test_a_public_client_is_known_by_its_id(env, add, alice):
    """RFC 6749 section 3.2.1: it has nothing else."""
    public, _ = add(alice, public=True)
    assert env.act(identify_client, None, public.id).id == public.id


def test_a_client_that_has_a_secret_must_show_it(env, known):
    """RFC 6749 section 3.2.1: its id alone is known to many."""
    for client_id in (known.client_id, "cli_000000000000", None):
        with pytest.raises(InvalidClient):
            env.act(identify_client, None, client_id)
    with pytest.raises(InvalidClient):
        env.act(identify_client, known._replace(secret=None), known.client_id)


# The endpoint


@pytest.fixture
def issue(env, key_set, alice, add):
    """Answers a token request; what is named replaces what an ordinary one has."""
    public, _ = add(alice, READ, public=True)
    fields = {
        "grant_type": EXCHANGE,
        "client_id": public.id,
        "subject_token": alice.token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "refresh_token": None,
        "scope": None,
        "audience": None,
        "resource": None,
        "actor_token": None,
    }

    def issue(credentials=None, **changed):
        return env.act(issue_token, key_set, credentials, **(fields | changed))

    return issue


def test_the_endpoint_knows_two_grants(issue):
    """RFC 8693 section 2.1, RFC 6749 section 6: one begins a family, and one goes on with it."""
    first = issue()
    assert first.scopes == {READ}
    second = issue(grant_type=REFRESH, refresh_token=first.refresh_token)
    assert second.refresh_token != first.refresh_token


@pytest.mark.parametrize("grant", ["password", "client_credentials", "authorization_code", ""])
def test_the_endpoint_knows_no_other_grant(issue, grant):
    """RFC 6749 section 5.2: above all not the password (RFC 9700 section 2.4)."""
    with pytest.raises(UnsupportedGrantType):
        issue(grant_type=grant)


@pytest.mark.parametrize(
    ("grant", "field"),
    [(EXCHANGE, "subject_token"), (EXCHANGE, "subject_token_type"), (REFRESH, "refresh_token")],
)
def test_the_endpoint_names_the_field_that_is_missing(issue, grant, field):
    """RFC 6749 section 5.2: a grant has what it needs, or is not looked at."""
    with pytest.raises(InvalidRequest) as refused:
        issue(grant_type=grant, **{field: None})
    assert [violation.field for violation in refused.value.violations] == [(field,)]


def test_the_endpoint_looks_at_the_client_first(issue):
    """RFC 6749 section 5.2: whoever is no client finds out nothing of grants and sessions."""
    for grant in (EXCHANGE, REFRESH, "password"):
        with pytest.raises(InvalidClient):
            issue(grant_type=grant, client_id="cli_000000000000", subject_token=None)
