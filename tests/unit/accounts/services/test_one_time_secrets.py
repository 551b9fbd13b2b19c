"""Secrets that work once, for one purpose."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.crypto import tokens
from accounts.errors import SecretExpired, SecretInvalid, SecretSuperseded, SecretUsed
from accounts.flows.profile.profile import change_profile
from accounts.services.one_time_secrets import (
    SecretPurpose,
    find_locale,
    find_pending_address,
    find_secret,
    issue_secret,
    read_secret,
    redeem_secret,
    supersede_secrets,
)
from accounts.values.email_address import parse_address

CHANGE, VERIFICATION = SecretPurpose.EMAIL_CHANGE, SecretPurpose.EMAIL_VERIFICATION
PURPOSES = sorted(SecretPurpose)
LASTS = {purpose: timedelta(days=1) for purpose in PURPOSES} | {
    SecretPurpose.PASSWORD_RESET: timedelta(hours=1),
    SecretPurpose.EMAIL_UNDO: timedelta(days=7),
}
ADDRESS = parse_address("new@example.com")
DAY = 24 * 3600


def _issue(env, user, purpose=CHANGE):
    return env.act(issue_secret, purpose, user.user_id, ADDRESS)


def test_a_secret_says_what_it_is_for(env, alice):
    """Whoever burns it is given the user and the address that it is bound to (EM-08)."""
    row = env.act(redeem_secret, CHANGE, _issue(env, alice))
    assert (row.user_id, row.address) == (alice.user_id, "new@example.com")


def test_a_secret_works_once(env, alice):
    """The second use is told from a wrong secret (EM-07)."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


@pytest.mark.parametrize(
    "wrong", ["", "ots_", tokens.mint("ots_"), "\ud800", "x" * 10_000], ids=range(5)
)
def test_a_wrong_secret_burns_nothing(env, alice, wrong):
    """The pending one is good for as long as before."""
    secret = _issue(env, alice)
    for act in (redeem_secret, read_secret):
        with pytest.raises(SecretInvalid):
            env.act(act, CHANGE, wrong)
    env.act(redeem_secret, CHANGE, secret)


@pytest.mark.parametrize("act", [redeem_secret, read_secret])
@pytest.mark.parametrize(
    ("made", "tried"), [(one, other) for one in PURPOSES for other in PURPOSES if one != other]
)
def test_a_secret_is_good_for_its_own_purpose_only(env, alice, act, made, tried):
    """EM-08: at another door it is unknown, and it is not burned there (CVE-2026-105785)."""
    secret = _issue(env, alice, made)
    with pytest.raises(SecretInvalid):
        env.act(act, tried, secret)
    env.act(redeem_secret, made, secret)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_secret_is_good_at_the_last_second(env, alice, clock, purpose):
    """EM-05: at 23:59:59 it is good, and a reset at 59:59."""
    secret = _issue(env, alice, purpose)
    clock.now += LASTS[purpose] - timedelta(seconds=1)
    env.act(read_secret, purpose, secret)
    env.act(redeem_secret, purpose, secret)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_secret_is_over_after_its_time(env, alice, clock, purpose):
    """EM-05: at 24:00:00 it is not, and no clean-up was needed for that (GO-2025-4136)."""
    secret = _issue(env, alice, purpose)
    clock.now += LASTS[purpose]
    for act in (read_secret, redeem_secret):
        with pytest.raises(SecretExpired):
            env.act(act, purpose, secret)


def test_reading_a_secret_does_not_use_it_up(env, alice):
    """EM-11: whatever looks at a mailed link before its reader does leaves it good."""
    secret = _issue(env, alice)
    for _ in range(3):
        row = env.act(read_secret, CHANGE, secret)
        assert (row.user_id, row.address) == (alice.user_id, "new@example.com")
    env.act(redeem_secret, CHANGE, secret)


def test_reading_says_why_a_secret_is_no_longer_good(env, alice):
    """EM-07, EM-09: as burning does."""
    superseded, used = _issue(env, alice), _issue(env, alice)
    env.act(redeem_secret, CHANGE, used)
    with pytest.raises(SecretSuperseded):
        env.act(read_secret, CHANGE, superseded)
    with pytest.raises(SecretUsed):
        env.act(read_secret, CHANGE, used)


def test_a_used_secret_stays_used_after_its_time(env, alice, clock):
    """What is said of a secret does not change with the time."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    clock.move(days=2)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


def test_a_secret_cannot_be_without_an_end(env, alice):
    """There is no null that could be taken for ever (EM-06)."""
    _issue(env, alice)
    with pytest.raises(IntegrityError):
        env.execute("UPDATE one_time_secret SET expires_at = NULL")


@pytest.mark.only_on("sqlite")  # PostgreSQL takes no garbage for a moment
@pytest.mark.parametrize("garbage", ["", "0", "never", "9999999999"])
def test_an_end_that_cannot_be_read_opens_nothing(env, alice, garbage):
    """A secret whose end is garbage is not used up, whatever comes of it (EM-06)."""
    secret = _issue(env, alice)
    env.execute("UPDATE one_time_secret SET expires_at = ?", garbage)
    with pytest.raises((ValueError, TypeError)):
        env.act(redeem_secret, CHANGE, secret)
    assert env.rows("one_time_secret")[0]["used_at"] is None


def test_a_later_request_supersedes_an_earlier_one(env, alice):
    """Only the last secret is good (EM-09)."""
    earlier, later = _issue(env, alice), _issue(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(redeem_secret, CHANGE, earlier)
    env.act(redeem_secret, CHANGE, later)


def test_superseding_keeps_to_its_user_and_purpose(env, alice, bob):
    """Nobody ends a secret of somebody else, or of another purpose (EM-08)."""
    kept = [(CHANGE, _issue(env, bob)), (VERIFICATION, _issue(env, alice, VERIFICATION))]
    env.act(supersede_secrets, CHANGE, alice.user_id)
    for purpose, secret in kept:
        env.act(redeem_secret, purpose, secret)


def test_a_used_secret_is_not_superseded(env, alice):
    """It is told as used, which it was first."""
    secret = _issue(env, alice)
    env.act(redeem_secret, CHANGE, secret)
    _issue(env, alice)
    with pytest.raises(SecretUsed):
        env.act(redeem_secret, CHANGE, secret)


def test_a_secret_is_superseded_in_the_transaction_that_made_it(env, alice):
    """Rows that are not written yet are written before they are looked for."""
    with env.database.transaction(writing=True) as session:
        secret = issue_secret(session, CHANGE, alice.user_id, ADDRESS)
        issue_secret(session, CHANGE, alice.user_id, ADDRESS)
        with pytest.raises(SecretSuperseded):
            redeem_secret(session, CHANGE, secret)


def test_what_is_pending_is_found_until_it_is_used_over_or_superseded(env, alice, clock):
    """The row is found, and the secret is not in it."""
    assert env.act(find_pending_address, CHANGE, alice.user_id) is None
    secret = _issue(env, alice)
    assert env.act(find_pending_address, CHANGE, alice.user_id) == "new@example.com"
    assert env.act(find_pending_address, VERIFICATION, alice.user_id) is None
    env.act(redeem_secret, CHANGE, secret)
    assert env.act(find_pending_address, CHANGE, alice.user_id) is None
    _issue(env, alice)
    clock.move(seconds=DAY)
    assert env.act(find_pending_address, CHANGE, alice.user_id) is None


def test_of_four_racers_with_one_secret_one_wins(env, alice, bob):
    """50 secrets with four racers each are burned 50 times (EM-07)."""
    residents = [alice, bob]
    racers, rounds = 4, 50
    for number in range(rounds):
        secret = _issue(env, residents[number % 2])
        ready = threading.Barrier(racers)

        def race(_, secret=secret, ready=ready):
            ready.wait(30)
            try:
                env.act(redeem_secret, CHANGE, secret)
            except SecretUsed:
                return 0
            return 1

        with ThreadPoolExecutor(racers) as threads:
            assert sum(threads.map(race, range(racers))) == 1
    used = [row for row in env.rows("one_time_secret") if row["used_at"] is not None]
    assert len(used) == rounds


def test_a_second_undo_leaves_the_first(env, alice):
    """EM-09: else whoever changes an address twice takes from its owner what undoes the first."""
    first = _issue(env, alice, SecretPurpose.EMAIL_UNDO)
    second = _issue(env, alice, SecretPurpose.EMAIL_UNDO)
    for secret in (first, second):
        env.act(redeem_secret, SecretPurpose.EMAIL_UNDO, secret)


def test_a_true_secret_is_found_after_its_time(env, alice, clock):
    """For whoever asks for another; a wrong one, or one of another purpose, is not."""
    secret = _issue(env, alice)
    clock.move(days=8)
    assert env.act(find_secret, CHANGE, secret).user_id == alice.user_id
    for purpose, wrong in ((SecretPurpose.EMAIL_UNDO, secret), (CHANGE, tokens.mint("ots_"))):
        with pytest.raises(SecretInvalid):
            env.act(find_secret, purpose, wrong)


def test_a_secret_tells_whose_language_to_speak(env, alice):
    """A wrong one tells nothing."""
    secret = _issue(env, alice)
    assert env.act(find_locale, CHANGE, secret) is None
    env.act(change_profile, alice.view, {"locale": "de-AT"})
    assert env.act(find_locale, CHANGE, secret) == "de-AT"
    assert env.act(find_locale, CHANGE, tokens.mint("ots_")) is None
