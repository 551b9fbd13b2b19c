"""Logging in and out, and the sessions between."""

import json
from datetime import timedelta

import bcrypt
import pytest

from accounts.crypto import password_hashing
from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    NotFound,
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
from accounts.origin import NOWHERE, Origin
from accounts.services.credentials import SESSION, revoke_all
from accounts.services.principal import CredentialKind

NEW_PASSWORD = "Silent meadow 83 lantern"


def _log_in(env, email="alice@example.com", password=None, user_agent=None, origin=NOWHERE):
    """Log in as the service does: a writing transaction, let go of for the hash."""
    with env.database.transaction(writing=True, origin=origin) as session:
        return log_in(session, email=email, password=password, user_agent=user_agent)


def _fail(env, **given):
    with pytest.raises(InvalidCredentials):
        _log_in(env, **{"password": "Wrong", **given})


def _events(env, *kinds):
    """What is remembered of these kinds, oldest first."""
    rows = sorted(env.rows("security_event"), key=lambda row: row["occurred_at"])
    return [row for row in rows if row["kind"] in kinds]


def _cost(env):
    return [row["record"].split("$")[4] for row in env.rows("password_record")]


def test_whoever_knows_the_password_gets_a_session(env, alice):
    """The session is the person's, lasts as long as the rules say, and bears what was used."""
    opened = _log_in(env, password=alice.password, user_agent="A browser")
    assert opened.user == alice.view
    assert opened.expires_at == env.clock.now + timedelta(days=30)
    assert env.recognise(CredentialKind.SESSION, opened.token).user == alice.view
    assert "A browser" in [row["user_agent"] for row in env.rows("login_session")]


def test_each_login_opens_a_new_session(env, alice):
    """A token is never given out twice (SE-02)."""
    tokens = {_log_in(env, password=alice.password).token for _ in range(3)}
    assert len(tokens | {alice.token}) == 4


def test_the_address_is_compared_in_its_canonical_form(env, alice):
    """Capitals in an address make no other account (LG-07, UN-01)."""
    opened = _log_in(env, email="ALICE@Example.COM", password=alice.password)
    assert opened.user.user_id == alice.user_id


@pytest.mark.parametrize(
    "email", ["nobody@example.com", "not an address", "alice", "", "\ud800@example.com"]
)
def test_an_unknown_address_is_refused_like_a_wrong_password(env, alice, email):
    """All failures look the same (LG-01)."""
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
def test_a_wrong_password_opens_nothing(env, password):
    """Neither one that is near, nor one that no account could have (PW-04, PW-05)."""
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=password)
    assert env.count("login_session") == 1


def test_the_password_of_a_disabled_user_opens_nothing(env, alice):
    """A disabled account is refused as if the password were wrong (LG-01, SE-06)."""
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_no_password_of_a_disabled_tenant_opens_anything(env, alice):
    """The tenant is looked at, not only the user (AZ-15)."""
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_the_user_of_another_provider_has_no_password_here(env, alice):
    """Even a record that was left behind is of no use (LG-01)."""
    env.execute("UPDATE \"user\" SET provider = 'oidc'")
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)


def test_a_user_without_a_record_is_refused(env):
    """An account that never had a password has no empty one."""
    env.user("sso@example.com", provider="saml")
    with pytest.raises(InvalidCredentials):
        _log_in(env, email="sso@example.com", password="")


@pytest.mark.parametrize("record", ["", "x", "1$00000000$$2b$04$", "$2b$04$" + "a" * 53])
def test_a_record_that_cannot_be_read_is_a_wrong_password(env, alice, record):
    """PW-16: what is broken in the database is never a 500, never open, and counted like any."""
    env.execute("UPDATE password_record SET record = ?", record)
    for _ in range(5):
        _fail(env, password=alice.password)
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)


def test_a_login_makes_an_old_record_anew(env, open_house, alice):
    """Cost is raised at the next login, and the password stays (PW-15)."""
    stricter = open_house(password_cost=5)
    assert _cost(env) == ["04"]
    _log_in(stricter, password=alice.password)
    assert _cost(env) == ["05"]
    _log_in(env, password=alice.password)
    assert _cost(env) == ["05"]


@pytest.mark.usefixtures("alice")
def test_a_failed_login_makes_nothing_anew(env, open_house):
    """Only whoever knows the password has it hashed again (PW-15)."""
    with pytest.raises(InvalidCredentials):
        _log_in(open_house(password_cost=5), password="Wrong")
    assert _cost(env) == ["04"]


def test_a_change_during_a_login_wins_over_the_upgrade(env, open_house, alice, during_the_hash):
    """The old password is not written back, and opens no session any more (PW-15)."""
    stricter = open_house(password_cost=5)
    during_the_hash(
        lambda: env.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
    )
    with pytest.raises(InvalidCredentials):
        _log_in(stricter, password=alice.password)
    assert _log_in(env, password=NEW_PASSWORD).user.user_id == alice.user_id


def test_a_user_who_is_disabled_during_the_hash_is_refused(env, alice, during_the_hash):
    """What was read before the hash is read again after it (SE-06)."""
    during_the_hash(lambda: env.execute('UPDATE "user" SET disabled_at = created_at'))
    with pytest.raises(InvalidCredentials):
        _log_in(env, password=alice.password)
    assert env.count("login_session") == 1


def test_another_login_during_the_hash_takes_nothing_away(env, alice, during_the_hash):
    """Two logins with one password at once are two sessions."""
    others = during_the_hash(lambda: _log_in(env, password=alice.password))
    opened = _log_in(env, password=alice.password)
    for each in (*others, opened):
        env.recognise(CredentialKind.SESSION, each.token)


def test_an_upgrade_by_two_logins_at_once_leaves_a_good_record(
    env, open_house, alice, during_the_hash
):
    """The later of the two finds another record than it had read, and is refused (PW-15)."""
    stricter = open_house(password_cost=5)
    during_the_hash(lambda: _log_in(stricter, password=alice.password))
    with pytest.raises(InvalidCredentials):
        _log_in(stricter, password=alice.password)
    assert _cost(env) == ["05"]
    _log_in(stricter, password=alice.password)


@pytest.fixture
def hashed(monkeypatch):
    """What bcrypt is given from now on, and the salt or record, which begins with the cost."""
    given = []
    for name in ("checkpw", "hashpw"):
        true = getattr(bcrypt, name)
        monkeypatch.setattr(
            bcrypt, name, lambda *both, true=true: given.append(both) or true(*both)
        )
    return given


def _work(hashed):
    """The rounds of all these hashes: each step of the cost doubles them."""
    return sum(2 ** int(salt.split(b"$")[2]) for _, salt in hashed)


def test_every_failed_login_costs_one_hash(env, alice, hashed):
    """LG-02: whether an address exists cannot be told by the time."""
    env.user("sso@example.com", provider="oidc")
    for email in (alice.view.email, "nobody@example.com", "sso@example.com", "no address"):
        hashed.clear()
        _fail(env, email=email)
        assert len(hashed) == 1
        assert _work(hashed) == 2**4


@pytest.mark.parametrize("cost", [5, 6])
def test_every_failed_login_costs_the_same_after_the_cost_was_raised(
    open_house, alice, hashed, cost
):
    """LG-03: nor for who has not logged in since, whose record is of the old cost."""
    stricter = open_house(password_cost=cost)
    work = {}
    for email in (alice.view.email, "nobody@example.com"):
        hashed.clear()
        _fail(stricter, email=email)
        work[email] = _work(hashed)
    assert set(work.values()) == {2**cost}


@pytest.mark.usefixtures("alice")
def test_bcrypt_is_given_as_little_of_a_long_password_as_of_a_short_one(env, hashed):
    """PW-19: past the limit nothing of it is hashed, and below it a digest."""
    for password in ("Wrong", "x" * 1024, "x" * 1_000_000, "\U0001f41d" * 1024):
        hashed.clear()
        _fail(env, password=password)
        env.clock.move(hours=1)
        assert [len(given) for given, _ in hashed] == [64]


def test_nobody_is_there_before_somebody_is_let_in(env):
    """LG-16: a fresh database has no account, and so none with a password that everybody knows."""
    assert env.count("user") == 0
    for email, password in (("admin", "admin"), ("admin@example.com", "admin"), ("", "")):
        _fail(env, email=email, password=password)


def test_a_login_is_remembered_with_its_session_and_its_source(env, alice):
    """LO-02: one event of the login, one of the session, and no word of the password."""
    env.clock.move(minutes=1)
    opened = _log_in(env, password=alice.password, origin=Origin("req_1", "192.0.2.7"))
    [event] = _events(env, "authn_login_success")
    assert (event["user_id"], event["tenant_id"]) == (alice.user_id, alice.view.tenant_id)
    assert (event["request_id"], event["source"]) == ("req_1", "192.0.2.7")
    assert json.loads(event["details"]) == {"session_id": opened.session_id, "failures": 0}
    created = _events(env, "session_created")[-1]
    assert json.loads(created["details"]) == {"session_id": opened.session_id}
    assert alice.password not in repr(env.rows("security_event"))


def test_a_login_after_failures_says_how_many_there_were(env, alice):
    """LO-02: and the next one begins to count anew."""
    for failures in (3, 1, 0):
        env.clock.move(hours=1)
        for _ in range(failures):
            _fail(env)
        _log_in(env, password=alice.password)
    later = _events(env, "authn_login_successafterfail")
    assert [json.loads(event["details"])["failures"] for event in later] == [3, 1]
    assert len(_events(env, "authn_login_success")) == 1


def test_the_failures_that_are_told_are_those_of_this_source(env, alice):
    """LO-02: what others tried elsewhere is not the person's own forgetfulness."""
    for _ in range(3):
        _fail(env, origin=Origin(address="198.51.100.7"))
    _fail(env, origin=Origin(address="192.0.2.1"))
    _log_in(env, password=alice.password, origin=Origin(address="192.0.2.1"))
    [event] = _events(env, "authn_login_successafterfail")
    assert json.loads(event["details"])["failures"] == 1


def test_a_failed_login_leaves_a_count_and_no_event(env, alice):
    """LG-04: strangers write nothing into anybody's events, nor into a table without end."""
    before = env.rows("security_event")
    for _ in range(5):
        _fail(env)
    _fail(env, email="nobody@example.com")
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)
    assert env.rows("security_event") == before
    assert env.count("attempt_budget") == 1 + 2 + 2


def test_past_the_limit_the_oldest_session_ends(open_house):
    """Whoever logs in often enough must not keep the owner out (SE-11)."""
    env = open_house(max_sessions=3)
    alice = env.user("alice@example.com")
    opened = [alice.token]
    for _ in range(4):
        env.clock.move(minutes=1)
        opened.append(_log_in(env, password=alice.password).token)
    for token in opened[:2]:
        with pytest.raises(InvalidToken):
            env.recognise(CredentialKind.SESSION, token)
    for token in opened[2:]:
        env.recognise(CredentialKind.SESSION, token)
    assert len(env.act(list_sessions, alice.user_id)) == 3


def test_a_lowered_limit_ends_as_many_as_it_takes(env, open_house, alice):
    """The limit holds after the next login, however many sessions there were."""
    for _ in range(5):
        env.clock.move(minutes=1)
        env.act(open_session, alice.user_id)
    open_house(max_sessions=2).act(open_session, alice.user_id)
    assert len(env.act(list_sessions, alice.user_id)) == 2


def test_the_limit_counts_each_user_alone(open_house):
    """Nobody's login ends a session of somebody else."""
    env = open_house(max_sessions=1)
    alice = env.user("alice@example.com")
    env.user("bob@example.org")
    env.recognise(CredentialKind.SESSION, alice.token)


def test_sessions_are_listed_newest_first(env, alice):
    """Only live ones of this user are listed, by ids that open nothing (SE-05)."""
    env.clock.move(hours=1)
    later = env.act(open_session, alice.user_id)
    listed = env.act(list_sessions, alice.user_id)
    assert [each.created_at for each in listed] == [
        env.clock.now,
        env.clock.now - timedelta(hours=1),
    ]
    env.act(revoke_session, alice.view, listed[0].id)
    assert [each.id for each in env.act(list_sessions, alice.user_id)] == [listed[1].id]
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, later.token)
    env.clock.move(days=30)
    assert env.act(list_sessions, alice.user_id) == []


def test_logging_out_ends_this_session_only(env, alice):
    """The session that was used is dead, another one lives (SE-03)."""
    other = env.act(open_session, alice.user_id).token
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, alice.token)
    env.recognise(CredentialKind.SESSION, other)


def test_a_session_of_somebody_else_is_not_found(env, alice, bob):
    """Another user's id is refused like one that there is not (AZ-10)."""
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, bob.principal.credential.id)
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, "ses_000000000000")
    env.recognise(CredentialKind.SESSION, bob.token)


def test_a_session_ends_once(env, alice):
    """What has ended already, by whatever, is not found."""
    env.act(log_out, alice.principal)
    with pytest.raises(NotFound):
        env.act(log_out, alice.principal)
    expired = env.act(open_session, alice.user_id)
    session_id = env.recognise(CredentialKind.SESSION, expired.token).credential.id
    env.clock.move(days=30)
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, session_id)


def test_all_other_sessions_end_at_once(env, alice, bob):
    """The one that was used stays, and so do other people's (SE-05)."""
    others = [env.act(open_session, alice.user_id).token for _ in range(3)]
    env.act(revoke_other_sessions, alice.principal)
    for token in others:
        with pytest.raises(InvalidToken):
            env.recognise(CredentialKind.SESSION, token)
    env.recognise(CredentialKind.SESSION, alice.token)
    env.recognise(CredentialKind.SESSION, bob.token)


def test_each_session_that_ends_is_remembered(env, alice, bob):
    """LO-02: one event for each, however they ended; a second time there is nothing to tell."""
    others = {env.act(open_session, alice.user_id).session_id for _ in range(2)}
    env.act(revoke_other_sessions, alice.principal)
    env.clock.move(minutes=1)
    env.act(revoke_all, alice.view, [SESSION])
    env.act(revoke_all, alice.view, [SESSION])
    ended = _events(env, "session_logout")
    assert {event["user_id"] for event in ended} == {alice.user_id}
    named = [json.loads(event["details"])["session_id"] for event in ended]
    assert set(named[:2]) == others
    assert named[2:] == [alice.principal.credential.id]
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, alice.token)
    env.recognise(CredentialKind.SESSION, bob.token)


def test_a_wrong_change_during_a_login_disturbs_nothing(env, alice, during_the_hash):
    """A refused change leaves the record, and so the login is let through."""

    def fail_to_change():
        with pytest.raises(WrongPassword):
            env.act(change_password, alice.principal, current="Wrong", new=NEW_PASSWORD)

    during_the_hash(fail_to_change)
    _log_in(env, password=alice.password)


def test_the_record_says_its_scheme_pepper_and_cost(env, alice):
    """What a record was made with can be read from it, and two records differ (PW-14)."""
    env.user("carol@example.com")
    records = [row["record"] for row in env.rows("password_record")]
    assert len(set(records)) == 2
    for record in records:
        assert record.startswith(f"1${env.keys.key_id}$$2b$04$")
        assert password_hashing.verify(alice.password, record, env.keys, 4)
