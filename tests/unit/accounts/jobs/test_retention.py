"""Deletion of expired records after their retention, in batches."""

from datetime import timedelta

import pytest

from accounts.errors import InvalidGrant, SecretInvalid, SecretUsed
from accounts.flows.administration.clients import disable_client, remove_client
from accounts.flows.oauth.refresh_tokens import begin_family, revoke_family, rotate_refresh_token
from accounts.flows.sign_in.sessions import log_out, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.jobs.retention import find_expired_records
from accounts.services.credentials import API_KEY, PAT, revoke_all
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, redeem_secret
from accounts.services.principal import Authentication, CredentialKind
from accounts.values.email_address import parse_address
from models import LoginSession
from oneself.database import open_engine
from tests.support.statements import costly_steps, record_statements

#: Shorter than a session here, so that an active session is older than deleted ones.
RETENTION = timedelta(days=40)
MICROSECOND = timedelta(microseconds=1)
TABLES = (
    "login_session",
    "refresh_token",
    "api_key",
    "personal_access_token",
    "one_time_secret",
    "outbox_message",
)


@pytest.fixture
def env(make_env):
    return make_env(retention=RETENTION, session_lifetime=timedelta(days=365))


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)


def _begin_family(env, session_id, client):
    with env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id)
        authentication = Authentication(login.created_at, ("pwd",))
        return begin_family(
            session,
            login,
            client,
            authentication,
            scopes=["me/profile:read"],
            audience="https://a.example",
        )


def _key(env, alice, **options):
    options = {"expires_at": None, "dataset_access_mode": "all_available", **options}
    return env.act(
        create_api_key, alice.principal, name="a", scopes=["me/profile:read"], **options
    )[1]


def _pat(env, alice, client, **lifetime):
    row, secret = client
    return env.act(
        create_pat,
        alice.principal,
        name="a",
        scopes=["me/profile:read"],
        client_id=row.id,
        client_secret=secret,
        expires_at=env.clock.now + timedelta(**lifetime),
    )[1]


def _secret(env, alice, purpose=SecretPurpose.EMAIL_VERIFICATION):
    return env.act(issue_secret, purpose, alice.user_id, parse_address("alice@example.com"))


def _delete_expired(env, **limits):
    """Run the parts that are found once; return how many rows each has deleted."""
    return [env.act(part) for part in env.act(find_expired_records, **limits)]


def _counts(env):
    return {table: env.count(table) for table in TABLES}


def test_active_records_are_never_deleted(env, alice, client, clock):
    """DB-17: of any age."""
    family = _begin_family(env, alice.principal.credential.id, client[0])
    _, next_token = env.act(rotate_refresh_token, client[0], family)
    _key(env, alice)
    _pat(env, alice, client, days=300)
    env.execute("UPDATE outbox_message SET delivered_at = NULL, gave_up_at = NULL")
    counts_before = _counts(env)
    assert all(counts_before[table] for table in TABLES if table != "one_time_secret")
    clock.move(days=299)
    assert _delete_expired(env) == []
    assert _counts(env) == counts_before
    assert env.authenticate(CredentialKind.SESSION, alice.token)
    env.act(rotate_refresh_token, client[0], next_token)
    # Reuse of a token used long ago still revokes its family (RFC 9700 section 4.14.2).
    with pytest.raises(InvalidGrant):
        env.act(rotate_refresh_token, client[0], family)
    assert "authn_token_reuse" in {row["kind"] for row in env.rows("security_event")}


def _end_session(env, alice, client):
    _begin_family(env, alice.principal.credential.id, client[0])
    env.act(log_out, alice.principal)
    return {"login_session": 1, "refresh_token": 1}


def _expire_session(env, alice, client):
    new_session = env.act(open_session, alice.user_id)
    _begin_family(env, new_session.session_id, client[0])
    now = env.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    for table, name in (("login_session", "id"), ("refresh_token", "session_id")):
        env.execute(
            f"UPDATE {table} SET expires_at = ? WHERE {name} = ?",  # noqa: S608 # names of this test
            now,
            new_session.session_id,
        )
    return {"login_session": 1, "refresh_token": 1}


def _end_family(env, alice, client):
    token = _begin_family(env, alice.principal.credential.id, client[0])
    env.act(rotate_refresh_token, client[0], token)
    [family] = {row["family_id"] for row in env.rows("refresh_token")}
    env.act(revoke_family, family)
    return {"refresh_token": 2}


def _revoke_keys(env, alice, client):
    _key(env, alice)
    _pat(env, alice, client, days=300)
    env.act(revoke_all, alice.view, [API_KEY, PAT])
    return {"api_key": 1, "personal_access_token": 1}


def _use_secret(env, alice, _client):
    env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, _secret(env, alice))
    return {"one_time_secret": 1}


def _deliver(env, alice, _client):
    for _ in range(2):
        env.act(post_message, MessageKind.PASSWORD_CHANGED, alice.view)
    delivered, dead = env.messages()
    now = env.clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    env.execute("UPDATE outbox_message SET delivered_at = ? WHERE id = ?", now, delivered.id)
    env.execute("UPDATE outbox_message SET gave_up_at = ? WHERE id = ?", now, dead.id)
    return {"outbox_message": 2}


@pytest.mark.parametrize(
    "end", [_end_session, _expire_session, _end_family, _revoke_keys, _use_secret, _deliver]
)
def test_ended_records_are_deleted_after_their_retention(env, alice, client, clock, end):
    """DB-17: not earlier, and with all dependent rows."""
    if end is not _deliver:
        env.execute("DELETE FROM outbox_message")
    deleted = end(env, alice, client)
    if end is not _deliver:
        env.execute("DELETE FROM outbox_message")
    counts_before = _counts(env)
    clock.now += RETENTION
    assert _delete_expired(env) == []
    assert _counts(env) == counts_before
    clock.now += MICROSECOND
    assert sum(_delete_expired(env)) == sum(deleted.values())
    assert _counts(env) == {table: counts_before[table] - deleted.get(table, 0) for table in TABLES}


def test_used_secret_is_unknown_after_its_deletion(env, alice, clock):
    """DB-17, EM-05: it is reported as used until then, and as unknown afterwards."""
    secret = _secret(env, alice)
    env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
    for refusal in (SecretUsed, SecretInvalid):
        with pytest.raises(refusal):
            env.act(redeem_secret, SecretPurpose.EMAIL_VERIFICATION, secret)
        clock.move(days=41)
        _delete_expired(env)


def test_batch_is_bounded(env, alice, client, clock):
    """DB-17: other writers wait for one batch only."""
    session_id = alice.principal.credential.id
    tokens = [_begin_family(env, session_id, client[0]) for _ in range(7)]
    env.act(log_out, alice.principal)
    clock.move(days=41)
    parts = []
    while deleted := _delete_expired(env, at_most=3, batch=3):
        parts += deleted
    # The session is deleted last, since its tokens refer to it.
    assert parts == [3, 3, 1 + 1]
    assert len(tokens) == 7
    assert (env.count("refresh_token"), env.count("login_session")) == (0, 0)


def test_events_are_kept(env, alice, clock):
    """LO-04, DB-17: including those of deleted records."""
    env.act(log_out, alice.principal)
    events = env.rows("security_event")
    clock.move(days=4000)
    assert sum(_delete_expired(env)) > 0
    assert env.rows("security_event") == events


def test_removed_client_is_deleted_after_its_tokens(env, alice, client, clock):
    """DB-17: the rows of its tokens refer to it, and a client that is only disabled stays."""
    other, _ = env.client(alice.view.tenant_id)
    env.act(disable_client, other.id)
    clock.move(days=10)
    _pat(env, alice, client, days=100)
    env.act(remove_client, client[0].id)
    clock.now += RETENTION
    assert _delete_expired(env) == []
    clock.now += MICROSECOND
    while _delete_expired(env):
        pass
    assert env.count("personal_access_token") == 0
    assert [row["id"] for row in env.rows("client")] == [other.id]


def test_record_that_has_not_ended_for_long_enough_any_more_is_kept(env, alice, clock):
    """DB-17: parts are found before the write lock is taken, and check their rows again."""
    env.act(log_out, alice.principal)
    clock.move(days=41)
    parts = env.act(find_expired_records)
    env.execute("UPDATE login_session SET revoked_at = NULL")
    env.execute("UPDATE outbox_message SET delivered_at = NULL")
    assert sum(env.act(part) for part in parts) == 0
    assert env.count("login_session") == 1


@pytest.fixture
def dialect(env):
    with env.database.transaction(writing=False) as session:
        return session.core.dialect.name


def test_search_reads_indexes_only(env, dialect, clock):
    """DB-17, reliability finding 6: no table is read whole, and nothing is sorted."""
    clock.move(days=41)
    with record_statements(dialect) as statements:
        assert env.act(find_expired_records) == []
    searches = [statement for statement in statements if "LIMIT" in statement.statement]
    assert len(searches) == 16  # the times that end rows of eight tables
    engine = open_engine(env.location)
    with engine.connect() as connection:
        for statement in searches:
            steps = {step.how for step in costly_steps(connection, statement)}
            # PostgreSQL sorts the rows that it finds in the index of an empty table.
            assert steps - {"sort"} == {"range"}, statement.form
            assert dialect == "postgresql" or "sort" not in steps
    engine.dispose()


def test_parts_only_delete_rows_by_their_ids(env, alice, client, dialect, clock):
    """DB-17, reliability finding 6: nothing is searched while other writers wait."""
    _begin_family(env, alice.principal.credential.id, client[0])
    env.act(lambda session: [open_session(session, alice.user_id) for _ in range(24)])
    env.execute("DELETE FROM outbox_message")
    clock.move(days=3650)
    parts = env.act(find_expired_records, batch=10)
    for part in parts:
        with record_statements(dialect) as statements:
            assert env.act(part) <= 11  # a part may also delete a token
        written = [statement.form for statement in statements if statement.reads_or_writes]
        assert len(written) <= 2
        assert all(form.startswith("DELETE FROM") and " IN (" in form for form in written)
    assert (env.count("login_session"), env.count("refresh_token")) == (0, 0)
