"""Sessions that end by idling, and the delay with which uses are recorded."""

from datetime import timedelta
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.crypto.jwts import KeySet, LoadedKey
from accounts.errors import InvalidGrant, InvalidRequest, InvalidToken, NotFound
from accounts.flows.oauth.refresh_tokens import find_refresh_token
from accounts.flows.oauth.token_exchange import exchange_refresh_token, exchange_session
from accounts.flows.sign_in.sessions import list_sessions, open_session, revoke_session
from accounts.jobs.key_rotation import count_live
from accounts.jobs.retention import find_expired_records, find_idle_sessions
from accounts.services.authentication import authenticate, write_uses
from accounts.services.credentials import SESSION, revoke_all
from accounts.services.idle_sessions import RECORDING_DELAY
from accounts.services.principal import CredentialKind, Presented
from oneself.app import JOBS
from oneself.runtime.credential_usage import UsageRecorder
from tests.unit.conftest import START

IDLE = timedelta(minutes=15)
#: A session has certainly ended when it has not been used for so long.
ENDED = IDLE + 2 * RECORDING_DELAY
SECOND = timedelta(seconds=1)


@pytest.fixture
def env(make_env):
    return make_env(session_idle_timeout=IDLE)


@pytest.fixture(scope="module")
def key_set():
    private_key = rsa.generate_private_key(65537, 2048)
    return KeySet((LoadedKey("a-key", private_key, START, None),))


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)[0]


@pytest.fixture
def exchange(env, client, key_set):
    """Exchange a session for tokens."""

    def exchange(token):
        with env.database.transaction(writing=True) as session:
            return exchange_session(
                session, key_set, client, subject_token=token, scope=None, audience=None
            )

    return exchange


@pytest.fixture
def refresh(env, client, key_set):
    """Exchange a refresh token for the next tokens."""

    def refresh(token):
        with env.database.transaction(writing=True) as session:
            return exchange_refresh_token(
                session, key_set, client, token=token, scope=None, audience=None
            )

    return refresh


def _is_live(env, token):
    try:
        env.authenticate(CredentialKind.SESSION, token)
    except InvalidToken:
        return False
    return True


def _read_jwt(env, key_set, token):
    """Authenticate by a JWT, as a request would."""
    with env.database.transaction(writing=False) as session:
        claims = key_set.verify(token, issuer=session.limits.issuer, audience=None, now=session.now)
        return authenticate(session, Presented(CredentialKind.JWT, token, claims))


def test_sessions_do_not_end_by_idling_by_default(make_env, clock):
    """SE-04: as the references document."""
    env = make_env()
    alice = env.user("alice@example.org")
    clock.move(days=29)
    assert _is_live(env, alice.token)
    assert _revoke_idle(env) == []


def test_unused_session_ends(env, alice, clock):
    """SE-04, SE-05: it authenticates no request, is not listed, and cannot be ended again."""
    clock.move(seconds=(ENDED - SECOND).total_seconds())
    assert _is_live(env, alice.token)
    assert len(env.act(list_sessions, alice.user_id)) == 1
    clock.move(seconds=1)
    assert not _is_live(env, alice.token)
    assert env.act(list_sessions, alice.user_id) == []
    assert "login_session" not in env.act(count_live)[env.keys.key_id]
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, alice.principal.credential.id)


def test_used_session_lives_until_it_is_unused(env, alice, clock):
    """SE-04: the time counts from the last use, and the lifetime is not extended."""
    recorder = UsageRecorder()
    for _ in range(3):
        clock.move(seconds=IDLE.total_seconds())
        recorder.record_use(
            env.authenticate(CredentialKind.SESSION, alice.token).credential, clock.now
        )
        recorder.write(env.database)
    clock.move(seconds=ENDED.total_seconds())
    assert not _is_live(env, alice.token)


def test_jwt_ends_with_its_idle_session(env, alice, clock, key_set, exchange):
    """SE-04: at the next request."""
    clock.move(seconds=(ENDED - SECOND).total_seconds())
    issued = exchange(alice.token)  # too late to be a use that counts
    assert _read_jwt(env, key_set, issued.access_token)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        _read_jwt(env, key_set, issued.access_token)


def test_refresh_token_ends_with_its_idle_session(env, alice, clock, exchange, refresh):
    """SE-04: at the next exchange."""
    clock.move(seconds=(ENDED - SECOND).total_seconds())
    issued = exchange(alice.token)
    assert env.act(find_refresh_token, issued.refresh_token)
    clock.move(seconds=1)
    assert env.act(find_refresh_token, issued.refresh_token) is None
    with pytest.raises(InvalidGrant):
        refresh(issued.refresh_token)
    with pytest.raises(InvalidRequest):
        exchange(alice.token)


def test_exchange_is_a_use_of_the_session(env, alice, clock, exchange, refresh):
    """SE-04: of the session itself, and of its refresh token."""
    clock.move(seconds=IDLE.total_seconds())
    issued = exchange(alice.token)
    clock.move(seconds=IDLE.total_seconds())
    issued = refresh(issued.refresh_token)
    clock.move(seconds=IDLE.total_seconds())
    assert _is_live(env, alice.token)
    refresh(issued.refresh_token)


def test_jwt_is_a_use_of_its_session(env, alice, clock, key_set, exchange):
    """SE-04: a client that only sends JWTs keeps the session that they were made from."""
    issued = exchange(alice.token)
    recorder = UsageRecorder()
    used = clock.move(minutes=9)
    credential = _read_jwt(env, key_set, issued.access_token).credential
    assert credential.kind is CredentialKind.JWT
    recorder.record_use(credential, used)
    recorder.write(env.database)
    assert env.act(list_sessions, alice.user_id)[0].last_used_at == used


@pytest.mark.parametrize("seed", range(8))
def test_recording_in_batches_never_ends_a_session_in_use(env, alice, clock, seed):
    """SE-03, SE-04, TK-16: two replicas record uses late, and the session is used just in time.

    A session that is used more often than the timeout says never ends, and one that has ended never
    comes alive again.
    """
    random = Random(seed)  # noqa: S311 # a test's choice
    replicas = [UsageRecorder(), UsageRecorder()]
    due = [None, None]
    in_use, has_ended = True, False
    for _ in range(60):
        gap = random.choice(
            [
                SECOND,
                random.uniform(0, 1) * RECORDING_DELAY,
                IDLE - random.uniform(0, 1.5) * RECORDING_DELAY,
                # After some time, longer than the timeout.
                IDLE
                + random.uniform(-1, 0.5 if clock.now - START < 20 * IDLE else 3) * RECORDING_DELAY,
            ]
        )
        moment = clock.now + gap
        for number in sorted((0, 1), key=lambda number: due[number] or moment):
            if due[number] is not None and due[number] < moment:
                replicas[number].write(env.database)
                due[number] = None
        clock.now = moment
        if gap >= IDLE:
            in_use = False
        if not _is_live(env, alice.token):
            assert not in_use
            has_ended = True
            continue
        assert not has_ended
        number = random.randrange(2)
        replicas[number].record_use(alice.principal.credential, moment)
        due[number] = due[number] or moment + random.uniform(0, 1) * RECORDING_DELAY


def test_late_use_is_recorded_before_the_session_would_end(env, alice, clock):
    """SE-03, TK-16: no request is rejected between a use that counts and its record."""
    recorder = UsageRecorder()
    used = clock.move(seconds=(IDLE + 0.9 * RECORDING_DELAY).total_seconds())
    recorder.record_use(alice.principal.credential, used)
    clock.move(seconds=(0.9 * RECORDING_DELAY).total_seconds())
    assert _is_live(env, alice.token)
    recorder.write(env.database)
    assert env.act(list_sessions, alice.user_id)[0].last_used_at == used


def test_later_use_does_not_count(env, alice, clock):
    """SE-03: a session that is rejected once stays so, whatever is recorded afterwards."""
    recorder = UsageRecorder()
    used = clock.move(seconds=(IDLE + 1.5 * RECORDING_DELAY).total_seconds())
    assert _is_live(env, alice.token)
    recorder.record_use(alice.principal.credential, used)
    clock.move(seconds=(0.5 * RECORDING_DELAY).total_seconds())
    assert not _is_live(env, alice.token)
    recorder.write(env.database)
    assert not _is_live(env, alice.token)


def _revoke_idle(env, **limits):
    """Run the parts that are found once; return how many sessions each has revoked."""
    return [env.act(part) for part in env.act(find_idle_sessions, **limits)]


def test_idle_sessions_are_revoked_for_good(env, make_env, alice, bob, clock):
    """SE-03: they stay ended when the timeout is raised, and are deleted after the retention."""
    clock.move(seconds=IDLE.total_seconds())
    env.act(write_uses, {(CredentialKind.SESSION, bob.principal.credential.id): clock.now})
    clock.move(seconds=(ENDED - IDLE).total_seconds())
    assert _revoke_idle(env) == [1]
    assert _revoke_idle(env) == []
    without_timeout = make_env()
    assert not _is_live(without_timeout, alice.token)
    assert _is_live(without_timeout, bob.token)
    clock.move(days=30, seconds=1)
    for part in env.act(find_expired_records):
        env.act(part)
    assert [row["user_id"] for row in env.rows("login_session")] == [bob.user_id]


def test_idle_sessions_are_revoked_in_parts(env, alice, clock):
    """So that other writers wait for one part only."""
    for _ in range(2):
        env.act(open_session, alice.user_id)
    clock.move(seconds=ENDED.total_seconds())
    assert _revoke_idle(env, batch=2) == [2, 1]
    assert find_idle_sessions in [act for _, _, act, _ in JOBS]


def test_session_used_since_the_search_is_not_revoked(env, alice, clock):
    """SE-03: the part that revokes it checks it again."""
    clock.move(seconds=ENDED.total_seconds())
    [part] = env.act(find_idle_sessions)
    now = clock.now.strftime("%Y-%m-%d %H:%M:%S.%f")
    env.execute("UPDATE login_session SET last_used_at = ?", now)
    assert env.act(part) == 0
    assert _is_live(env, alice.token)


def test_idle_session_leaves_no_event_when_all_are_revoked(env, alice, clock):
    """Only what was live has been ended by that act."""
    clock.move(seconds=ENDED.total_seconds())
    env.act(open_session, alice.user_id)
    before = env.count("security_event")
    env.act(revoke_all, alice.view, [SESSION])
    assert env.count("security_event") == before + 1
    assert all(row["revoked_at"] for row in env.rows("login_session"))


def test_idle_session_does_not_count_towards_the_maximum(make_env, clock):
    """SE-11: a login then ends no other session."""
    env = make_env(session_idle_timeout=IDLE, max_sessions=2)
    alice = env.user("alice@example.org")
    clock.move(seconds=ENDED.total_seconds())
    first = env.act(open_session, alice.user_id)
    env.act(open_session, alice.user_id)
    assert _is_live(env, first.token)
