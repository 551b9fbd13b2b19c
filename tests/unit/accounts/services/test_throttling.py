"""Rate limits of attempts at secrets."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from math import ceil

import bcrypt
import pytest
from sqlalchemy.exc import DBAPIError

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidClient, InvalidCredentials, TooManyAttempts, WrongPassword
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.password.password_change import change_password
from accounts.flows.password.password_reset import reset_password
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.principal import CredentialKind
from accounts.services.rate_limits import consume, delete_old_attempts
from accounts.services.throttling import (
    RateLimitScope,
    Writer,
    consume_for_source,
    consume_mail,
    consume_write,
    record_session_sources,
    refund_attempt,
    reserve_attempt,
)
from accounts.values.email_address import parse_address
from handlers import hantera, ipto, jitsudo, scaikey
from handlers.context import UserContext
from oneself.database import is_database_unavailable
from tests.support.deadlines import patient
from tests.support.statements import record_statements

SOURCE, OTHER_SOURCE = "192.0.2.1", "198.51.100.7"
WRONG = "Wrong"
NEW_PASSWORD = "Silent meadow 83 lantern"
PLENTY = RateLimit(9_999_999, 60)


def _act(env, act, *arguments, source=SOURCE, **options):
    """Run an act in a writing transaction, as a request from an address does."""
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        return act(session, *arguments, **options)


def _reserve(env, account="alice@example.com", source=SOURCE, scope=RateLimitScope.PASSWORD):
    return _act(env, reserve_attempt, scope, account, source=source)


def _log_in(env, *, email="alice@example.com", password=WRONG, source=SOURCE):
    return _act(env, log_in, email=email, password=password, user_agent=None, source=source)


def _fail(env, times, **options):
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            _log_in(env, **options)


def _consume_all(env, budget):
    """Return the number of attempts that pass now, and the first refusal."""
    with env.database.transaction(writing=True) as session:
        return _count_passing(lambda: consume(session, "anything", budget, "a policy"), most=2000)


def _flood(env, account="alice@example.com"):
    """Use up the attempts of an account, each from another source."""
    sources = _sources()
    with env.database.transaction(writing=True) as session:

        def attempt():
            session.origin = Origin(address=next(sources))
            reserve_attempt(session, RateLimitScope.PASSWORD, account)

        return _count_passing(attempt)


def _count_passing(attempt, most=1000):
    """Return the number of attempts that pass now, and the first refusal."""
    for number in range(most):
        try:
            attempt()
        except TooManyAttempts as refusal:
            return number, refusal
    raise AssertionError


def _sources():
    """Yield addresses of different networks."""
    return (f"10.{high}.{middle}.1" for high in range(256) for middle in range(256))


def _counters(env):
    """Return the stored counters by their digests."""
    return {row["name_digest"]: row for row in env.rows("attempt_budget")}


@pytest.fixture
def bcrypt_calls(monkeypatch):
    """The calls of bcrypt from now on; request this fixture before any other that patches it."""
    calls = []
    for name in ("checkpw", "hashpw"):
        original = getattr(bcrypt, name)
        monkeypatch.setattr(
            bcrypt,
            name,
            lambda *arguments, original=original: calls.append(arguments) or original(*arguments),
        )
    return calls


# The algorithm: a burst of attempts, refilled evenly.


@pytest.mark.parametrize(
    "budget",
    [
        RateLimit(5, 300),
        RateLimit(1, 60),
        RateLimit(7, 10),
        RateLimit(100, 600),
        RateLimit(50, 3600),
    ],
)
def test_limit_allows_exactly_its_burst(env, budget):
    """LG-04: the refusal has the policy and the time of the next attempt."""
    passed, refusal = _consume_all(env, budget)
    assert passed == budget.attempts
    assert (refusal.policy, refusal.quota, refusal.window) == ("a policy", *budget)
    assert refusal.retry_after == ceil(budget.seconds / budget.attempts)


@pytest.mark.parametrize("budget", [RateLimit(600, 1), RateLimit(1001, 1)])
def test_limit_with_many_attempts_a_second_is_not_exceeded(env, budget):
    """LG-04: counting in whole milliseconds does not allow more attempts."""
    passed, _ = _consume_all(env, budget)
    assert passed <= budget.attempts


def test_one_attempt_is_refilled_after_the_interval(env, clock):
    """LG-09: attempts are refilled one by one, at the time that the refusal states."""
    _consume_all(env, RateLimit(5, 300))
    clock.move(seconds=59.999)
    passed, refusal = _consume_all(env, RateLimit(5, 300))
    assert (passed, refusal.retry_after) == (0, 1)
    clock.move(milliseconds=1)
    passed, refusal = _consume_all(env, RateLimit(5, 300))
    assert (passed, refusal.retry_after) == (1, 60)


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (60, 1), (119, 1), (240, 4), (300, 5)])
def test_attempts_are_refilled_evenly(env, clock, seconds, expected):
    """LG-05: after the whole period the limit is fully replenished."""
    _consume_all(env, RateLimit(5, 300))
    clock.move(seconds=seconds)
    assert _consume_all(env, RateLimit(5, 300))[0] == expected


def test_long_pause_refills_no_more_than_the_limit(env, clock):
    """LG-05: unused attempts do not accumulate."""
    _consume_all(env, RateLimit(5, 300))
    clock.move(days=400)
    assert _consume_all(env, RateLimit(5, 300))[0] == 5


def test_retry_after_is_sufficient(env, clock):
    """LG-12: at any time within the interval."""
    for milliseconds in (0, 1, 437, 999, 1000, 1999):
        clock.move(milliseconds=milliseconds)
        _, refusal = _consume_all(env, RateLimit(7, 10))
        assert refusal.retry_after >= 1
        clock.move(seconds=refusal.retry_after)
        passed, _ = _consume_all(env, RateLimit(7, 10))
        assert passed > 0


# Refused attempts


@pytest.mark.usefixtures("alice")
def test_refused_attempts_do_not_extend_the_wait(env, clock):
    """LG-09: continued attempts do not delay the next one."""
    _fail(env, 5)
    rows_before = env.rows("attempt_budget")
    for _ in range(119):
        clock.move(seconds=0.5)
        with pytest.raises(TooManyAttempts):
            _log_in(env)
    assert env.rows("attempt_budget") == rows_before
    clock.move(seconds=0.5)
    _fail(env, 1)


def test_refused_attempts_cost_no_hash(env, alice, bcrypt_calls):
    """LG-09: not even for the right password."""
    _fail(env, 5)
    assert len(bcrypt_calls) == 5
    for password in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _log_in(env, password=password)
        with pytest.raises(TooManyAttempts):
            _act(env, change_password, alice.principal, current=password, new=NEW_PASSWORD)
    assert len(bcrypt_calls) == 5


def test_attempt_refused_by_one_limit_is_counted_by_none(env):
    """LG-09: a refusal by one limit does not count towards another."""
    for _ in range(5):
        _reserve(env)
    counters_before = _counters(env)
    with pytest.raises(TooManyAttempts) as caught:
        _reserve(env)
    assert caught.value.policy == "account-source"
    assert _counters(env) == counters_before


# Concurrency


def test_concurrent_attempts_do_not_exceed_the_limit(env):
    """LG-04: over as many connections as threads (GHSA-7h8m-vrxx-vr4m)."""
    ready = threading.Barrier(10)

    def attempts(_):
        ready.wait(patient(30))
        return [_count_passing(lambda: _reserve(env), most=6)[0] for _ in range(5)]

    with ThreadPoolExecutor(10) as threads:
        passed = [number for counts in threads.map(attempts, range(10)) for number in counts]
    assert (len(passed), sum(passed)) == (50, 5)


@pytest.mark.usefixtures("alice")
def test_concurrent_logins_do_not_exceed_the_limit_of_hashes(env, bcrypt_calls):
    """LG-04: an attempt is counted before its hash, not after it fails."""
    barrier = threading.Barrier(5)
    original = bcrypt.checkpw

    def wait_for_the_others(*arguments):
        # All five are inside bcrypt at once: none has failed yet when the others start.
        barrier.wait(patient(30))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(10) as threads:
        patch.setattr(bcrypt, "checkpw", wait_for_the_others)
        outcomes = [threads.submit(_log_in, env) for _ in range(50)]
        kinds = [type(outcome.exception(60)) for outcome in outcomes]
    assert (kinds.count(InvalidCredentials), kinds.count(TooManyAttempts)) == (5, 45)
    assert len(bcrypt_calls) == 5


# Success


def test_success_replenishes_the_account_and_source_limit(env, alice):
    """LG-17: after four failures and a success there are five attempts again."""
    _fail(env, 4)
    _log_in(env, password=alice.password)
    _fail(env, 5)


def test_success_refunds_one_attempt_of_account_and_source(make_env):
    """LG-17: failures of other accounts and other sources stay counted."""
    env = make_env(account_budget=RateLimit(10, 3600), source_budget=RateLimit(20, 600))
    alice = env.user("alice@example.com")
    # Three at the account from other sources, four at other accounts from this one.
    for source, _ in zip(_sources(), range(3), strict=False):
        _fail(env, 1, source=source)
    _fail(env, 4, email="ghost@example.com")
    _log_in(env, password=alice.password)
    sources = _sources()
    assert _count_passing(lambda: _reserve(env, alice.user_id, next(sources)))[0] == 10 - 3
    ghosts = iter(range(100))
    assert _count_passing(lambda: _reserve(env, f"ghost{next(ghosts)}"))[0] == 20 - 4


def test_success_at_one_account_refunds_nothing_at_another(env, alice, bob):
    """LG-17: Bob's success between two attacks leaves Alice's limit as it was."""
    _fail(env, 3)
    for _ in range(10):
        _log_in(env, email=bob.view.email, password=bob.password)
    _fail(env, 2)
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)


def test_successes_do_not_offset_failures_of_the_source(make_env):
    """LG-17: a source that alternates between its own account and others is still limited."""
    env = make_env(source_budget=RateLimit(10, 600))
    bob = env.user("bob@example.org")
    victims = (f"victim{number}@example.com" for number in range(100))

    def attempt():
        _log_in(env, email=bob.view.email, password=bob.password)
        _fail(env, 1, email=next(victims))

    failures, refusal = _count_passing(attempt)
    assert (failures, refusal.policy) == (10, "source")


def test_late_refund_does_not_exceed_the_limit(make_env):
    """LG-17: after a slow hash, time has refilled the attempt already."""
    env = make_env(source_budget=RateLimit(5, 10), account_and_source_budget=PLENTY)
    reservation = _reserve(env)
    env.clock.move(hours=1)
    _act(env, refund_attempt, reservation)
    ghosts = iter(range(100))
    assert _count_passing(lambda: _reserve(env, f"ghost{next(ghosts)}"))[0] == 5


def test_password_change_refunds_its_attempt(env, alice):
    """PW-11: users can change their password repeatedly."""
    current = alice.password
    for number in range(7):
        new = f"Silent meadow {number} lantern"
        _act(env, change_password, alice.principal, current=current, new=new)
        current = new


# Accounts and sources


def test_unknown_account_is_limited_like_a_known_one(env, alice, clock):
    """LG-08: with the same refusals and times, which do not reveal accounts."""

    def curve(email, source):
        refusals = []
        for seconds in (0, 0, 0, 1, 0, 0, 30, 0, 29, 0, 60, 0, 300, 0, 0):
            clock.move(seconds=seconds)
            try:
                _log_in(env, email=email, source=source)
            except TooManyAttempts as refusal:
                refusals.append((refusal.policy, refusal.retry_after))
            except InvalidCredentials:
                refusals.append(None)
        return refusals

    known_curve = curve(alice.view.email, SOURCE)
    assert known_curve == curve("ghost@example.com", OTHER_SOURCE)
    assert None in known_curve
    assert len(set(known_curve)) > 3


def test_limited_address_can_sign_up(env, clock):
    """LG-08: attempts at an unknown address do not block its signup."""
    _fail(env, 5, email="carol@example.net")
    _act(
        env,
        sign_up,
        email="carol@example.net",
        password=NEW_PASSWORD,
        display_name="Carol",
        tenant_name="Carol's",
        user_agent=None,
    )
    _fail(env, 5, email="carol@example.net")
    with pytest.raises(TooManyAttempts):
        _log_in(env, email="carol@example.net", password=NEW_PASSWORD)
    _log_in(env, email="carol@example.net", password=NEW_PASSWORD, source=OTHER_SOURCE)
    clock.move(minutes=1)
    _log_in(env, email="carol@example.net", password=NEW_PASSWORD)


def test_changed_address_keeps_its_limit(env, alice):
    """LG-05, PW-11: otherwise a session could reset the limit by changing the address."""
    _fail(env, 5)
    _, secret = _act(env, request_email_change, alice.view, "other@example.net")
    # As if the service had mailed it, so that the new address logs in.
    env.execute("UPDATE one_time_secret SET is_mailed = true")
    _act(env, validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    with pytest.raises(TooManyAttempts):
        _log_in(env, email="other@example.net", password=alice.password)
    alice = alice.principal._replace(user=env.view(alice.user_id))
    with pytest.raises(TooManyAttempts):
        _act(env, change_password, alice, current=WRONG, new=NEW_PASSWORD)


@pytest.mark.parametrize(
    ("first_spelling", "second_spelling"),
    [
        ("alice@example.com", "ALICE@Example.COM"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@bücher.example", "Alice@BU\u0308CHER.example"),
        ("alice@bücher.example", "alice@bu\u0308cher。example"),
    ],
)
def test_spellings_of_an_address_share_a_limit(env, first_spelling, second_spelling):
    """LG-07: another spelling is not another account."""
    _fail(env, 3, email=first_spelling)
    _fail(env, 2, email=second_spelling)
    for email in (first_spelling, second_spelling):
        with pytest.raises(TooManyAttempts):
            _log_in(env, email=email)


@pytest.mark.parametrize("other_address", ["alice+home@example.com", "a.lice@example.com"])
def test_similar_addresses_have_separate_limits(env, alice, other_address):
    """LG-07: addresses that some providers merge can belong to two people elsewhere."""
    _fail(env, 5, email=other_address)
    _log_in(env, password=alice.password)


@pytest.mark.parametrize(
    "email", [" alice@example.com", "alice@example.com ", "alice@example.com\n"]
)
def test_address_with_white_space_does_not_bypass_the_limit(env, alice, email):
    """LG-07: an address with white space matches no account, and no password is checked."""
    _fail(env, 5, email=email, password=alice.password)
    with pytest.raises(TooManyAttempts):
        _log_in(env, email=email, password=alice.password)


def _check_at_login(session, alice, password):
    log_in(session, email=alice.view.email, password=password, user_agent=None)


def _context(session, alice):
    return UserContext(service=None, read_exchange=None, session=session, principal=alice.principal)


def _check_at_ipto(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    ipto.change_password(_context(session, alice), body)


def _check_at_scaikey(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    scaikey.change_password(_context(session, alice), body)


def _check_at_hantera(session, alice, password):
    body = {"currentPassword": password, "newPassword": NEW_PASSWORD}
    hantera.change_password(_context(session, alice), body)


def _check_at_jitsudo(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    jitsudo.change_password(_context(session, alice), alice.view.tenant_uuid, body)


CHECKS = (_check_at_login, _check_at_ipto, _check_at_scaikey, _check_at_hantera, _check_at_jitsudo)


@pytest.mark.parametrize("last_check", CHECKS)
def test_all_password_checks_share_a_limit(env, alice, bob, last_check, bcrypt_calls):
    """PW-11: one wrong password at each, and then the right one is not checked (CVE-2026-43914)."""
    for check in CHECKS:
        with pytest.raises((InvalidCredentials, WrongPassword)):
            _act(env, check, alice, "Wrong")
    bcrypt_calls.clear()
    for password in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _act(env, last_check, alice, password)
    assert bcrypt_calls == []
    # Another user, another source and a later time are not affected.
    _act(env, _check_at_scaikey, bob, bob.password)
    env.clock.move(minutes=1)
    _act(env, last_check, alice, alice.password)


def test_scopes_have_separate_limits(make_env):
    """LG-17: of the same name and source, in all three limits."""
    five = RateLimit(5, 300)
    env = make_env(account_and_source_budget=five, account_budget=five, source_budget=five)
    for scope in RateLimitScope:
        assert _count_passing(lambda scope=scope: _reserve(env, scope=scope))[0] == 5
    sources = _sources()
    assert _count_passing(lambda: _reserve(env, "bob@example.org", next(sources)))[0] == 5
    assert (
        _count_passing(
            lambda: _reserve(env, "bob@example.org", OTHER_SOURCE, RateLimitScope.CLIENT)
        )[0]
        == 5
    )


def test_client_secrets_have_their_own_limit(env, alice):
    """LG-04: it is limited too, but does not block the account."""
    client, secret = env.client(alice.view.tenant_id)
    wrong = tokens.mint(tokens.CLIENT_SECRET)
    for _ in range(5):
        with pytest.raises(InvalidClient):
            _act(env, authenticate_client, ClientCredentials(client.id, wrong))
    with pytest.raises(TooManyAttempts):
        _act(env, authenticate_client, ClientCredentials(client.id, secret))
    _log_in(env, password=alice.password)


@pytest.mark.parametrize(
    ("first_source", "second_source", "shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        (None, None, True),
        (None, "192.0.2.1", False),
    ],
)
def test_source_is_an_ipv4_address_or_an_ipv6_64_network(env, first_source, second_source, shared):
    """LG-10: the addresses of one customer are one source."""
    for _ in range(5):
        _reserve(env, source=first_source)
    passed, _ = _count_passing(lambda: _reserve(env, source=second_source))
    assert passed == (0 if shared else 5)


def test_source_limit_covers_all_accounts(env, clock):
    """LG-04: one password tried at many accounts is an attack too."""
    accounts = iter(range(1000))
    passed, refusal = _count_passing(lambda: _reserve(env, f"user{next(accounts)}@example.com"))
    assert (passed, refusal.policy, refusal.retry_after) == (100, "source", 6)
    clock.move(seconds=6)
    assert _count_passing(lambda: _reserve(env, f"user{next(accounts)}@example.com"))[0] == 1


def test_signup_limit_is_per_source(env):
    """LG-10: other sources are not affected."""
    for source in (SOURCE, OTHER_SOURCE):
        passed, refusal = _count_passing(
            lambda source=source: _act(
                env, consume_for_source, RateLimitScope.SIGNUP, RateLimit(3, 60), source=source
            )
        )
        assert (passed, refusal.policy) == (3, "signup")


def test_mails_are_limited_by_address_and_purpose(env):
    """EM-14: from all sources together; other purposes and addresses count separately."""
    sources = _sources()

    def mail(address, about):
        return _count_passing(
            lambda: _act(env, consume_mail, address, about, source=next(sources)), most=20
        )

    passed, refusal = mail("alice@example.com", "a reset")
    assert (passed, refusal.policy, refusal.retry_after) == (5, "mail", 720)
    assert mail("alice@example.com", "a change")[0] == 5
    assert mail("bob@example.org", "a reset")[0] == 5


def test_mails_are_limited_by_source(make_env):
    """EM-14: over all addresses."""
    env = make_env(source_budget=RateLimit(7, 60))
    addresses = (f"user{number}@example.com" for number in range(100))
    passed, refusal = _count_passing(lambda: _act(env, consume_mail, next(addresses), "a reset"))
    assert (passed, refusal.policy) == (7, "mail")


# Neither lockout nor unlimited guessing


def test_distributed_attack_does_not_lock_out_familiar_sources(env, alice, clock):
    """LG-06: the account's limit is used up for days, but does not apply to familiar sources."""
    _log_in(env, password=alice.password)
    for _ in range(5):
        assert _flood(env, alice.user_id)[1].policy == "account"
        with pytest.raises(TooManyAttempts) as caught:
            _log_in(env, password=alice.password, source=OTHER_SOURCE)
        assert caught.value.policy == "account"
        _fail(env, 1)
        _log_in(env, password=alice.password)
        clock.move(hours=1)


def test_familiar_source_has_the_same_limit(env, alice):
    """LG-06: it is exempt from the limit of the account, not from its own."""
    _log_in(env, password=alice.password)
    assert _count_passing(lambda: _reserve(env, alice.user_id))[0] == 5


def test_source_is_familiar_per_account(env, alice, bob):
    """LG-06: an attacker's source is familiar to the attacker's account only."""
    _flood(env, alice.user_id)
    _log_in(env, email=bob.view.email, password=bob.password, source=OTHER_SOURCE)
    with pytest.raises(TooManyAttempts) as caught:
        _log_in(env, password=alice.password, source=OTHER_SOURCE)
    assert caught.value.policy == "account"


def test_source_stays_familiar_for_thirty_days(env, alice, clock):
    """LG-06: after that it is unfamiliar again."""
    _log_in(env, password=alice.password)
    clock.move(days=29)
    _log_in(env, password=alice.password)
    clock.move(days=30)
    assert _reserve(env, alice.user_id).shared == ()
    clock.move(milliseconds=1)
    assert _reserve(env, alice.user_id).shared != ()


def test_failures_do_not_make_a_source_familiar(env, alice):
    """LG-06: only a success does."""
    _fail(env, 2)
    assert _reserve(env, alice.user_id).shared != ()


@pytest.mark.parametrize("attempts_a_source", [1, 5])
def test_fewer_than_a_hundred_failures_pass_without_delay(env, clock, attempts_a_source):
    """LG-05: four days of guessing from any number of sources (SP 800-63B, 3.2.2)."""
    sources = (source for source in _sources() for _ in range(attempts_a_source))
    start, passed_at, refused_by = clock.now, [], set()
    with env.database.transaction(writing=True) as session:
        while clock.now - start < timedelta(days=4):
            session.now, session.origin = clock.now, Origin(address=next(sources))
            try:
                reserve_attempt(session, RateLimitScope.PASSWORD, "alice@example.com")
            except TooManyAttempts as refusal:
                refused_by.add(refusal.policy)
                clock.move(seconds=refusal.retry_after)
            else:
                passed_at.append(clock.now)
    # After the first ones each waits for more than a minute, for ever.
    waits = [second - first for first, second in pairwise(passed_at)]
    assert refused_by == {"account"}
    assert waits.count(timedelta()) < 100
    assert set(waits) == {timedelta(), timedelta(seconds=72)}
    assert len(passed_at) <= 50 + 4 * 24 * 50


# Limits that do not punish the victim


def _exhaust_source(env, source=SOURCE):
    """Use up the limit of a source, at accounts that do not exist."""
    ghosts = iter(range(1000))
    refusal = _count_passing(lambda: _reserve(env, f"ghost{next(ghosts)}", source))[1]
    assert refusal.policy == "source"


def _change_password(env, user, *, source, current=WRONG, principal=None):
    principal = principal or user.principal
    _act(env, change_password, principal, current=current, new=NEW_PASSWORD, source=source)


def _use_session(env, user, source):
    """Record that the session of a user was used from an address."""
    env.act(record_session_sources, {user.principal.credential.id: (user.user_id, source)})


def test_client_is_not_locked_out_by_other_sources(env, alice):
    """LG-06, attack finding 5: a client's id is public, and its secret cannot be guessed."""
    client, secret = env.client(alice.view.tenant_id)
    wrong = tokens.mint(tokens.CLIENT_SECRET)
    for source, _ in zip(_sources(), range(60), strict=False):
        with pytest.raises(InvalidClient):
            _act(env, authenticate_client, ClientCredentials(client.id, wrong), source=source)
    _act(env, authenticate_client, ClientCredentials(client.id, secret), source=OTHER_SOURCE)


def test_client_secrets_are_still_limited_by_source(env):
    """LG-04, attack finding 5: over all clients."""
    wrong = tokens.mint(tokens.CLIENT_SECRET)
    ids = (f"cli_{number:012x}" for number in range(1000))

    def attempt():
        with pytest.raises(InvalidClient):
            _act(env, authenticate_client, ClientCredentials(next(ids), wrong))

    passed, refusal = _count_passing(attempt)
    assert (passed, refusal.policy) == (100, "source")


def test_known_source_passes_the_limit_that_others_there_used_up(env, alice):
    """LG-06, attack finding 7: behind a shared address, known users can log in."""
    _log_in(env, password=alice.password)
    _exhaust_source(env)
    _fail(env, 1)
    _log_in(env, password=alice.password)
    # Its own limit still holds.
    _fail(env, 5)
    with pytest.raises(TooManyAttempts) as caught:
        _log_in(env, password=alice.password)
    assert caught.value.policy == "account-source"


def test_exhausted_source_refuses_users_who_are_unknown_there(env, alice, bob):
    """LG-17, attack finding 7: an account of one's own allows no attempts at another."""
    _log_in(env, email=bob.view.email, password=bob.password)
    _exhaust_source(env)
    _log_in(env, email=bob.view.email, password=bob.password)
    for email in (alice.view.email, "ghost@example.com"):
        with pytest.raises(TooManyAttempts) as caught:
            _log_in(env, email=email, password=alice.password)
        assert caught.value.policy == "source"


def test_signup_makes_its_source_known(env):
    """LG-06, attack finding 6: also before the first login."""
    opened = _act(
        env,
        sign_up,
        email="carol@example.net",
        password=NEW_PASSWORD,
        display_name="Carol",
        tenant_name="Carol's",
        user_agent=None,
    )
    _flood(env, opened.user.user_id)
    _exhaust_source(env)
    _log_in(env, email="carol@example.net", password=NEW_PASSWORD)
    with pytest.raises(TooManyAttempts):
        _log_in(env, email="carol@example.net", password=NEW_PASSWORD, source=OTHER_SOURCE)


def test_reset_makes_its_source_known_and_clears_the_account(env, alice):
    """LG-06, attack finding 6: after it the owner can log in, from there and from elsewhere."""
    assert _flood(env, alice.user_id)[1].policy == "account"
    _exhaust_source(env)
    address = parse_address(alice.view.email)
    secret = env.act(issue_secret, SecretPurpose.PASSWORD_RESET, alice.user_id, address)
    _act(env, reset_password, secret=secret, new=NEW_PASSWORD)
    _log_in(env, password=NEW_PASSWORD)
    _log_in(env, password=NEW_PASSWORD, source=OTHER_SOURCE)


def test_password_change_makes_its_source_known(env, alice):
    """LG-06, attack finding 6."""
    _change_password(env, alice, source=SOURCE, current=alice.password)
    _flood(env, alice.user_id)
    _exhaust_source(env)
    _log_in(env, password=NEW_PASSWORD)


def test_password_change_is_not_refused_by_limits_that_others_used_up(env, alice):
    """LG-06, attack finding 6: in a live session, from a source that is new."""
    assert _flood(env, alice.user_id)[1].policy == "account"
    _exhaust_source(env)
    _change_password(env, alice, source=SOURCE, current=alice.password)


def test_password_change_is_limited_by_session(env, alice):
    """LG-05, attack finding 6: a stolen session guesses no more often from many sources."""
    sources = _sources()

    def attempt():
        with pytest.raises(WrongPassword):
            _change_password(env, alice, source=next(sources))

    passed, refusal = _count_passing(attempt)
    assert (passed, refusal.policy) == (5, "session")


def test_source_of_a_live_session_is_known(env, alice, clock):
    """LG-06, attack finding 6: until the session ends or is used from another source."""
    _flood(env, alice.user_id)
    _exhaust_source(env)
    _use_session(env, alice, SOURCE)
    _fail(env, 1)
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password, source=OTHER_SOURCE)
    _use_session(env, alice, OTHER_SOURCE)
    with pytest.raises(TooManyAttempts) as caught:
        _fail(env, 1)
    assert caught.value.policy == "source"
    _use_session(env, alice, SOURCE)
    clock.move(days=30)
    _flood(env, alice.user_id)
    _exhaust_source(env)
    with pytest.raises(TooManyAttempts):
        _fail(env, 1)


@pytest.mark.usefixtures("bob")
def test_source_of_a_session_is_known_to_its_user_only(env, alice):
    """LG-17: a session of one's own allows no attempts at another account."""
    _use_session(env, alice, SOURCE)
    _exhaust_source(env)
    with pytest.raises(TooManyAttempts):
        _fail(env, 1, email="bob@example.org")
    _log_in(env, password=alice.password)


def test_session_used_from_many_sources_allows_no_more_attempts(env, alice):
    """LG-05: otherwise a stolen session could make any number of sources known."""
    sources = _sources()
    _flood(env, alice.user_id)

    def attempt():
        source = next(sources)
        _use_session(env, alice, source)
        _fail(env, 1, source=source)

    passed, refusal = _count_passing(attempt)
    assert (passed, refusal.policy) == (5, "session")


def test_unknown_and_existing_accounts_cost_the_same_statements(env, alice):
    """LG-02, LG-08: from a source that neither is known from, also at its limit."""

    with env.database.transaction(writing=False) as session:
        dialect = session.core.dialect.name

    def statements(email):
        with record_statements(dialect) as recorded, pytest.raises(TooManyAttempts):
            _log_in(env, email=email)
        return [each.statement for each in recorded]

    def reservation(account):
        with record_statements(dialect) as recorded:
            _reserve(env, account)
        return [each.statement for each in recorded]

    assert reservation(alice.user_id) == reservation("ghost@example.com")
    _exhaust_source(env)
    assert statements(alice.view.email) == statements("ghost@example.com")


def test_networks_of_a_site_share_a_limit(make_env):
    """LG-10, attack finding 19: 65,536 networks of one site are not 65,536 limits."""
    env = make_env(source_budget=RateLimit(2, 600))
    networks = (f"2001:db8:7:{number:x}::1" for number in range(1, 1000))
    ghosts = iter(range(1000))
    passed, refusal = _count_passing(lambda: _reserve(env, f"ghost{next(ghosts)}", next(networks)))
    assert (passed, refusal.policy, refusal.quota) == (20, "source", 20)
    _reserve(env, "ghost", "2001:db8:8:1::1")
    passed, _ = _count_passing(
        lambda: _act(
            env, consume_for_source, RateLimitScope.SIGNUP, RateLimit(1, 60), source=next(networks)
        )
    )
    assert passed == 10


# Writes


def test_writes_are_limited_by_class_of_credential(make_env, alice):
    """LG-18, attack finding 8: a stolen token does not keep the owner's sessions from writing."""
    env = make_env(write_budget=RateLimit(3, 60), idempotency_budget=RateLimit(2, 60))
    for writer in Writer:
        passed, refusal = _count_passing(
            lambda writer=writer: _act(env, consume_write, writer, "u")
        )
        assert (passed, refusal.policy, refusal.retry_after) == (3, "write", 20)
    passed, refusal = _count_passing(
        lambda: _act(env, consume_write, Writer.TOKEN, "u", keeps_response=True)
    )
    assert (passed, refusal.policy) == (2, "idempotency")
    _act(env, consume_write, Writer.TOKEN, alice.user_id)


def test_classes_of_writers():
    """LG-18: a JWT is as strong as its session; other tokens are one class."""
    classes = {kind: Writer.of(kind) for kind in CredentialKind}
    sessions = {kind for kind, writer in classes.items() if writer is Writer.SESSION}
    assert sessions == {CredentialKind.SESSION, CredentialKind.JWT}
    assert {classes[kind] for kind in CredentialKind if kind not in sessions} == {Writer.TOKEN}


def test_logins_are_limited(make_env):
    """LG-18, attack finding 8: each of them adds rows."""
    env = make_env(write_budget=RateLimit(3, 60))
    alice = env.user("alice@example.com")
    passed, refusal = _count_passing(lambda: _log_in(env, password=alice.password))
    assert (passed, refusal.policy) == (3, "write")


# Storage


def test_stored_counters_reveal_no_accounts_or_sources(env, alice):
    """LG-08, LO-01: typed addresses must not be readable in a copy of the database."""
    _log_in(env, password=alice.password)
    _fail(env, 2, email="ghost@example.com", source="2001:db8::1")
    _fail(env, 1, email="Not An Address", source=OTHER_SOURCE)
    rows = env.rows("attempt_budget")
    assert rows
    dumped = repr(rows).lower()
    for word in (
        "alice",
        "ghost",
        "example",
        "address",
        SOURCE,
        OTHER_SOURCE,
        "2001",
        "source",
        "password",
    ):
        assert word not in dumped
    assert all(len(row["name_digest"]) == 32 for row in rows)


def test_counter_names_are_keyed_digests(env):
    """LG-08: without the root secret, names cannot be tested against a dump."""
    _act(env, consume, "a name", PLENTY, "a policy")
    assert list(_counters(env)) == [env.keys.digest(Purpose.ATTEMPTS, "a name")]


@pytest.mark.parametrize("entry", [*CHECKS, "client", "signup"])
def test_no_secret_is_checked_when_attempts_cannot_be_counted(env, alice, bcrypt_calls, entry):
    """LG-14: the error becomes a 503; no attempt goes uncounted."""
    client, secret = env.client(alice.view.tenant_id)
    env.execute("DROP TABLE attempt_budget")

    def check_client(session, *_):
        authenticate_client(session, ClientCredentials(client.id, secret))

    def check_signup(session, *_):
        sign_up(
            session,
            email="carol@example.net",
            password=NEW_PASSWORD,
            display_name="Carol",
            tenant_name="Carol's",
            user_agent=None,
        )

    check = {"client": check_client, "signup": check_signup}.get(entry, entry)
    with pytest.raises(DBAPIError) as caught:
        _act(env, check, alice, alice.password)
    assert is_database_unavailable(caught.value)
    assert bcrypt_calls == []


def test_failed_refund_opens_no_session(env, alice, during_hashing):
    """LG-14: the database fails between the hash and the end of the login."""
    during_hashing(lambda: env.execute("DROP TABLE attempt_budget"))
    with pytest.raises(DBAPIError) as caught:
        _log_in(env, password=alice.password)
    assert is_database_unavailable(caught.value)
    assert env.count("login_session") == 1


def test_counters_are_deleted_when_their_source_is_unfamiliar(env, alice, clock):
    """LG-06: neither earlier, nor while the counter still limits attempts."""
    _log_in(env, password=alice.password)
    clock.move(days=1)
    _fail(env, 1, email="ghost@example.com", source=OTHER_SOURCE)
    clock.move(days=29)
    assert env.act(delete_old_attempts) == 0
    clock.move(milliseconds=1)
    assert env.act(delete_old_attempts) == 5
    assert env.count("attempt_budget") == 3
    clock.move(days=1)
    assert env.act(delete_old_attempts) == 3
    assert env.count("attempt_budget") == 0


@pytest.mark.parametrize(
    "budget",
    [
        "account_and_source_budget",
        "account_budget",
        "source_budget",
        "signup_budget",
        "mail_budget",
        "write_budget",
        "idempotency_budget",
        "repeated_link_budget",
    ],
)
def test_counters_are_kept_until_replenished(make_env, budget):
    """LG-05: also with a period longer than a source stays familiar."""
    env = make_env(**{budget: RateLimit(1, 5_000_000)}, known_source_lifetime=timedelta(seconds=10))
    _consume_all(env, RateLimit(1, 5_000_000))
    env.clock.move(seconds=5_000_000)
    assert env.act(delete_old_attempts) == 0
    env.clock.move(milliseconds=1)
    assert env.act(delete_old_attempts) == 1
