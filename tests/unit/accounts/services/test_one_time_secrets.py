"""One-time secrets, bound to a purpose."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.crypto import tokens
from accounts.errors import PolicyDenied, SecretExpired, SecretInvalid, SecretSuperseded, SecretUsed
from accounts.flows.profile.profile import change_profile
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_address_changes,
    find_locale,
    find_secret,
    issue_secret,
    read_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.values.email_address import parse_address
from tests.support.deadlines import patient

CHANGE, VERIFICATION = SecretPurpose.EMAIL_CHANGE, SecretPurpose.EMAIL_VERIFICATION
PURPOSES = sorted(SecretPurpose)
LIFETIMES = {purpose: timedelta(days=1) for purpose in PURPOSES} | {
    SecretPurpose.PASSWORD_RESET: timedelta(hours=1),
    SecretPurpose.EMAIL_UNDO: timedelta(days=7),
}
ADDRESS = parse_address("new@example.com")
DAY = 24 * 3600


@contextmanager
def _forbidding(env, questions):
    """Open a session whose policies forbid every public act, and record what they are asked."""

    def authorise_public(user, credential, _authentication=None):
        questions.append((user, credential))
        raise PolicyDenied

    with env.database.transaction(writing=True) as session:
        session.authorise_public = authorise_public
        yield session


def _issue(env, user, purpose=CHANGE):
    return env.act(issue_secret, purpose, user.user_id, ADDRESS)


def test_redeeming_returns_user_and_address(env, alice):
    """EM-08: redeeming it returns its user and address."""
    row = env.act(redeem_secret, CHANGE, _issue(env, alice))
    assert (row.user_id, row.address) == (alice.user_id, "new@example.com")


def test_secret_works_once(env, alice):
    """EM-07: a second use is distinguished from a wrong secret."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_secret_that_a_policy_refuses_stays_valid(env, alice, purpose):
    """AZ-07, attack finding 9: the policies are asked about its user, in redeeming itself."""
    secret, questions = _issue(env, alice, purpose), []
    with pytest.raises(PolicyDenied), _forbidding(env, questions) as session:
        redeem_secret(session, purpose, secret)
    assert questions == [(env.view(alice.user_id), "mailed-secret")]
    assert env.act(redeem_secret, purpose, secret).user_id == alice.user_id


def test_policies_are_not_asked_about_an_unusable_secret(env, alice):
    """AZ-07: a caller without a valid secret learns nothing of them."""
    used, questions = _issue(env, alice), []
    env.act(redeem_secret, CHANGE, used)
    for secret, reason in ((used, SecretUsed), (tokens.mint("ots_"), SecretInvalid)):
        with pytest.raises(reason), _forbidding(env, questions) as session:
            redeem_secret(session, CHANGE, secret)
    assert questions == []


@pytest.mark.parametrize(
    "wrong", ["", "ots_", tokens.mint("ots_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_wrong_secret_consumes_nothing(env, alice, wrong):
    """The pending one stays valid."""
    secret = _issue(env, alice)
    for act in (redeem_secret, read_secret):
        with pytest.raises(SecretInvalid):
            env.act(act, CHANGE, wrong)
    env.act(redeem_secret, CHANGE, secret)


@pytest.mark.parametrize("act", [redeem_secret, read_secret])
@pytest.mark.parametrize(
    ("issued_for", "presented_for"),
    [(first, second) for first in PURPOSES for second in PURPOSES if first != second],
)
def test_secret_works_for_its_purpose_only(env, alice, act, issued_for, presented_for):
    """EM-08: for another purpose it is unknown, and is not consumed (CVE-2026-105785)."""
    secret = _issue(env, alice, issued_for)
    with pytest.raises(SecretInvalid):
        env.act(act, presented_for, secret)
    env.act(redeem_secret, issued_for, secret)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_secret_is_valid_in_its_last_second(env, alice, clock, purpose):
    """EM-05: after 23:59:59, or 59:59 for a reset, it is valid."""
    secret = _issue(env, alice, purpose)
    clock.now += LIFETIMES[purpose] - timedelta(seconds=1)
    env.act(read_secret, purpose, secret)
    env.act(redeem_secret, purpose, secret)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_secret_expires(env, alice, clock, purpose):
    """EM-05: after 24:00:00 it is not, without a clean-up job (GO-2025-4136)."""
    secret = _issue(env, alice, purpose)
    clock.now += LIFETIMES[purpose]
    for act in (read_secret, redeem_secret):
        with pytest.raises(SecretExpired):
            env.act(act, purpose, secret)


def test_reading_a_secret_does_not_consume_it(env, alice):
    """EM-11: a scanner that opens a mailed link must not consume it."""
    secret = _issue(env, alice)
    for _ in range(3):
        row = env.act(read_secret, CHANGE, secret)
        assert (row.user_id, row.address) == (alice.user_id, "new@example.com")
    env.act(redeem_secret, CHANGE, secret)


def test_reading_distinguishes_superseded_and_used_secrets(env, alice):
    """EM-07, EM-09: as redeeming does."""
    superseded, used = _issue(env, alice), _issue(env, alice)
    env.act(redeem_secret, CHANGE, used)
    with pytest.raises(SecretSuperseded):
        env.act(read_secret, CHANGE, superseded)
    with pytest.raises(SecretUsed):
        env.act(read_secret, CHANGE, used)


def test_used_secret_stays_used_after_expiry(env, alice, clock):
    """The reason of a refusal does not change over time."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    clock.move(days=2)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


def test_expiry_of_secrets_is_not_nullable(env, alice):
    """EM-06: no null can be taken for an infinite lifetime."""
    _issue(env, alice)
    with pytest.raises(IntegrityError):
        env.execute("UPDATE one_time_secret SET expires_at = NULL")


@pytest.mark.only_on("sqlite")  # PostgreSQL rejects malformed times
@pytest.mark.parametrize("garbage", ["", "0", "never", "9999999999"])
def test_secret_with_unreadable_expiry_is_rejected(env, alice, garbage):
    """EM-06: the secret is not consumed either."""
    secret = _issue(env, alice)
    env.execute("UPDATE one_time_secret SET expires_at = ?", garbage)
    with pytest.raises((ValueError, TypeError)):
        env.act(redeem_secret, CHANGE, secret)
    assert env.rows("one_time_secret")[0]["used_at"] is None


def test_later_request_supersedes_an_earlier_one(env, alice):
    """EM-09: only the last secret is valid."""
    earlier, later = _issue(env, alice), _issue(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(redeem_secret, CHANGE, earlier)
    env.act(redeem_secret, CHANGE, later)


def test_superseding_is_limited_to_user_and_purpose(env, alice, bob):
    """EM-08: secrets of other users and purposes stay valid."""
    other_secrets = [(CHANGE, _issue(env, bob)), (VERIFICATION, _issue(env, alice, VERIFICATION))]
    env.act(supersede_secrets, CHANGE, alice.user_id)
    for purpose, secret in other_secrets:
        env.act(redeem_secret, purpose, secret)


def test_used_secret_is_not_superseded(env, alice):
    """It was used first, and is reported as used."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    _issue(env, alice)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


def test_secret_can_be_superseded_in_its_own_transaction(env, alice):
    """Pending rows are flushed before the query."""
    with env.database.transaction(writing=True) as session:
        secret = issue_secret(session, CHANGE, alice.user_id, ADDRESS)
        issue_secret(session, CHANGE, alice.user_id, ADDRESS)
        with pytest.raises(SecretSuperseded):
            redeem_secret(session, CHANGE, secret)


def test_pending_address_is_found_until_used_or_expired(env, alice, clock):
    """The address is returned, not the secret."""

    def pending_address():
        return env.act(find_address_changes, alice.user_id).pending_address

    assert pending_address() is None
    _issue(env, alice, VERIFICATION)
    assert pending_address() is None
    secret = _issue(env, alice)
    assert pending_address() == "new@example.com"
    env.act(redeem_secret, CHANGE, secret)
    assert pending_address() is None
    _issue(env, alice)
    clock.move(seconds=DAY)
    assert pending_address() is None


def test_one_of_four_concurrent_uses_wins(env, alice, bob):
    """EM-07: 50 secrets with four racers each are redeemed 50 times."""
    users = [alice, bob]
    racers, rounds = 4, 50
    for number in range(rounds):
        secret = _issue(env, users[number % 2])
        ready = threading.Barrier(racers)

        def race(_, secret=secret, ready=ready):
            ready.wait(patient(30))
            try:
                env.act(redeem_secret, CHANGE, secret)
            except SecretUsed:
                return 0
            return 1

        with ThreadPoolExecutor(racers) as threads:
            assert sum(threads.map(race, range(racers))) == 1
    used = [row for row in env.rows("one_time_secret") if row["used_at"] is not None]
    assert len(used) == rounds


def test_second_undo_secret_keeps_the_first(env, alice):
    """EM-09: else a second change by an attacker would invalidate the owner's undo link."""
    first = _issue(env, alice, SecretPurpose.EMAIL_UNDO)
    second = _issue(env, alice, SecretPurpose.EMAIL_UNDO)
    for secret in (first, second):
        env.act(redeem_secret, SecretPurpose.EMAIL_UNDO, secret)


def test_expired_secret_is_found(env, alice, clock):
    """So that a new one can be requested; a wrong one, or one for another purpose, is not."""
    secret = _issue(env, alice)
    clock.move(days=8)
    assert env.act(find_secret, CHANGE, secret).user_id == alice.user_id
    for purpose, wrong in ((SecretPurpose.EMAIL_UNDO, secret), (CHANGE, tokens.mint("ots_"))):
        with pytest.raises(SecretInvalid):
            env.act(find_secret, purpose, wrong)


def test_locale_of_a_secret_is_found(env, alice):
    """A wrong secret reveals nothing."""
    secret = _issue(env, alice)
    assert env.act(find_locale, CHANGE, secret) is None
    env.act(change_profile, alice.view, {"locale": "de-AT"})
    assert env.act(find_locale, CHANGE, secret) == "de-AT"
    assert env.act(find_locale, CHANGE, tokens.mint("ots_")) is None
