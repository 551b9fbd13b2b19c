"""What has ended is deleted after a while, a part at a time, and nothing else is."""

from datetime import timedelta

import pytest

from accounts.errors import InvalidGrant, SecretInvalid, SecretUsed
from accounts.flows.oauth.refresh_tokens import begin_family, revoke_family, rotate_refresh_token
from accounts.flows.sign_in.sessions import log_out, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.jobs.retention import delete_expired_records
from accounts.services.credentials import API_KEY, PAT, revoke_all
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, redeem_secret
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
def env(open_house):
    return open_house(retention=KEPT, session_lifetime=timedelta(days=365))


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)


def _begin(env, session_id, client):
    with env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id)
        return begin_family(
            session, login, client, scopes=["me/profile:read"], audience="https://a.example"
        )


def _key(env, alice, **named):
    named = {"expires_at": None, "dataset_access_mode": "all_available", **named}
    return env.act(create_api_key, alice.principal, name="a", scopes=["me/profile:read"], **named)[
        1
    ]


def _pat(env, alice, client, **more):
    row, secret = client
    return env.act(
        create_pat,
        alice.principal,
        name="a",
        scopes=["me/profile:read"],
        client_id=row.id,
        client_secret=secret,
        expires_at=env.clock.now + timedelta(**more),
    )[1]


def _secret(env, alice, purpose=SecretPurpose.EMAIL_VERIFICATION):
    return env.act(issue_secret, purpose, alice.user_id, parse_address("alice@example.com"))


def _counts(env):
    return {table: env.count(table) for table in TABLES}


def test_what_lives_is_never_deleted(env, alice, client, clock):
    """DB-17: however old it is."""
    family = _begin(env, alice.principal.credential.id, client[0])
    _, used = env.act(rotate_refresh_token, client[0], family)
    _key(env, alice)
    _pat(env, alice, client, days=300)
    env.execute("UPDATE outbox_message SET delivered_at = NULL, gave_up_at = NULL")
    before = _counts(env)
    assert all(before[table] for table in TABLES if table != "one_time_secret")
    clock.move(days=299)
    assert env.act(delete_expired_records) == 0
    assert _counts(env) == before
    assert env.recognise(CredentialKind.SESSION, alice.token)
    env.act(rotate_refresh_token, client[0], used)
    # The second use of one that was used long ago still ends its family (RFC 9700 section 4.14.2).
    with pytest.raises(InvalidGrant):
        env.act(rotate_refresh_token, client[0], family)
    assert "authn_token_reuse" in {row["kind"] for row in env.rows("security_event")}


def _end_session(env, alice, client):
    _begin(env, alice.principal.credential.id, client[0])
    env.act(log_out, alice.principal)
    return {"login_session": 1, "refresh_token": 1}


def _let_a_session_expire(env, alice, client):
    opened = env.act(open_session, alice.user_id)
    _begin(env, opened.session_id, client[0])
    moment = env.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    for table, name in (("login_session", "id"), ("refresh_token", "session_id")):
        env.execute(
            f"UPDATE {table} SET expires_at = ? WHERE {name} = ?",  # noqa: S608 # names of this test
            moment,
            opened.session_id,
        )
    return {"login_session": 1, "refresh_token": 1}


def _end_a_family(env, alice, client):
    token = _begin(env, alice.principal.credential.id, client[0])
    env.act(rotate_refresh_token, client[0], token)
    [family] = {row["family_id"] for row in env.rows("refresh_token")}
    env.act(revoke_family, family)
    return {"refresh_token": 2}


def _revoke_keys(env, alice, client):
    _key(env, alice)
    _pat(env, alice, client, days=300)
    env.act(revoke_all, alice.view, [API_KEY, PAT])
    return {"api_key": 1, "personal_access_token": 1}


def _use_a_secret(env, alice, _client):
    env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, _secret(env, alice))
    return {"one_time_secret": 1}


def _deliver(env, alice, _client):
    for _ in range(2):
        env.act(post_message, MessageKind.PASSWORD_CHANGED, alice.view)
    delivered, dead = env.messages()
    moment = env.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    env.execute("UPDATE outbox_message SET delivered_at = ? WHERE id = ?", moment, delivered.id)
    env.execute("UPDATE outbox_message SET gave_up_at = ? WHERE id = ?", moment, dead.id)
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
def test_what_ended_is_deleted_when_its_time_is_over(env, alice, client, clock, end):
    """DB-17: not a moment before, and with all that belongs to it."""
    if end is not _deliver:
        env.execute("DELETE FROM outbox_message")
    gone = end(env, alice, client)
    if end is not _deliver:
        env.execute("DELETE FROM outbox_message")
    before = _counts(env)
    clock.now += KEPT
    assert env.act(delete_expired_records) == 0
    assert _counts(env) == before
    clock.now += MOMENT
    assert env.act(delete_expired_records) == sum(gone.values())
    assert _counts(env) == {table: before[table] - gone.get(table, 0) for table in TABLES}


def test_what_a_holder_of_a_secret_is_told_changes_once_it_is_forgotten(env, alice, clock):
    """DB-17, EM-05: until then that it was used, and then no more than of any other text."""
    secret = _secret(env, alice)
    env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
    for refusal in (SecretUsed, SecretInvalid):
        with pytest.raises(refusal):
            env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
        clock.move(days=41)
        env.act(delete_expired_records)


def test_a_part_is_bounded(env, alice, client, clock):
    """DB-17: whoever writes meanwhile waits for one part, and not for all of it."""
    session_id = alice.principal.credential.id
    tokens = [_begin(env, session_id, client[0]) for _ in range(7)]
    env.act(log_out, alice.principal)
    clock.move(days=41)
    parts = []
    while done := env.act(delete_expired_records, at_most=3):
        parts.append(done)
    # The session goes last, since its tokens refer to it.
    assert parts == [3, 3, 1 + 1]
    assert len(tokens) == 7
    assert (env.count("refresh_token"), env.count("login_session")) == (0, 0)


def test_events_stay(env, alice, clock):
    """LO-04, DB-17: of what was deleted too."""
    env.act(log_out, alice.principal)
    events = env.rows("security_event")
    clock.move(days=4000)
    assert env.act(delete_expired_records) > 0
    assert env.rows("security_event") == events
