"""What has ended is deleted after a while, a part at a time, and nothing else is."""

from datetime import timedelta

import pytest

from accounts.errors import InvalidGrant, SecretInvalid, SecretUsed
from accounts.flows.api_keys import create_api_key, revoke_all_api_keys
from accounts.flows.personal_access_tokens import create_pat, revoke_all_pats
from accounts.flows.refresh_tokens import begin_family, revoke_family, rotate_refresh_token
from accounts.flows.sessions import log_out, open_session
from accounts.jobs.retention import forget_what_ended
from accounts.services.one_time_secrets import SecretPurpose, burn_secret, issue_secret
from accounts.services.outbox import MessageKind, post_message
from accounts.services.principal import CredentialKind
from accounts.values.email_address import parse_address
from models import LoginSession

#: Longer than a session lasts, so that one that lives is never as old as one that is deleted.
KEPT = timedelta(days=40)
MOMENT = timedelta(microseconds=1)
TABLES = (
    "login_session",
    "refresh_token",
    "api_key",
    "personal_access_token",
    "one_time_secret",
    "outbox_message",
)


@pytest.fixture
def house(open_house):
    return open_house(retention=KEPT, session_lifetime=timedelta(days=365))


@pytest.fixture
def client(house, alice):
    return house.client(alice.person.tenant_id)


def _begin(house, session_id, client):
    with house.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id)
        return begin_family(
            session, login, client, scopes=["me/profile:read"], audience="https://a.example"
        )


def _key(house, alice, **named):
    named = {"expires_at": None, "dataset_access_mode": "all_available", **named}
    return house.act(
        create_api_key, alice.principal, name="a", scopes=["me/profile:read"], **named
    )[1]


def _pat(house, alice, client, **more):
    row, secret = client
    return house.act(
        create_pat,
        alice.principal,
        name="a",
        scopes=["me/profile:read"],
        client_id=row.id,
        client_secret=secret,
        expires_at=house.clock.now + timedelta(**more),
    )[1]


def _secret(house, alice, purpose=SecretPurpose.EMAIL_VERIFICATION):
    return house.act(issue_secret, purpose, alice.user_id, parse_address("alice@example.com"))


def _counts(house):
    return {table: house.count(table) for table in TABLES}


def test_what_lives_is_never_deleted(house, alice, client, clock):
    """DB-17: however old it is."""
    family = _begin(house, alice.principal.credential.id, client[0])
    _, used = house.act(rotate_refresh_token, client[0], family)
    _key(house, alice)
    _pat(house, alice, client, days=300)
    house.execute("UPDATE outbox_message SET delivered_at = NULL, gave_up_at = NULL")
    before = _counts(house)
    assert all(before[table] for table in TABLES if table != "one_time_secret")
    clock.move(days=299)
    assert house.act(forget_what_ended) == 0
    assert _counts(house) == before
    assert house.recognise(CredentialKind.SESSION, alice.token)
    house.act(rotate_refresh_token, client[0], used)
    # The second use of one that was used long ago still ends its family (RFC 9700 section 4.14.2).
    with pytest.raises(InvalidGrant):
        house.act(rotate_refresh_token, client[0], family)
    assert "authn_token_reuse" in {row["kind"] for row in house.rows("security_event")}


def _end_session(house, alice, client):
    _begin(house, alice.principal.credential.id, client[0])
    house.act(log_out, alice.principal)
    return {"login_session": 1, "refresh_token": 1}


def _let_a_session_expire(house, alice, client):
    opened = house.act(open_session, alice.user_id)
    _begin(house, opened.session_id, client[0])
    moment = house.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    for table, name in (("login_session", "id"), ("refresh_token", "session_id")):
        house.execute(
            f"UPDATE {table} SET expires_at = ? WHERE {name} = ?",  # noqa: S608 # names of this test
            moment,
            opened.session_id,
        )
    return {"login_session": 1, "refresh_token": 1}


def _end_a_family(house, alice, client):
    token = _begin(house, alice.principal.credential.id, client[0])
    house.act(rotate_refresh_token, client[0], token)
    [family] = {row["family_id"] for row in house.rows("refresh_token")}
    house.act(revoke_family, family)
    return {"refresh_token": 2}


def _revoke_keys(house, alice, client):
    _key(house, alice)
    _pat(house, alice, client, days=300)
    house.act(revoke_all_api_keys, alice.person)
    house.act(revoke_all_pats, alice.person)
    return {"api_key": 1, "personal_access_token": 1}


def _use_a_secret(house, alice, _client):
    house.act(burn_secret, SecretPurpose.EMAIL_VERIFICATION, _secret(house, alice))
    return {"one_time_secret": 1}


def _deliver(house, alice, _client):
    for _ in range(2):
        house.act(post_message, MessageKind.PASSWORD_CHANGED, alice.person)
    delivered, dead = house.messages()
    moment = house.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    house.execute("UPDATE outbox_message SET delivered_at = ? WHERE id = ?", moment, delivered.id)
    house.execute("UPDATE outbox_message SET gave_up_at = ? WHERE id = ?", moment, dead.id)
    return {"outbox_message": 2}


@pytest.mark.parametrize(
    "end",
    [
        _end_session,
        _let_a_session_expire,
        _end_a_family,
        _revoke_keys,
        _use_a_secret,
        _deliver,
    ],
)
def test_what_ended_is_deleted_when_its_time_is_over(house, alice, client, clock, end):
    """DB-17: not a moment before, and with all that belongs to it."""
    if end is not _deliver:
        house.execute("DELETE FROM outbox_message")
    gone = end(house, alice, client)
    if end is not _deliver:
        house.execute("DELETE FROM outbox_message")
    before = _counts(house)
    clock.now += KEPT
    assert house.act(forget_what_ended) == 0
    assert _counts(house) == before
    clock.now += MOMENT
    assert house.act(forget_what_ended) == sum(gone.values())
    assert _counts(house) == {table: before[table] - gone.get(table, 0) for table in TABLES}


def test_what_a_holder_of_a_secret_is_told_changes_once_it_is_forgotten(house, alice, clock):
    """DB-17, EM-05: until then that it was used, and then no more than of any other text."""
    secret = _secret(house, alice)
    house.act(burn_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
    for refusal in (SecretUsed, SecretInvalid):
        with pytest.raises(refusal):
            house.act(burn_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
        clock.move(days=41)
        house.act(forget_what_ended)


def test_a_part_is_bounded(house, alice, client, clock):
    """DB-17: whoever writes meanwhile waits for one part, and not for all of it."""
    session_id = alice.principal.credential.id
    tokens = [_begin(house, session_id, client[0]) for _ in range(7)]
    house.act(log_out, alice.principal)
    clock.move(days=41)
    parts = []
    while done := house.act(forget_what_ended, at_most=3):
        parts.append(done)
    # The session goes last, since its tokens refer to it.
    assert parts == [3, 3, 1 + 1]
    assert len(tokens) == 7
    assert (house.count("refresh_token"), house.count("login_session")) == (0, 0)


def test_events_stay(house, alice, clock):
    """LO-04, DB-17: of what was deleted too."""
    house.act(log_out, alice.principal)
    events = house.rows("security_event")
    clock.move(days=4000)
    assert house.act(forget_what_ended) > 0
    assert house.rows("security_event") == events
