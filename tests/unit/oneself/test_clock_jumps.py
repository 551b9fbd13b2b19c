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
from accounts.flows.sessions import log_in, log_out
from accounts.flows.token_exchange import exchange_session
from accounts.flows.token_introspection import forget_expired_jwts, introspect_token, revoke_token
from accounts.jobs.event_chain import chain_events, verify_chain
from accounts.jobs.retention import forget_what_ended
from accounts.limits import Budget
from accounts.services.one_time_secrets import SecretPurpose, burn_secret, issue_secret
from accounts.services.outbox import MessageKind, post_message
from accounts.services.principal import CredentialKind
from accounts.services.signing_keys import ensure_signing_key, load_key_set, rotate_signing_key
from accounts.services.throttling import forget_old_attempts, spend
from accounts.values.email_address import parse_address
from oneself.mail.delivery import Delivery
from oneself.mail.messages import Messages
from oneself.templating import Templates
from tests.unit.conftest import PASSWORD

JUMPS = (timedelta(hours=1), timedelta(hours=5), timedelta(hours=23))
EMAIL = "alice@example.com"
WRONG = "Not this one 9"

every_jump = pytest.mark.parametrize("jump", JUMPS, ids=str)


def _log_in(house, password=PASSWORD):
    return house.act(log_in, email=EMAIL, password=password, user_agent=None)


def _jobs(house):
    """What is done once an hour."""
    for job in (forget_expired_jwts, forget_old_attempts, forget_what_ended):
        house.act(job)


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
def test_a_session_is_good_by_the_clock_and_a_revoked_one_never(house, alice, clock, jump, ahead):
    """OP-10, SE-03: whichever way the clock went since."""
    way = jump if ahead else -jump
    ended = _log_in(house)
    house.act(log_out, house.recognise(CredentialKind.SESSION, ended.token))
    for moved in (way, -way):
        clock.now += moved
        _jobs(house)
        assert house.recognise(CredentialKind.SESSION, alice.token)
        with pytest.raises(InvalidToken):
            house.recognise(CredentialKind.SESSION, ended.token)
        opened = _log_in(house)
        assert house.recognise(CredentialKind.SESSION, opened.token)


@every_jump
def test_no_session_is_accepted_when_its_time_is_over(open_house, clock, jump):
    """OP-10, SE-04: also one that was opened while the clock was ahead, by as much later."""
    house = open_house(session_lifetime=timedelta(days=1))
    alice = house.resident(EMAIL)
    clock.now += jump
    ahead = _log_in(house)
    clock.now -= jump
    clock.now += timedelta(days=1)
    with pytest.raises(InvalidToken):
        house.recognise(CredentialKind.SESSION, alice.token)
    clock.now += jump
    with pytest.raises(InvalidToken):
        house.recognise(CredentialKind.SESSION, ahead.token)


@every_jump
def test_a_secret_works_once_whatever_the_clock(house, alice, clock, jump):
    """OP-10, EM-07: and not while it has expired by the clock."""
    purpose, address = SecretPurpose.EMAIL_VERIFICATION, parse_address(EMAIL)
    secret = house.act(issue_secret, purpose, alice.user_id, address)
    clock.now += jump
    house.act(burn_secret, purpose, secret)
    clock.now -= 2 * jump
    with pytest.raises(SecretUsed):
        house.act(burn_secret, purpose, secret)
    later = house.act(issue_secret, purpose, alice.user_id, address)
    clock.move(days=1)
    with pytest.raises(SecretExpired):
        house.act(burn_secret, purpose, later)


@every_jump
def test_a_revoked_jwt_is_never_good_again(house, alice, clock, jump):
    """OP-10, JW-09: although a job has looked at it while it was expired by the clock."""
    house.act(ensure_signing_key)
    client, _ = house.client(alice.person.tenant_id)
    keys = house.act(load_key_set)
    issued = house.act(
        exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
    )
    assert house.act(introspect_token, keys, client, issued.access_token) is not None
    house.act(revoke_token, keys, client, issued.access_token)
    for moved in (jump, -jump):
        clock.now += moved
        _jobs(house)
        assert house.act(introspect_token, keys, client, issued.access_token) is None


@every_jump
def test_there_is_always_a_key_that_signs(house, alice, clock, jump):
    """OP-10, JW-08: also if keys were made or rotated while the clock was ahead."""
    client, _ = house.client(alice.person.tenant_id)
    clock.now += jump
    house.act(ensure_signing_key)
    house.act(rotate_signing_key)
    clock.now -= jump
    for moved in (timedelta(), timedelta(minutes=2), jump, -jump):
        clock.now += moved
        keys = house.act(load_key_set)
        issued = house.act(
            exchange_session, keys, client, subject_token=alice.token, scope=None, audience=None
        )
        assert house.act(introspect_token, keys, client, issued.access_token) is not None


@every_jump
def test_nobody_is_locked_out_until_the_time_that_it_was(house, alice, clock, jump):
    """OP-10, LG-09: who used up a budget while the clock was ahead waits for minutes, not hours."""
    clock.now += jump
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            _log_in(house, WRONG)
    with pytest.raises(TooManyAttempts):
        _log_in(house)
    clock.now -= jump
    clock.move(minutes=11)
    assert _log_in(house).person.user_id == alice.user_id


def test_a_small_difference_between_clocks_gives_nobody_more_attempts(house, clock):
    """OP-10, LG-04: two replicas that are minutes apart have one budget."""
    budget = Budget(5, 300)
    clock.move(minutes=9)
    for _ in range(5):
        house.act(spend, "a name", budget, "a policy")
    for minutes in (-9, 9, -4):
        clock.move(minutes=minutes)
        with pytest.raises(TooManyAttempts):
            house.act(spend, "a name", budget, "a policy")


@pytest.fixture
def deliver(house):
    """Delivers what is due; gives the ids of all that was taken until then."""
    mailbox = _Mailbox()
    messages = Messages(Templates(), public_url="https://me.example.com")
    delivery = Delivery(house.database, mailbox, messages, sender="no-reply@example.com")

    def deliver():
        delivery.deliver_pending()
        return mailbox.taken

    return deliver


def _post(house, alice):
    house.execute("DELETE FROM outbox_message")
    house.act(post_message, MessageKind.PASSWORD_CHANGED, alice.person)
    [message] = house.messages()
    return message.id


@every_jump
def test_mail_of_a_clock_that_was_ahead_is_delivered(house, alice, clock, jump, deliver):
    """OP-10, EM-18: within the hour that a second attempt may take, and once."""
    clock.now += jump
    posted = _post(house, alice)
    clock.now -= jump
    clock.move(hours=1, minutes=10)
    assert deliver() == deliver() == [posted]


@every_jump
def test_mail_that_was_leased_by_a_clock_that_was_ahead_is_delivered(
    house, alice, clock, jump, deliver
):
    """OP-10, EM-18: by whoever comes when its lease would long be over."""
    posted = _post(house, alice)
    until = clock.now + jump + timedelta(minutes=4)
    house.execute(
        "UPDATE outbox_message SET leased_until = ?", until.strftime("%Y-%m-%d %H:%M:%S.%f")
    )
    clock.move(minutes=15)
    assert deliver() == [posted]


@every_jump
def test_events_are_chained_whatever_the_clock(house, alice, clock, jump):
    """OP-10, LO-04: those of the time ahead, and those that come before them by the clock."""
    for moved in (timedelta(), jump, -jump, -jump, jump):
        clock.now += moved
        _log_in(house)
        house.act(chain_events)
    with house.database.transaction(writing=False, snapshot=True) as session:
        report = verify_chain(session)
    assert report.problems == ()
    assert report.checked == house.count("security_event")
    assert alice.user_id
