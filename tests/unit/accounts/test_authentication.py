"""From a credential to its person, and from anything else to the same refusal."""

import base64
from datetime import timedelta

import pytest

from accounts import tokens
from accounts.access_tokens import regenerate_access_token, reveal_access_token
from accounts.api_keys import create_api_key, revoke_api_key
from accounts.clients import authenticate_client
from accounts.email_change import request_email_change
from accounts.email_verification import request_email_verification
from accounts.errors import InvalidClient, InvalidCredentials, InvalidToken, SecretInvalid
from accounts.keyring import Purpose
from accounts.login_sessions import log_in, log_out
from accounts.one_time_secrets import SecretPurpose, burn_secret
from accounts.personal_access_tokens import create_pat, revoke_pat
from accounts.principal import CredentialKind
from accounts.rights import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS
from accounts.tenants import disable_tenant

KINDS = sorted(CredentialKind)
WITH_AN_END = [kind for kind in KINDS if kind is not CredentialKind.ACCESS_TOKEN]


@pytest.fixture
def client(house, alice):
    return house.client(alice.person.tenant_id)


@pytest.fixture
def credentials(house, alice, client):
    """A credential of each kind, all of them Alice's and all good for a day."""
    tomorrow = house.clock.now + timedelta(days=1)
    _, key = house.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=["keys:read"],
        dataset_access_mode="all_available",
        expires_at=tomorrow,
    )
    _, pat = house.act(
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
        CredentialKind.ACCESS_TOKEN: house.act(reveal_access_token, alice.user_id),
        CredentialKind.API_KEY: key,
        CredentialKind.PAT: pat,
    }


def _end(house, principal):
    """Log out of the session, or revoke the token, that the principal was recognised by."""
    user_id, credential = principal.person.user_id, principal.credential
    match credential.kind:
        case CredentialKind.SESSION:
            house.act(log_out, principal)
        case CredentialKind.ACCESS_TOKEN:
            house.act(regenerate_access_token, user_id)
        case CredentialKind.API_KEY:
            house.act(revoke_api_key, user_id, credential.id)
        case CredentialKind.PAT:
            house.act(revoke_pat, user_id, credential.id)


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (CredentialKind.SESSION, SESSION_RIGHTS),
        (CredentialKind.ACCESS_TOKEN, ACCESS_TOKEN_RIGHTS),
        (CredentialKind.API_KEY, {"keys:read"}),
        (CredentialKind.PAT, {"me/pat:read"}),
    ],
)
def test_each_kind_is_recognised_with_its_rights(house, alice, credentials, kind, held):
    """Every kind of credential leads to the same person (TK-12)."""
    principal = house.recognise(kind, credentials[kind])
    assert principal.person == alice.person
    assert (principal.credential.kind, principal.credential.rights) == (kind, held)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", KINDS)
def test_no_kind_opens_the_door_of_another(house, credentials, kind, door):
    """Each kind has a key of its own, so a digest is found among its own only (TK-02)."""
    if kind is door:
        house.recognise(door, credentials[kind])
        return
    with pytest.raises(InvalidToken):
        house.recognise(door, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_ended_is_refused_at_the_next_request(house, credentials, kind):
    """Nothing remembers that a credential was good (SE-03, TK-15)."""
    _end(house, house.recognise(kind, credentials[kind]))
    with pytest.raises(InvalidToken):
        house.recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_ending_one_kind_leaves_the_others(house, credentials, kind):
    """A credential is ended alone (SE-07)."""
    _end(house, house.recognise(kind, credentials[kind]))
    for other in set(KINDS) - {kind}:
        house.recognise(other, credentials[other])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disabled_user_is_refused_at_the_next_request(house, alice, credentials, kind):
    """Whatever the credential, its user has to be enabled (SE-06)."""
    house.recognise(kind, credentials[kind])
    house.execute('UPDATE "user" SET disabled_at = created_at WHERE id = ?', alice.user_id)
    with pytest.raises(InvalidToken):
        house.recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_disabled_tenant_is_refused_at_the_next_request(house, alice, credentials, kind):
    """Whatever the credential, its user's tenant has to be enabled (SE-06, AZ-15)."""
    house.recognise(kind, credentials[kind])
    house.act(disable_tenant, alice.person.tenant_id)
    with pytest.raises(InvalidToken):
        house.recognise(kind, credentials[kind])


@pytest.mark.parametrize("kind", WITH_AN_END)
def test_a_credential_is_good_until_its_last_second(house, clock, credentials, kind):
    """The end itself is past the end, and no clean-up is needed for it (SE-04, TK-13)."""
    lasts = timedelta(days=30 if kind is CredentialKind.SESSION else 1)
    clock.now += lasts - timedelta(seconds=1)
    house.recognise(kind, credentials[kind])
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        house.recognise(kind, credentials[kind])


def test_an_access_token_has_no_end(house, clock, credentials):
    """It lives until it is regenerated."""
    clock.move(days=10_000)
    house.recognise(CredentialKind.ACCESS_TOKEN, credentials[CredentialKind.ACCESS_TOKEN])


@pytest.mark.parametrize("kind", KINDS)
def test_a_well_formed_token_that_nobody_has_is_refused(house, credentials, kind):
    """A checksum is no credential (TK-01, TK-02)."""
    prefixes = {"session": "sess_", "accessToken": "tok_", "personalAccessToken": "pat_"}
    made = tokens.mint(prefixes[kind]) if kind in prefixes else tokens.mint_api_key("ipto").key
    assert house.recognise(kind, credentials[kind])
    with pytest.raises(InvalidToken):
        house.recognise(kind, made)


def test_of_two_keys_with_one_prefix_each_is_its_own(house, alice, bob):
    """The prefix narrows the search, and the whole digest decides (TK-09)."""
    made = {}
    for resident in (alice, bob):
        key, token = house.act(
            create_api_key,
            resident.principal,
            name="Key",
            scopes=["keys:read"],
            dataset_access_mode="all_available",
            expires_at=None,
        )
        made[token] = (key.id, resident.user_id)
    shared = tokens.api_key_prefix(next(iter(made)), "ipto")
    house.execute("UPDATE api_key SET prefix = ?", shared)
    first, second = made
    assert house.recognise(CredentialKind.API_KEY, first).person.user_id == made[first][1]
    # The second is found by its own prefix no more, so a key of that secret with the shared one is
    # made by hand: what it would be found by is the first's, what it is told by its own.
    twin = tokens.mint(f"ipto_{shared}_")
    house.execute(
        "UPDATE api_key SET key_digest = ? WHERE id = ?",
        house.keys.digest(Purpose.API_KEY, twin),
        made[second][0],
    )
    assert house.recognise(CredentialKind.API_KEY, twin).person.user_id == made[second][1]
    assert house.recognise(CredentialKind.API_KEY, first).person.user_id == made[first][1]
    with pytest.raises(InvalidToken):
        house.recognise(CredentialKind.API_KEY, tokens.mint(f"ipto_{shared}_"))


TABLES = (
    "access_token",
    "api_key",
    "client",
    "login_session",
    "one_time_secret",
    "outbox_message",
    "password_record",
    "personal_access_token",
    "tenant",
    "user",
)


def _dumped(house):
    """Every value in every table, as it is and in the forms that bytes are pasted in."""
    for table in TABLES:
        rows = house.rows(table)
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
def test_a_dump_of_the_database_opens_nothing(house, alice, client):
    """No value of any column is a credential of any kind (TK-08)."""
    house.act(request_email_change, alice.person, "new@example.com")
    house.act(request_email_verification, alice.person)
    tried = set(_dumped(house))
    assert len(tried) > 50
    with house.database.transaction(writing=True) as session:
        for value in tried:
            for purpose in SecretPurpose:
                with pytest.raises(SecretInvalid):
                    burn_secret(session, purpose, value)
            with pytest.raises(InvalidClient):
                authenticate_client(
                    session, alice.person.tenant_id, client_id=client[0].id, secret=value
                )
    for value in tried:
        for kind in KINDS:
            with pytest.raises(InvalidToken):
                house.recognise(kind, value)
        with pytest.raises(InvalidCredentials):
            house.act(log_in, email=alice.person.email, password=value, user_agent=None)


def test_no_secret_is_in_the_files_of_the_database(house, alice, client, credentials):
    """What is shown once can be read nowhere afterwards, nor in the write-ahead log (SE-01)."""
    _, secret = house.act(request_email_change, alice.person, "new@example.com")
    files = [house.path, house.path.with_name(f"{house.path.name}-wal")]
    stored = b"".join(file.read_bytes() for file in files)
    assert alice.person.email.encode() in stored
    for shown in (*credentials.values(), client[1], secret, alice.password):
        assert shown.encode() not in stored
