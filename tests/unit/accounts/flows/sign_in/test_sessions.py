"""Login, logout and sessions."""

import json
from datetime import timedelta

import argon2
import bcrypt
import pytest

from accounts.crypto import password_hashing
from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    NotFound,
    PolicyDenied,
    TooManyAttempts,
    WrongPassword,
)
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.password.password_change import change_password
from accounts.flows.sign_in.sessions import (
    list_sessions,
    log_in,
    log_out,
    open_session,
    revoke_other_sessions,
    revoke_session,
)
from accounts.origin import NO_ORIGIN, Origin
from accounts.services.credentials import SESSION, revoke_all
from accounts.services.principal import CredentialKind

NEW_PASSWORD = "Silent meadow 83 lantern"


def _log_in(env, email="alice@example.com", password=None, user_agent=None, origin=NO_ORIGIN):
    """Log in as the service does: in a writing transaction, released for the hash."""
    with env.database.transaction(writing=True, origin=origin) as session:
        return log_in(session, email=email, password=password, user_agent=user_agent)


def _fail(env, **overrides):
    with pytest.raises(InvalidCredentials):
        _log_in(env, **{"password": "Wrong", **overrides})


def test_login_that_a_policy_forbids_opens_no_session(env, alice):
    """LG-01, AZ-07, attack finding 9: only the right password asks the policies."""
    questions, sessions = [], env.count("login_session")

    def authorise_public(user, credential, _authentication=None):
        questions.append((user, credential))
        raise PolicyDenied

    def log_in_with(email, password):
        with env.database.transaction(writing=True) as session:
            session.authorise_public = authorise_public
            log_in(session, email=email, password=password, user_agent=None)

    for email, password in (("alice@example.com", "Wrong"), ("no@example.com", alice.password)):
        with pytest.raises(InvalidCredentials):
            log_in_with(email, password)
    assert questions == []
    with pytest.raises(PolicyDenied):
        log_in_with("alice@example.com", alice.password)
    assert questions == [(alice.view, "password")]
    assert env.count("login_session") == sessions
    assert not _events(env, "authn_login_success", "authn_login_successafterfail")


def _events(env, *kinds):
    """Return the events of these kinds, oldest first."""
    rows = sorted(env.rows("security_event"), key=lambda row: row["occurred_at"])
    return [row for row in rows if row["kind"] in kinds]


def _scheme(env):
    [row] = env.rows("password_record")
    return row["record"].split("$")[0]


def _cost(env):
    return [row["record"].split("$")[4] for row in env.rows("password_record")]


def test_right_password_opens_a_session(env, alice):
    """It belongs to the user, has the configured lifetime, and records the user agent."""
    new_session = _log_in(env, password=alice.password, user_agent="A browser")
    assert new_session.user == alice.view
    assert new_session.expires_at == env.clock.now + timedelta(days=30)
    assert env.authenticate(CredentialKind.SESSION, new_session.token).user == alice.view
    assert "A browser" in [row["user_agent"] for row in env.rows("login_session")]


def test_each_login_opens_a_new_session(env, alice):
    """SE-02: a token is never issued twice."""
    tokens = {_log_in(env, password=alice.password).token for _ in range(3)}
    assert len(tokens | {alice.token}) == 4


def test_login_address_is_compared_in_canonical_form(env, alice):
    """LG-07, UN-01: letter case does not make another account."""
    new_session = _log_in(env, email="ALICE@Example.COM", password=alice.password)
    assert new_session.user.user_id == alice.user_id


@pytest.mark.parametrize(
    "email", ["nobody@example.com", "not an address", "alice", "", "\ud800@example.com"]
)
def test_unknown_address_is_rejected_like_a_wrong_password(env, alice, email):
    """LG-01: all failures look the same."""
    with pytest.raises(InvalidCredentials):
        _log_in(env, email=email, password=alice.password)


@pytest.mark.parametrize(
    "password",
    [
        "Wrong",
        "",
        "Violet tangent 47 harbour ",
        "Violet tangent 47 harbour\0",
        "\ud800",
        "x" * 5000,
    ],
)
@pytest.mark.usefixtures("alice")
def test_wrong_password_opens_no_session(env, password):
    """PW-04, PW-05: neither a similar one, nor one that no account could have."""
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=password)
    assert env.count("login_session") == 1


def test_disabled_user_cannot_log_in(env, alice):
    """LG-01, SE-06: the refusal is that of a wrong password."""
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_user_of_disabled_tenant_cannot_log_in(env, alice):
    """AZ-15: the tenant is checked, not only the user."""
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_user_of_another_provider_cannot_log_in(env, alice):
    """LG-01: not even with a leftover record."""
    env.execute("UPDATE \"user\" SET provider = 'oidc'")
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_user_without_a_record_cannot_log_in(env):
    """An account without a password does not have an empty one."""
    env.user("sso@example.com", provider="saml")
    with pytest.raises(InvalidCredentials):
        _log_in(env, email="sso@example.com", password="")


@pytest.mark.parametrize("record", ["", "x", "1$00000000$$2b$04$", "$2b$04$" + "a" * 53])
def test_unreadable_record_is_treated_as_a_wrong_password(env, alice, record):
    """PW-16: it causes no 500, never matches, and counts as a failure."""
    env.execute("UPDATE password_record SET record = ?", record)
    for _ in range(5):
        _fail(env, password=alice.password)
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)


def test_login_rehashes_an_old_record(env, make_env, alice):
    """PW-15: the cost is raised at the next login, for the same password."""
    stricter = make_env(password_cost=5)
    assert _cost(env) == ["04"]
    _log_in(stricter, password=alice.password)
    assert _cost(env) == ["05"]
    _log_in(env, password=alice.password)
    assert _cost(env) == ["05"]


@pytest.mark.usefixtures("alice")
def test_failed_login_does_not_rehash(env, make_env):
    """PW-15: only the right password is hashed again."""
    with pytest.raises(InvalidCredentials):
        _log_in(make_env(password_cost=5), password="Wrong")
    assert _cost(env) == ["04"]


def test_password_change_during_login_wins_over_rehashing(env, make_env, alice, during_hashing):
    """PW-15: the old password is not written back, and does not log in any more."""
    stricter = make_env(password_cost=5)
    during_hashing(
        lambda: env.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
    )
    with pytest.raises(InvalidCredentials):
        _log_in(stricter, password=alice.password)
    assert _log_in(env, password=NEW_PASSWORD).user.user_id == alice.user_id


def test_user_disabled_during_hashing_cannot_log_in(env, alice, during_hashing):
    """SE-06: the state is read again after the hash."""
    during_hashing(lambda: env.execute('UPDATE "user" SET disabled_at = created_at'))
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)
    assert env.count("login_session") == 1


def test_concurrent_logins_open_two_sessions(env, alice, during_hashing):
    """Two concurrent logins are two sessions."""
    other_sessions = during_hashing(lambda: _log_in(env, password=alice.password))
    new_session = _log_in(env, password=alice.password)
    for login in (*other_sessions, new_session):
        env.authenticate(CredentialKind.SESSION, login.token)


def test_concurrent_rehashing_leaves_a_valid_record(env, make_env, alice, during_hashing):
    """PW-15: the later of the two finds a changed record and is rejected."""
    stricter = make_env(password_cost=5)
    during_hashing(lambda: _log_in(stricter, password=alice.password))
    with pytest.raises(InvalidCredentials):
        _log_in(stricter, password=alice.password)
    assert _cost(env) == ["05"]
    _log_in(stricter, password=alice.password)


def test_login_replaces_the_record_of_another_scheme(env, make_env, alice):
    """PW-15: in both directions, for the same password, and a failed login replaces none."""
    with_argon2id = make_env(password_scheme="argon2id")
    _fail(with_argon2id)
    assert _scheme(env) == "1"
    _log_in(with_argon2id, password=alice.password)
    assert _scheme(env) == "3"
    _log_in(with_argon2id, password=alice.password)
    _fail(env)
    assert _scheme(env) == "3"
    _log_in(env, password=alice.password)
    assert _scheme(env) == "1"


def test_password_change_uses_the_chosen_scheme(env, make_env, alice):
    """PW-14."""
    with_argon2id = make_env(password_scheme="argon2id")
    with_argon2id.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
    assert _scheme(env) == "3"
    _log_in(with_argon2id, password=NEW_PASSWORD)


@pytest.fixture
def bcrypt_calls(monkeypatch):
    """The calls of bcrypt from now on: password, and salt or record, which begins with the cost."""
    calls = []
    for name in ("checkpw", "hashpw"):
        original = getattr(bcrypt, name)
        monkeypatch.setattr(
            bcrypt,
            name,
            lambda *arguments, original=original: calls.append(arguments) or original(*arguments),
        )
    return calls


def _work(bcrypt_calls):
    """Return the number of rounds of these hashes; each step of the cost doubles it."""
    return sum(2 ** int(salt.split(b"$")[2]) for _, salt in bcrypt_calls)


def test_every_failed_login_costs_one_hash(env, alice, bcrypt_calls):
    """LG-02: timing does not reveal if an address exists."""
    env.user("sso@example.com", provider="oidc")
    for email in (alice.view.email, "nobody@example.com", "sso@example.com", "no address"):
        bcrypt_calls.clear()
        _fail(env, email=email)
        assert len(bcrypt_calls) == 1
        assert _work(bcrypt_calls) == 2**4


def test_unknown_users_cost_one_hash_of_the_chosen_scheme(make_env, bcrypt_calls, monkeypatch):
    """LG-02, LG-03: with argon2id no bcrypt, as for known users with such a record."""
    env = make_env(password_scheme="argon2id")
    known = env.user("alice@example.org")
    env.user("sso@example.com", provider="oidc")
    calls = []
    original = argon2.low_level.hash_secret
    monkeypatch.setattr(
        argon2.low_level,
        "hash_secret",
        lambda *arguments, **named: calls.append(named) or original(*arguments, **named),
    )
    for email in (known.view.email, "nobody@example.com", "sso@example.com", "no address"):
        calls.clear()
        _fail(env, email=email)
        assert len(calls) == 1
    assert bcrypt_calls == []


@pytest.mark.parametrize("cost", [5, 6])
def test_failed_logins_cost_the_same_after_the_cost_was_raised(make_env, alice, bcrypt_calls, cost):
    """LG-03: also for users whose record still has the old cost."""
    stricter = make_env(password_cost=cost)
    work = {}
    for email in (alice.view.email, "nobody@example.com"):
        bcrypt_calls.clear()
        _fail(stricter, email=email)
        work[email] = _work(bcrypt_calls)
    assert set(work.values()) == {2**cost}


@pytest.mark.usefixtures("alice")
def test_bcrypt_gets_the_same_length_for_any_password(env, bcrypt_calls):
    """PW-19: over the limit nothing of it is hashed, below it a digest."""
    for password in ("Wrong", "x" * 1024, "x" * 1_000_000, "\U0001f41d" * 1024):
        bcrypt_calls.clear()
        _fail(env, password=password)
        env.clock.move(hours=1)
        assert [len(password_bytes) for password_bytes, _ in bcrypt_calls] == [64]


def test_fresh_database_has_no_default_account(env):
    """LG-16: it has no account with a well-known password."""
    assert env.count("user") == 0
    for email, password in (("admin", "admin"), ("admin@example.com", "admin"), ("", "")):
        _fail(env, email=email, password=password)


def test_login_event_has_session_and_source(env, alice):
    """LO-02: one event of the login, one of the session, and nothing of the password."""
    env.clock.move(minutes=1)
    new_session = _log_in(env, password=alice.password, origin=Origin("req_1", "192.0.2.7"))
    [event] = _events(env, "authn_login_success")
    assert (event["user_id"], event["tenant_id"]) == (alice.user_id, alice.view.tenant_id)
    assert (event["request_id"], event["source"]) == ("req_1", "192.0.2.7")
    assert json.loads(event["details"]) == {"session_id": new_session.session_id, "failures": 0}
    session_event = _events(env, "session_created")[-1]
    assert json.loads(session_event["details"]) == {"session_id": new_session.session_id}
    assert alice.password not in repr(env.rows("security_event"))


def test_login_event_counts_preceding_failures(env, alice):
    """LO-02: and the next login starts counting from zero."""
    for failures in (3, 1, 0):
        env.clock.move(hours=1)
        for _ in range(failures):
            _fail(env)
        _log_in(env, password=alice.password)
    events = _events(env, "authn_login_successafterfail")
    assert [json.loads(event["details"])["failures"] for event in events] == [3, 1]
    assert len(_events(env, "authn_login_success")) == 1


def test_login_event_counts_failures_of_its_source_only(env, alice):
    """LO-02: attempts from other sources are not the user's own."""
    for _ in range(3):
        _fail(env, origin=Origin(address="198.51.100.7"))
    _fail(env, origin=Origin(address="192.0.2.1"))
    _log_in(env, password=alice.password, origin=Origin(address="192.0.2.1"))
    [event] = _events(env, "authn_login_successafterfail")
    assert json.loads(event["details"])["failures"] == 1


def test_failed_login_is_counted_and_no_event(env, alice):
    """LG-04: unauthenticated callers cannot write events, nor grow a table without bound."""
    rows_before = env.rows("security_event")
    for _ in range(5):
        _fail(env)
    _fail(env, email="nobody@example.com")
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)
    assert env.rows("security_event") == rows_before
    assert env.count("attempt_budget") == 1 + 2 + 2


def test_oldest_session_ends_beyond_the_limit(make_env):
    """SE-11: an attacker who logs in often must not keep the owner out."""
    env = make_env(max_sessions=3)
    alice = env.user("alice@example.com")
    session_tokens = [alice.token]
    for _ in range(4):
        env.clock.move(minutes=1)
        session_tokens.append(_log_in(env, password=alice.password).token)
    for token in session_tokens[:2]:
        with pytest.raises(InvalidToken):
            env.authenticate(CredentialKind.SESSION, token)
    for token in session_tokens[2:]:
        env.authenticate(CredentialKind.SESSION, token)
    assert len(env.act(list_sessions, alice.user_id)) == 3


def test_lowered_limit_ends_all_excess_sessions(env, make_env, alice):
    """The limit is enforced at the next login, for any number of sessions."""
    for _ in range(5):
        env.clock.move(minutes=1)
        env.act(open_session, alice.user_id)
    make_env(max_sessions=2).act(open_session, alice.user_id)
    assert len(env.act(list_sessions, alice.user_id)) == 2


def test_session_limit_is_per_user(make_env):
    """A login does not end sessions of other users."""
    env = make_env(max_sessions=1)
    alice = env.user("alice@example.com")
    env.user("bob@example.org")
    env.authenticate(CredentialKind.SESSION, alice.token)


def test_sessions_are_listed_newest_first(env, alice):
    """SE-05: only active sessions of this user, by ids that authenticate nothing."""
    env.clock.move(hours=1)
    new_session = env.act(open_session, alice.user_id)
    sessions = env.act(list_sessions, alice.user_id)
    assert [login_session.created_at for login_session in sessions] == [
        env.clock.now,
        env.clock.now - timedelta(hours=1),
    ]
    env.act(revoke_session, alice.view, sessions[0].id)
    assert [login_session.id for login_session in env.act(list_sessions, alice.user_id)] == [
        sessions[1].id
    ]
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, new_session.token)
    env.clock.move(days=30)
    assert env.act(list_sessions, alice.user_id) == []


def test_logout_ends_this_session_only(env, alice):
    """SE-03: other sessions stay."""
    other_token = env.act(open_session, alice.user_id).token
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    env.authenticate(CredentialKind.SESSION, other_token)


def test_session_of_another_user_is_not_found(env, alice, bob):
    """AZ-10: the id of another user's session is rejected like an unknown one."""
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, bob.principal.credential.id)
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, "ses_000000000000")
    env.authenticate(CredentialKind.SESSION, bob.token)


def test_session_ends_once(env, alice):
    """A session that has ended in any way is not found."""
    env.act(log_out, alice.principal)
    with pytest.raises(NotFound):
        env.act(log_out, alice.principal)
    expired = env.act(open_session, alice.user_id)
    session_id = env.authenticate(CredentialKind.SESSION, expired.token).credential.id
    env.clock.move(days=30)
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, session_id)


def test_all_other_sessions_can_be_revoked(env, alice, bob):
    """SE-05: the current one and those of other users stay."""
    other_tokens = [env.act(open_session, alice.user_id).token for _ in range(3)]
    env.act(revoke_other_sessions, alice.principal)
    for token in other_tokens:
        with pytest.raises(InvalidToken):
            env.authenticate(CredentialKind.SESSION, token)
    env.authenticate(CredentialKind.SESSION, alice.token)
    env.authenticate(CredentialKind.SESSION, bob.token)


def test_each_ended_session_is_an_event(env, alice, bob):
    """LO-02: one event for each session, however it ended, and none the second time."""
    other_ids = {env.act(open_session, alice.user_id).session_id for _ in range(2)}
    env.act(revoke_other_sessions, alice.principal)
    env.clock.move(minutes=1)
    env.act(revoke_all, alice.view, [SESSION])
    env.act(revoke_all, alice.view, [SESSION])
    events = _events(env, "session_logout")
    assert {event["user_id"] for event in events} == {alice.user_id}
    session_ids = [json.loads(event["details"])["session_id"] for event in events]
    assert set(session_ids[:2]) == other_ids
    assert session_ids[2:] == [alice.principal.credential.id]
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    env.authenticate(CredentialKind.SESSION, bob.token)


def test_failed_password_change_during_login_has_no_effect(env, alice, during_hashing):
    """A rejected change keeps the record, so the login succeeds."""

    def fail_to_change():
        with pytest.raises(WrongPassword):
            env.act(change_password, alice.principal, current="Wrong", new=NEW_PASSWORD)

    during_hashing(fail_to_change)
    _log_in(env, password=alice.password)


def test_record_has_scheme_pepper_and_cost(env, alice):
    """PW-14: and two records of one password differ."""
    env.user("carol@example.com")
    records = [row["record"] for row in env.rows("password_record")]
    assert len(set(records)) == 2
    for record in records:
        assert record.startswith(f"1${env.keys.key_id}$$2b$04$")
        assert password_hashing.verify(alice.password, record, env.keys, env.limits)
