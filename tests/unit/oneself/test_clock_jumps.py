"""The clock of the machine goes hours ahead, and is put right, while all of it is used (OP-10).

Nothing that was used up or revoked is good again, and nothing waits until the time that it was
then. What only the clock tells, that a session has not expired, is as the clock tells it.
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
from accounts.jobs.retention import delete_expired_records
from accounts.limits import RateLimit
from accounts.services.one_time_secrets import SecretPurpose, issue_secret, redeem_secret
from accounts.services.outbox import MessageKind, post_message
from accounts.services.principal import CredentialKind
from accounts.services.signing_keys import ensure_signing_key, load_key_set, rotate_signing_key
from accounts.services.throttling import consume, delete_old_attempts
from accounts.values.email_address import parse_address
from oneself.mail.delivery import Delivery
from oneself.mail.messages import Messages
from oneself.templating import Templates
from tests.unit.conftest import PASSWORD

JUMPS = (timedelta(hours=1), timedelta(hours=5), timedelta(hours=23))
EMAIL = "alice@example.com"
WRONG = "Not this one 9"

every_jump = pytest.mark.parametrize("jump", JUMPS, ids=str)


def _log_in(env, password=PASSWORD):
    return env.act(log_in, email=EMAIL, password=password, user_agent=None)


def _jobs(env):
    """What is done once an hour."""
    for job in (delete_expired_jwts, delete_old_attempts, delete_expired_records):
        env.act(job)


class _Mailbox:
    """Remembers what it took."""

    seconds = 20

    def __init__(self):
        self.taken = []

    @contextmanager
    def open(self):
        yield lambda letter: self.taken.append(letter.id)


@every_jump
@pytest.mark.parametrize("ahead", [True, False], ids=["ahead", "back"])
def test_a_session_is_good_by_the_clock_and_a_revoked_one_never(env, alice, clock, jump, ahead):
    """OP-10, SE-03: whichever way the clock went since."""
    way = jump if ahead else -jump
    ended = _log_in(env)
    env.act(log_out, env.recognise(CredentialKind.SESSION, ended.token))
    for moved in (way, -way):
        clock.now += moved
        _jobs(env)
        assert env.recognise(CredentialKind.SESSION, alice.token)
        with pytest.raises(InvalidToken):
            env.recognise(CredentialKind.SESSION, ended.token)
        opened = _log_in(env)
        assert env.recognise(CredentialKind.SESSION, opened.token)


@every_jump
def test_no_session_is_accepted_when_its_time_is_over(open_house, clock, jump):
    """OP-10, SE-04: also one that was opened while the clock was ahead, by as much later."""
    env = open_house(session_lifetime=timedelta(days=1))
    alice = env.user(EMAIL)
    clock.now += jump
    ahead = _log_in(env)
    clock.now -= jump
    clock.now += timedelta(days=1)
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, alice.token)
    clock.now += jump
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, ahead.token)


@every_jump
def test_a_secret_works_once_whatever_the_clock(env, alice, clock, jump):
    """OP-10, EM-07: and not while it has expired by the clock."""
    purpose, address = SecretPurpose.EMAIL_VERIFICATION, parse_address(EMAIL)
    secret = env.act(issue_secret, purpose, alice.user_id, address)
    clock.now += jump
    env.act(redeem_secret, purpose, secret)
    clock.now -= 2 * jump
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, purpose, secret)
    later = env.act(issue_secret, purpose, alice.user_id, address)
    clock.move(days=1)
    with pytest.raises(SecretExpired):
        env.act(redeem_secret, purpose, later)


@every_jump
def test_a_revoked_jwt_is_never_good_again(env, alice, clock, jump):
    """OP-10, JW-09: although a job has looked at it while it was expired by the clock."""
    env.act(ensure_signing_key)
    client, _ = env.client(alice.view.tenant_id)
    keys = env.act(load_key_set)
    issued = env.act(
        exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
    )
    assert env.act(introspect_token, keys, client, issued.access_token) is not None
    env.act(revoke_token, keys, client, issued.access_token)
    for moved in (jump, -jump):
        clock.now += moved
        _jobs(env)
        assert env.act(introspect_token, keys, client, issued.access_token) is None


@every_jump
def test_there_is_always_a_key_that_signs(env, alice, clock, jump):
    """OP-10, JW-08: also if keys were made or rotated while the clock was ahead."""
    client, _ = env.client(alice.view.tenant_id)
    clock.now += jump
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.now -= jump
    for moved in (timedelta(), timedelta(minutes=2), jump, -jump):
        clock.now += moved
        keys = env.act(load_key_set)
        issued = env.act(
            exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
        )
        assert env.act(introspect_token, keys, client, issued.access_token) is not None


@every_jump
def test_nobody_is_locked_out_until_the_time_that_it_was(env, alice, clock, jump):
    """OP-10, LG-09: who used up a budget while the clock was ahead waits for minutes, not hours."""
    clock.now += jump
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            _log_in(env, WRONG)
    with pytest.raises(TooManyAttempts):
        _log_in(env)
    clock.now -= jump
    clock.move(minutes=11)
    assert _log_in(env).user.user_id == alice.user_id


def test_a_small_difference_between_clocks_gives_nobody_more_attempts(env, clock):
    """OP-10, LG-04: two replicas that are minutes apart have one budget."""
    budget = RateLimit(5, 300)
    clock.move(minutes=9)
    for _ in range(5):
        env.act(consume, "a name", budget, "a policy")
    for minutes in (-9, 9, -4):
        clock.move(minutes=minutes)
        with pytest.raises(TooManyAttempts):
            env.act(consume, "a name", budget, "a policy")


@pytest.fixture
def deliver(env):
    """Delivers what is due; gives the ids of all that was taken until then."""
    mailbox = _Mailbox()
    messages = Messages(Templates(), public_url="https://me.example.com")
    delivery = Delivery(env.database, mailbox, messages, sender="no-reply@example.com")

    def deliver():
        delivery.deliver_pending()
        return mailbox.taken

    return deliver


def _post(env, alice):
    env.execute("DELETE FROM outbox_message")
    env.act(post_message, MessageKind.PASSWORD_CHANGED, alice.view)
    [message] = env.messages()
    return message.id


@every_jump
def test_mail_of_a_clock_that_was_ahead_is_delivered(env, alice, clock, jump, deliver):
    """OP-10, EM-18: within the hour that a second attempt may take, and once."""
    clock.now += jump
    posted = _post(env, alice)
    clock.now -= jump
    clock.move(hours=1, minutes=10)
    assert deliver() == deliver() == [posted]


@every_jump
def test_mail_that_was_leased_by_a_clock_that_was_ahead_is_delivered(
    env, alice, clock, jump, deliver
):
    """OP-10, EM-18: by whoever comes when its lease would long be over."""
    posted = _post(env, alice)
    until = clock.now + jump + timedelta(minutes=4)
    env.execute(
        "UPDATE outbox_message SET leased_until = ?", until.strftime("%Y-%m-%d %H:%M:%S.%f")
    )
    clock.move(minutes=15)
    assert deliver() == [posted]


@every_jump
def test_events_are_chained_whatever_the_clock(env, alice, clock, jump):
    """OP-10, LO-04: those of the time ahead, and those that come before them by the clock."""
    for moved in (timedelta(), jump, -jump, -jump, jump):
        clock.now += moved
        _log_in(env)
        env.act(chain_events)
    with env.database.transaction(writing=False, snapshot=True) as session:
        report = verify_chain(session)
    assert report.problems == ()
    assert report.checked == env.count("security_event")
    assert alice.user_id
