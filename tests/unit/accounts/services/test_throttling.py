"""Budgets of attempts at the doors that check a secret."""

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
from accounts.flows.clients import ClientCredentials, authenticate_client
from accounts.flows.email_change import request_email_change, validate_email_change
from accounts.flows.password_change import change_password
from accounts.flows.sessions import log_in
from accounts.flows.signup import sign_up
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.throttling import (
    RateLimitScope,
    consume,
    consume_for_source,
    consume_mail,
    delete_old_attempts,
    refund_attempt,
    reserve_attempt,
)
from handlers import hantera, ipto, jitsudo, scaikey
from handlers.context import UserContext
from oneself.database import does_not_answer

HOME, CAFE = "192.0.2.1", "198.51.100.7"
WRONG = "Wrong"
NEW_PASSWORD = "Silent meadow 83 lantern"
PLENTY = RateLimit(9_999_999, 60)


def _act(env, act, *arguments, source=HOME, **named):
    """Run an act as a request from an address does: in a writing transaction."""
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        return act(session, *arguments, **named)


def _reserve(env, account="alice@example.com", source=HOME, door=RateLimitScope.PASSWORD):
    return _act(env, reserve_attempt, door, account, source=source)


def _log_in(env, *, email="alice@example.com", password=WRONG, source=HOME):
    return _act(env, log_in, email=email, password=password, user_agent=None, source=source)


def _fail(env, times, **chosen):
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            _log_in(env, **chosen)


def _spend_all(env, budget):
    """How many attempts at anything pass in this moment, and the refusal of the first that not."""
    with env.database.transaction(writing=True) as session:
        return _passing(lambda: consume(session, "anything", budget, "a policy"), most=2000)


def _flood(env, account="alice@example.com"):
    """Spend what an account has left, each attempt from another source."""
    sources = _sources()
    with env.database.transaction(writing=True) as session:

        def attempt():
            session.origin = Origin(address=next(sources))
            reserve_attempt(session, RateLimitScope.PASSWORD, account)

        return _passing(attempt)


def _passing(attempt, most=1000):
    """How many attempts pass in this moment, and the refusal of the first that does not."""
    for number in range(most):
        try:
            attempt()
        except TooManyAttempts as refusal:
            return number, refusal
    raise AssertionError


def _sources():
    """Addresses, each of another network."""
    return (f"10.{high}.{middle}.1" for high in range(256) for middle in range(256))


def _budgets(env):
    """The stored budgets as they are, by their digests."""
    return {row["name_digest"]: row for row in env.rows("attempt_budget")}


@pytest.fixture
def hashes(monkeypatch):
    """Every bcrypt from now on: whoever is to be hashed before it has to be asked for before it."""
    seen = []
    for name in ("checkpw", "hashpw"):
        true = getattr(bcrypt, name)
        monkeypatch.setattr(
            bcrypt, name, lambda *given, true=true: seen.append(given) or true(*given)
        )
    return seen


# The algorithm: so many at once, and as many again in so many seconds, evenly.


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
def test_a_budget_lets_its_number_pass_at_once_and_not_one_more(env, budget):
    """LG-04: what is refused says which budget it was, and when to come again."""
    passed, refusal = _spend_all(env, budget)
    assert passed == budget.attempts
    assert (refusal.policy, refusal.quota, refusal.window) == ("a policy", *budget)
    assert refusal.retry_after == ceil(budget.seconds / budget.attempts)


@pytest.mark.parametrize("budget", [RateLimit(600, 1), RateLimit(1001, 1)])
def test_a_budget_with_many_attempts_a_second_is_no_larger_than_it_says(env, budget):
    """LG-04: that time is counted in whole milliseconds makes no room for more attempts."""
    passed, _ = _spend_all(env, budget)
    assert passed <= budget.attempts


def test_after_the_interval_one_more_passes_and_no_sooner(env, clock):
    """LG-09: attempts come back one by one, at the moment that the refusal has named."""
    _spend_all(env, RateLimit(5, 300))
    clock.move(seconds=59.999)
    passed, refusal = _spend_all(env, RateLimit(5, 300))
    assert (passed, refusal.retry_after) == (0, 1)
    clock.move(milliseconds=1)
    passed, refusal = _spend_all(env, RateLimit(5, 300))
    assert (passed, refusal.retry_after) == (1, 60)


@pytest.mark.parametrize(("seconds", "passing"), [(0, 0), (60, 1), (119, 1), (240, 4), (300, 5)])
def test_attempts_come_back_evenly(env, clock, seconds, passing):
    """LG-05: after the whole time there are as many as at first."""
    _spend_all(env, RateLimit(5, 300))
    clock.move(seconds=seconds)
    assert _spend_all(env, RateLimit(5, 300))[0] == passing


def test_a_long_rest_makes_no_more_than_a_whole_budget(env, clock):
    """LG-05: attempts are not saved up."""
    _spend_all(env, RateLimit(5, 300))
    clock.move(days=400)
    assert _spend_all(env, RateLimit(5, 300))[0] == 5


def test_whoever_waits_as_long_as_was_said_passes(env, clock):
    """LG-12: the seconds of the refusal are enough, whenever in the interval it was."""
    for milliseconds in (0, 1, 437, 999, 1000, 1999):
        clock.move(milliseconds=milliseconds)
        _, refusal = _spend_all(env, RateLimit(7, 10))
        assert refusal.retry_after >= 1
        clock.move(seconds=refusal.retry_after)
        passed, _ = _spend_all(env, RateLimit(7, 10))
        assert passed > 0


# Refused attempts.


@pytest.mark.usefixtures("alice")
def test_refused_attempts_prolong_nothing(env, clock):
    """LG-09: who goes on trying is let in again as soon as who waits."""
    _fail(env, 5)
    before = env.rows("attempt_budget")
    for _ in range(119):
        clock.move(seconds=0.5)
        with pytest.raises(TooManyAttempts):
            _log_in(env)
    assert env.rows("attempt_budget") == before
    clock.move(seconds=0.5)
    _fail(env, 1)


def test_refused_attempts_cost_no_hash(env, alice, hashes):
    """LG-09: the right password is not even looked at."""
    _fail(env, 5)
    assert len(hashes) == 5
    for password in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _log_in(env, password=password)
        with pytest.raises(TooManyAttempts):
            _act(env, change_password, alice.principal, current=password, new=NEW_PASSWORD)
    assert len(hashes) == 5


def test_an_attempt_that_one_budget_refuses_is_counted_by_none(env):
    """LG-09: knocking at one closed door does not close another."""
    for _ in range(5):
        _reserve(env)
    before = _budgets(env)
    with pytest.raises(TooManyAttempts) as refused:
        _reserve(env)
    assert refused.value.policy == "account-source"
    assert _budgets(env) == before


# Many at once.


def test_of_parallel_attempts_as_many_pass_as_the_budget_has(env):
    """LG-04: over as many connections as there are threads (GHSA-7h8m-vrxx-vr4m)."""
    ready = threading.Barrier(10)

    def attempts(_):
        ready.wait(30)
        return [_passing(lambda: _reserve(env), most=6)[0] for _ in range(5)]

    with ThreadPoolExecutor(10) as threads:
        passed = [number for each in threads.map(attempts, range(10)) for number in each]
    assert (len(passed), sum(passed)) == (50, 5)


@pytest.mark.usefixtures("alice")
def test_parallel_logins_cost_as_many_hashes_as_the_budget_has(env, hashes):
    """LG-04: an attempt is counted before it is hashed, not when it has turned out wrong."""
    together = threading.Barrier(5)
    true = bcrypt.checkpw

    def wait_for_the_others(*given):
        # All five are inside bcrypt at once: none of them has failed yet when the others begin.
        together.wait(30)
        return true(*given)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(10) as threads:
        patch.setattr(bcrypt, "checkpw", wait_for_the_others)
        outcomes = [threads.submit(_log_in, env) for _ in range(50)]
        kinds = [type(outcome.exception(60)) for outcome in outcomes]
    assert (kinds.count(InvalidCredentials), kinds.count(TooManyAttempts)) == (5, 45)
    assert len(hashes) == 5


# Success.


def test_a_success_makes_the_pair_whole_again(env, alice):
    """LG-17: four failures and a success, and there are five attempts as at first."""
    _fail(env, 4)
    _log_in(env, password=alice.password)
    _fail(env, 5)


def test_a_success_gives_the_account_and_the_source_one_attempt_back(open_house):
    """LG-17: what others have failed at, and what was failed at elsewhere, stays counted."""
    env = open_house(account_budget=RateLimit(10, 3600), source_budget=RateLimit(20, 600))
    alice = env.user("alice@example.com")
    # Three at the account from elsewhere, four at others from here.
    for source, _ in zip(_sources(), range(3), strict=False):
        _fail(env, 1, source=source)
    _fail(env, 4, email="ghost@example.com")
    _log_in(env, password=alice.password)
    sources = _sources()
    assert _passing(lambda: _reserve(env, alice.user_id, next(sources)))[0] == 10 - 3
    ghosts = iter(range(100))
    assert _passing(lambda: _reserve(env, f"ghost{next(ghosts)}"))[0] == 20 - 4


def test_logging_in_to_ones_own_account_makes_no_room_at_anothers(env, alice, bob):
    """LG-17: Bob's success between two attacks leaves Alice's budget as it was."""
    _fail(env, 3)
    for _ in range(10):
        _log_in(env, email=bob.view.email, password=bob.password)
    _fail(env, 2)
    with pytest.raises(TooManyAttempts):
        _log_in(env, password=alice.password)


def test_ones_own_successes_make_no_room_for_failures_of_the_source(open_house):
    """LG-17: one source tries many accounts and its own in turn, and is stopped all the same."""
    env = open_house(source_budget=RateLimit(10, 600))
    bob = env.user("bob@example.org")
    victims = (f"victim{number}@example.com" for number in range(100))

    def attempt():
        _log_in(env, email=bob.view.email, password=bob.password)
        _fail(env, 1, email=next(victims))

    failed, refusal = _passing(attempt)
    assert (failed, refusal.policy) == (10, "source")


def test_a_refund_long_after_the_attempt_makes_no_more_than_a_whole_budget(open_house):
    """LG-17: a slow hash gives nothing back that time has given back already."""
    env = open_house(source_budget=RateLimit(5, 10), account_and_source_budget=PLENTY)
    reservation = _reserve(env)
    env.clock.move(hours=1)
    _act(env, refund_attempt, reservation)
    assert _passing(lambda: _reserve(env, source=HOME))[0] == 5


def test_a_change_of_the_password_gives_its_attempt_back(env, alice):
    """PW-11: who knows the password is not stopped by having changed it."""
    current = alice.password
    for number in range(7):
        new = f"Silent meadow {number} lantern"
        _act(env, change_password, alice.principal, current=current, new=new)
        current = new


# Who is meant, and from where.


def test_an_account_that_there_is_not_is_throttled_like_one_that_there_is(env, alice, clock):
    """LG-08: the same refusals with the same seconds; neither says who has an account."""

    def curve(email, source):
        seen = []
        for seconds in (0, 0, 0, 1, 0, 0, 30, 0, 29, 0, 60, 0, 300, 0, 0):
            clock.move(seconds=seconds)
            try:
                _log_in(env, email=email, source=source)
            except TooManyAttempts as refusal:
                seen.append((refusal.policy, refusal.retry_after))
            except InvalidCredentials:
                seen.append(None)
        return seen

    known = curve(alice.view.email, HOME)
    assert known == curve("ghost@example.com", CAFE)
    assert None in known
    assert len(set(known)) > 3


def test_a_throttled_address_can_be_registered(env, clock):
    """LG-08: attempts at a ghost keep nobody from becoming it; it had no password to be guessed."""
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
    _log_in(env, email="carol@example.net", password=NEW_PASSWORD, source=CAFE)
    clock.move(minutes=1)
    _log_in(env, email="carol@example.net", password=NEW_PASSWORD)


def test_another_address_is_no_new_budget(env, alice):
    """LG-05, PW-11: whoever has a session could change it after each five guesses."""
    _fail(env, 5)
    _, secret = _act(env, request_email_change, alice.view, "other@example.net")
    _act(env, validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    with pytest.raises(TooManyAttempts):
        _log_in(env, email="other@example.net", password=alice.password)
    alice = alice.principal._replace(user=env.view(alice.user_id))
    with pytest.raises(TooManyAttempts):
        _act(env, change_password, alice, current=WRONG, new=NEW_PASSWORD)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice@example.com", "ALICE@Example.COM"),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("alice@bücher.example", "Alice@BU\u0308CHER.example"),
        ("alice@bücher.example", "alice@bu\u0308cher。example"),
    ],
)
def test_spellings_of_one_address_share_its_budget(env, one, other):
    """LG-07: another spelling is no new account."""
    _fail(env, 3, email=one)
    _fail(env, 2, email=other)
    for email in (one, other):
        with pytest.raises(TooManyAttempts):
            _log_in(env, email=email)


@pytest.mark.parametrize("other", ["alice+home@example.com", "a.lice@example.com"])
def test_another_address_has_another_budget(env, alice, other):
    """LG-07: what some providers deliver into one box can be two people's elsewhere."""
    _fail(env, 5, email=other)
    _log_in(env, password=alice.password)


@pytest.mark.parametrize(
    "email", [" alice@example.com", "alice@example.com ", "alice@example.com\n"]
)
def test_what_no_account_is_found_by_opens_no_second_door(env, alice, email):
    """LG-07: with white space around it, it is nobody's address, and the password is not tried."""
    _fail(env, 5, email=email, password=alice.password)
    with pytest.raises(TooManyAttempts):
        _log_in(env, email=email, password=alice.password)


def _by_login(session, alice, password):
    log_in(session, email=alice.view.email, password=password, user_agent=None)


def _context(session, alice):
    return UserContext(service=None, read_exchange=None, session=session, principal=alice.principal)


def _at_ipto(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    ipto.change_password(_context(session, alice), body)


def _at_scaikey(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    scaikey.change_password(_context(session, alice), body)


def _at_hantera(session, alice, password):
    body = {"currentPassword": password, "newPassword": NEW_PASSWORD}
    hantera.change_password(_context(session, alice), body)


def _at_jitsudo(session, alice, password):
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    jitsudo.change_password(_context(session, alice), alice.view.tenant_uuid, body)


DOORS = (_by_login, _at_ipto, _at_scaikey, _at_hantera, _at_jitsudo)


@pytest.mark.parametrize("last", DOORS)
def test_every_door_to_one_password_counts_for_all(env, alice, bob, last, hashes):
    """PW-11: one wrong password at each, and at none is the right one tried (CVE-2026-43914)."""
    for door in DOORS:
        with pytest.raises((InvalidCredentials, WrongPassword)):
            _act(env, door, alice, "Wrong")
    hashes.clear()
    for password in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _act(env, last, alice, password)
    assert hashes == []
    # Of another person, and from another source, it is; and here too after a while.
    _act(env, _at_scaikey, bob, bob.password)
    env.clock.move(minutes=1)
    _act(env, last, alice, alice.password)


def test_what_happens_at_one_door_does_not_count_at_another(open_house):
    """LG-17: of none of the three budgets, though the name and the source are the same."""
    five = RateLimit(5, 300)
    env = open_house(account_and_source_budget=five, account_budget=five, source_budget=five)
    for door in RateLimitScope:
        assert _passing(lambda door=door: _reserve(env, door=door))[0] == 5
    sources = _sources()
    assert _passing(lambda: _reserve(env, "bob@example.org", next(sources)))[0] == 5
    assert _passing(lambda: _reserve(env, "bob@example.org", CAFE, RateLimitScope.CLIENT))[0] == 5


def test_attempts_at_a_clients_secret_are_counted_apart(env, alice):
    """LG-04: a client's secret is guessed at no faster, and locks nobody out of an account."""
    client, secret = env.client(alice.view.tenant_id)
    wrong = tokens.mint(tokens.CLIENT_SECRET)
    for _ in range(5):
        with pytest.raises(InvalidClient):
            _act(env, authenticate_client, ClientCredentials(client.id, wrong))
    with pytest.raises(TooManyAttempts):
        _act(env, authenticate_client, ClientCredentials(client.id, secret))
    _log_in(env, password=alice.password)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        (None, None, True),
        (None, "192.0.2.1", False),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(env, one, other, shared):
    """LG-10: all the addresses that one customer has are one source."""
    for _ in range(5):
        _reserve(env, source=one)
    passed, _ = _passing(lambda: _reserve(env, source=other))
    assert passed == (0 if shared else 5)


def test_one_source_has_a_budget_for_all_accounts_together(env, clock):
    """LG-04: one password tried at each of many accounts is an attack too."""
    accounts = iter(range(1000))
    passed, refusal = _passing(lambda: _reserve(env, f"user{next(accounts)}@example.com"))
    assert (passed, refusal.policy, refusal.retry_after) == (100, "source", 6)
    clock.move(seconds=6)
    assert _passing(lambda: _reserve(env, f"user{next(accounts)}@example.com"))[0] == 1


def test_a_door_that_is_no_accounts_has_a_budget_for_each_source(env):
    """LG-10: what one source spends there, another one has still."""
    for source in (HOME, CAFE):
        passed, refusal = _passing(
            lambda source=source: _act(
                env, consume_for_source, RateLimitScope.SIGNUP, RateLimit(3, 60), source=source
            )
        )
        assert (passed, refusal.policy) == (3, "signup")


def test_an_address_is_mailed_only_so_often_about_one_thing(env):
    """EM-14: from wherever it is asked for; another thing and another address are counted apart."""
    sources = _sources()

    def mail(address, about):
        return _passing(
            lambda: _act(env, consume_mail, address, about, source=next(sources)), most=20
        )

    passed, refusal = mail("alice@example.com", "a reset")
    assert (passed, refusal.policy, refusal.retry_after) == (5, "mail", 720)
    assert mail("alice@example.com", "a change")[0] == 5
    assert mail("bob@example.org", "a reset")[0] == 5


def test_one_source_has_others_mailed_only_so_often(open_house):
    """EM-14: however many the addresses are."""
    env = open_house(source_budget=RateLimit(7, 60))
    addresses = (f"user{number}@example.com" for number in range(100))
    passed, refusal = _passing(lambda: _act(env, consume_mail, next(addresses), "a reset"))
    assert (passed, refusal.policy) == (7, "mail")


# Nobody is locked out, and nobody guesses for ever.


def test_a_flood_from_everywhere_does_not_lock_out_who_was_here_before(env, alice, clock):
    """LG-06: the account's own budget is used up for days, but not for a source it is used from."""
    _log_in(env, password=alice.password)
    for _ in range(5):
        assert _flood(env, alice.user_id)[1].policy == "account"
        with pytest.raises(TooManyAttempts) as refused:
            _log_in(env, password=alice.password, source=CAFE)
        assert refused.value.policy == "account"
        _fail(env, 1)
        _log_in(env, password=alice.password)
        clock.move(hours=1)


def test_a_known_source_has_no_more_attempts_than_others(env, alice):
    """LG-06: what it is spared is what others do, not its own budget."""
    _log_in(env, password=alice.password)
    assert _passing(lambda: _reserve(env, alice.user_id))[0] == 5


def test_to_be_known_at_one_account_is_nothing_at_another(env, alice, bob):
    """LG-06: a source is known to one account; an attacker has one too, and is known to that."""
    _flood(env, alice.user_id)
    _log_in(env, email=bob.view.email, password=bob.password, source=CAFE)
    with pytest.raises(TooManyAttempts) as refused:
        _log_in(env, password=alice.password, source=CAFE)
    assert refused.value.policy == "account"


def test_a_source_is_known_for_thirty_days_from_its_last_success(env, alice, clock):
    """LG-06: after that it is as unknown as any."""
    _log_in(env, password=alice.password)
    clock.move(days=29)
    _log_in(env, password=alice.password)
    clock.move(days=30)
    assert _reserve(env, alice.user_id).account is None
    clock.move(milliseconds=1)
    assert _reserve(env, alice.user_id).account is not None


def test_failures_make_no_source_known(env, alice):
    """LG-06: who only knocks stays a stranger."""
    _fail(env, 2)
    assert _reserve(env, alice.user_id).account is not None


@pytest.mark.parametrize("attempts_a_source", [1, 5])
def test_no_more_than_a_hundred_failures_are_ever_without_a_delay(env, clock, attempts_a_source):
    """LG-05: four days of guessing from as many sources as one likes (SP 800-63B, 3.2.2)."""
    sources = (source for source in _sources() for _ in range(attempts_a_source))
    began, passed_at, refused_by = clock.now, [], set()
    with env.database.transaction(writing=True) as session:
        while clock.now - began < timedelta(days=4):
            session.now, session.origin = clock.now, Origin(address=next(sources))
            try:
                reserve_attempt(session, RateLimitScope.PASSWORD, "alice@example.com")
            except TooManyAttempts as refusal:
                refused_by.add(refusal.policy)
                clock.move(seconds=refusal.retry_after)
            else:
                passed_at.append(clock.now)
    # Past the first ones each has to wait for more than a minute, and so for ever.
    waits = [later - sooner for sooner, later in pairwise(passed_at)]
    assert refused_by == {"account"}
    assert waits.count(timedelta()) < 100
    assert set(waits) == {timedelta(), timedelta(seconds=72)}
    assert len(passed_at) <= 50 + 4 * 24 * 50


# What is stored.


def test_a_dump_of_the_budgets_tells_neither_accounts_nor_sources(env, alice):
    """LG-08: strangers type addresses, and a copy of the database must not tell whose (LO-01)."""
    _log_in(env, password=alice.password)
    _fail(env, 2, email="ghost@example.com", source="2001:db8::1")
    _fail(env, 1, email="Not An Address", source=CAFE)
    rows = env.rows("attempt_budget")
    assert rows
    dumped = repr(rows).lower()
    for word in ("alice", "ghost", "example", "address", HOME, CAFE, "2001", "source", "password"):
        assert word not in dumped
    assert all(len(row["name_digest"]) == 32 for row in rows)


def test_the_digests_are_the_keyrings_own(env):
    """LG-08: without the root secret, names cannot be tried against a dump either."""
    _act(env, consume, "a name", PLENTY, "a policy")
    assert list(_budgets(env)) == [env.keys.digest(Purpose.ATTEMPTS, "a name")]


@pytest.mark.parametrize("door", [*DOORS, "client", "signup"])
def test_where_attempts_cannot_be_counted_no_secret_is_checked(env, alice, hashes, door):
    """LG-14: the failure comes through, to be a 503; nothing is let in uncounted."""
    client, secret = env.client(alice.view.tenant_id)
    env.execute("DROP TABLE attempt_budget")

    def client_door(session, *_):
        authenticate_client(session, ClientCredentials(client.id, secret))

    def signup_door(session, *_):
        sign_up(
            session,
            email="carol@example.net",
            password=NEW_PASSWORD,
            display_name="Carol",
            tenant_name="Carol's",
            user_agent=None,
        )

    chosen = {"client": client_door, "signup": signup_door}.get(door, door)
    with pytest.raises(DBAPIError) as failed:
        _act(env, chosen, alice, alice.password)
    assert does_not_answer(failed.value)
    assert hashes == []


def test_a_refund_that_cannot_be_written_opens_no_session(env, alice, during_the_hash):
    """LG-14: the store fails between the hash and the end of the login."""
    during_the_hash(lambda: env.execute("DROP TABLE attempt_budget"))
    with pytest.raises(DBAPIError) as failed:
        _log_in(env, password=alice.password)
    assert does_not_answer(failed.value)
    assert env.count("login_session") == 1


def test_budgets_are_forgotten_when_their_source_is_no_longer_known(env, alice, clock):
    """LG-06: neither sooner, nor while one of its rows still stands for something."""
    _log_in(env, password=alice.password)
    clock.move(days=1)
    _fail(env, 1, email="ghost@example.com", source=CAFE)
    clock.move(days=29)
    assert env.act(delete_old_attempts) == 0
    clock.move(milliseconds=1)
    assert env.act(delete_old_attempts) == 3
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
    ],
)
def test_no_budget_is_forgotten_before_it_is_whole(open_house, budget):
    """LG-05: also where an operator has set one that takes longer than a source is known."""
    env = open_house(
        **{budget: RateLimit(1, 5_000_000)}, known_source_lifetime=timedelta(seconds=10)
    )
    _spend_all(env, RateLimit(1, 5_000_000))
    env.clock.move(seconds=5_000_000)
    assert env.act(delete_old_attempts) == 0
    env.clock.move(milliseconds=1)
    assert env.act(delete_old_attempts) == 1
