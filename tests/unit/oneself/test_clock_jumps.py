"""The system clock jumps hours ahead, and back, during use (OP-10).

Used and revoked credentials stay so, and nothing waits until the wrong time. Expiry alone follows
the clock.
"""

from contextlib import contextmanager
from datetime import timedelta

import pytest

from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    SecretExpired,
    SecretUsed,
    TooManyAttempts,
)
from accounts.flows.oauth.token_exchange import exchange_session
from accounts.flows.oauth.token_introspection import (
    delete_expired_jwts,
    introspect_token,
    revoke_token,
)
from accounts.flows.sign_in.sessions import log_in, log_out
from accounts.jobs.event_chain import chain_events, verify_chain
from accounts.jobs.retention import find_expired_records
from accounts.limits import RateLimit
from accounts.services.mail.outbox import MessageKind, post_message
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, redeem_secret
from accounts.services.principal import CredentialKind
from accounts.services.rate_limits import consume, delete_old_attempts
from accounts.services.signing_keys import ensure_signing_key, load_key_set, rotate_signing_key
from accounts.values.email_address import parse_address
from oneself.mail.delivery import Delivery
from oneself.mail.messages import Messages
from oneself.templating import Templates
from tests.unit.conftest import PASSWORD

JUMPS = (timedelta(hours=1), timedelta(hours=5), timedelta(hours=23))
EMAIL = "alice@example.com"
WRONG = "Not this one 9"

each_jump = pytest.mark.parametrize("jump", JUMPS, ids=str)


def _log_in(env, password=PASSWORD):
    return env.act(log_in, email=EMAIL, password=password, user_agent=None)


def _jobs(env):
    """Run the hourly jobs."""
    for job in (delete_expired_jwts, delete_old_attempts, *env.act(find_expired_records)):
        env.act(job)


class _Transport:
    """A mail transport that records what it sent."""

    seconds = 20

    def __init__(self):
        self.sent = []

    @contextmanager
    def open(self):
        yield lambda email: self.sent.append(email.id)


@each_jump
@pytest.mark.parametrize("is_ahead", [True, False], ids=["ahead", "back"])
def test_session_follows_the_clock_and_a_revoked_one_stays_revoked(
    env, alice, clock, jump, is_ahead
):
    """OP-10, SE-03: in either direction."""
    shift = jump if is_ahead else -jump
    revoked = _log_in(env)
    env.act(log_out, env.authenticate(CredentialKind.SESSION, revoked.token))
    for change in (shift, -shift):
        clock.now += change
        _jobs(env)
        assert env.authenticate(CredentialKind.SESSION, alice.token)
        with pytest.raises(InvalidToken):
            env.authenticate(CredentialKind.SESSION, revoked.token)
        opened = _log_in(env)
        assert env.authenticate(CredentialKind.SESSION, opened.token)


@each_jump
def test_expired_session_is_rejected_after_a_jump(make_env, clock, jump):
    """OP-10, SE-04: one opened while the clock was ahead expires that much later."""
    env = make_env(session_lifetime=timedelta(days=1))
    alice = env.user(EMAIL)
    clock.now += jump
    later_session = _log_in(env)
    clock.now -= jump
    clock.now += timedelta(days=1)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    clock.now += jump
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, later_session.token)


@each_jump
def test_secret_works_once_after_a_jump(env, alice, clock, jump):
    """OP-10, EM-07: and not while it is expired by the clock."""
    purpose, address = SecretPurpose.EMAIL_VERIFICATION, parse_address(EMAIL)
    secret = env.act(issue_secret, purpose, alice.user_id, address)
    clock.now += jump
    env.act(redeem_secret, purpose, secret)
    clock.now -= 2 * jump
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, purpose, secret)
    expiring = env.act(issue_secret, purpose, alice.user_id, address)
    clock.move(days=1)
    with pytest.raises(SecretExpired):
        env.act(redeem_secret, purpose, expiring)


@each_jump
def test_revoked_jwt_stays_revoked(env, alice, clock, jump):
    """OP-10, JW-09: also after a job has run while it was expired by the clock."""
    env.act(ensure_signing_key)
    client, _ = env.client(alice.view.tenant_id)
    keys = env.act(load_key_set)
    issued = env.act(
        exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
    )
    assert env.act(introspect_token, keys, client, issued.access_token) is not None
    env.act(revoke_token, keys, client, issued.access_token)
    for change in (jump, -jump):
        clock.now += change
        _jobs(env)
        assert env.act(introspect_token, keys, client, issued.access_token) is None


@each_jump
def test_signing_key_is_always_available(env, alice, clock, jump):
    """OP-10, JW-08: also if keys were created or rotated while the clock was ahead."""
    client, _ = env.client(alice.view.tenant_id)
    clock.now += jump
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.now -= jump
    for change in (timedelta(), timedelta(minutes=2), jump, -jump):
        clock.now += change
        keys = env.act(load_key_set)
        issued = env.act(
            exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
        )
        assert env.act(introspect_token, keys, client, issued.access_token) is not None


@each_jump
def test_rate_limit_recovers_after_the_clock_was_ahead(env, alice, clock, jump):
    """OP-10, LG-09: within minutes, not hours."""
    clock.now += jump
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            _log_in(env, WRONG)
    with pytest.raises(TooManyAttempts):
        _log_in(env)
    clock.now -= jump
    clock.move(minutes=11)
    assert _log_in(env).user.user_id == alice.user_id


def test_clock_skew_between_replicas_gives_no_extra_attempts(env, clock):
    """OP-10, LG-04: two replicas that are minutes apart share one rate limit."""
    limit = RateLimit(5, 300)
    clock.move(minutes=9)
    for _ in range(5):
        env.act(consume, "a name", limit, "a policy")
    for minutes in (-9, 9, -4):
        clock.move(minutes=minutes)
        with pytest.raises(TooManyAttempts):
            env.act(consume, "a name", limit, "a policy")


@pytest.fixture
def deliver(env):
    """Delivers pending mail; returns the ids of all mail sent so far."""
    transport = _Transport()
    messages = Messages(Templates(), public_url="https://me.example.com")
    delivery = Delivery(env.database, transport, messages, sender="no-reply@example.com")

    def deliver():
        delivery.deliver_pending()
        return transport.sent

    return deliver


def _post(env, alice):
    env.execute("DELETE FROM outbox_message")
    env.act(post_message, MessageKind.PASSWORD_CHANGED, alice.view)
    [message] = env.messages()
    return message.id


@each_jump
def test_mail_posted_while_the_clock_was_ahead_is_delivered(env, alice, clock, jump, deliver):
    """OP-10, EM-18: once, within the hour that a second attempt may take."""
    clock.now += jump
    posted = _post(env, alice)
    clock.now -= jump
    clock.move(hours=1, minutes=10)
    assert deliver() == deliver() == [posted]


@each_jump
def test_mail_leased_while_the_clock_was_ahead_is_delivered(env, alice, clock, jump, deliver):
    """OP-10, EM-18: by the next delivery after a lease would normally end."""
    posted = _post(env, alice)
    until = clock.now + jump + timedelta(minutes=4)
    env.execute(
        "UPDATE outbox_message SET leased_until = ?", until.strftime("%Y-%m-%d %H:%M:%S.%f")
    )
    clock.move(minutes=15)
    assert deliver() == [posted]


@each_jump
def test_events_are_chained_after_a_jump(env, alice, clock, jump):
    """OP-10, LO-04: those of the time ahead, and those that come before them by the clock."""
    for change in (timedelta(), jump, -jump, -jump, jump):
        clock.now += change
        _log_in(env)
        env.act(chain_events)
    with env.database.transaction(writing=False, snapshot=True) as session:
        report = verify_chain(session)
    assert report.problems == ()
    assert report.checked == env.count("security_event")
    assert alice.user_id
