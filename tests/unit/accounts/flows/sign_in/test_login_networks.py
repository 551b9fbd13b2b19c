"""Mail to owners about logins from new networks, and about failed logins."""

from datetime import timedelta

import pytest

from accounts.crypto.keyring import Keyring
from accounts.errors import InvalidCredentials
from accounts.flows.administration.users import disable_user
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.sign_in.login_networks import delete_old_networks, mail_failed_logins
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.sign_in.signup import sign_up
from accounts.limits import RateLimit
from accounts.origin import NO_ORIGIN, Origin
from accounts.services.mail.outbox import unseal_parameters
from models import User
from oneself.database import Database

EMAIL, PASSWORD = "alice@example.com", "Violet tangent 47 harbour"
HOME, AWAY = "192.0.2.7", "198.51.100.7"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def env(make_env):
    """An environment whose rate limits are out of the way."""
    unlimited = RateLimit(1_000_000, 60)
    return make_env(
        account_and_source_budget=unlimited, account_budget=unlimited, source_budget=unlimited
    )


def _log_in(env, *, address=HOME, email=EMAIL, password=PASSWORD, user_agent=None):
    origin = Origin(address=address, user_agent=user_agent) if address else NO_ORIGIN
    with env.database.transaction(writing=True, origin=origin) as session:
        return log_in(session, email=email, password=password, user_agent=user_agent)


def _fail(env, times=1, *, address=AWAY, email=EMAIL):
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            _log_in(env, address=address, email=email, password="Wrong")


def _mails(env, kind):
    return [
        (message.recipient, env.act(unseal_parameters, message))
        for message in env.messages()
        if message.kind == kind
    ]


def _failures(env):
    return [
        (recipient, parameters["failures"], parameters["networks"])
        for recipient, parameters in _mails(env, "failed_logins")
    ]


# Logins from new networks


def test_login_from_a_new_network_is_mailed(env, alice):
    """LG-15, attack finding 11: with address and program, in words of our own."""
    _log_in(env, address=AWAY, user_agent=f"{FIREFOX} https://evil.example")
    assert _mails(env, "new_login") == [
        (alice.view.email, {"ip_address": AWAY, "program": "Firefox, Linux"})
    ]


def test_login_from_a_known_network_is_not_mailed(env, alice, clock):
    """LG-15: once for a network that is used every 30 days, from any address within it."""
    for address in (HOME, HOME, "192.0.2.99"):
        _log_in(env, address=address)
        clock.move(days=29)
    assert len(_mails(env, "new_login")) == 1
    _log_in(env, address=AWAY)
    _log_in(env, address="2001:db8::1")
    _log_in(env, address="2001:db8:0:ffff::1")
    assert len(_mails(env, "new_login")) == 3
    assert alice


def test_network_is_new_again_after_30_days(env, alice, clock):
    """LG-15: also if the row was deleted meanwhile."""
    _log_in(env)
    for expected in (2, 3):
        clock.move(days=30, seconds=1)
        if expected == 3:
            assert env.act(delete_old_networks) == 1
        _log_in(env)
        assert len(_mails(env, "new_login")) == expected
    assert alice


def test_login_after_signup_from_the_same_network_is_not_mailed(env):
    """LG-15: a new user is not alarmed."""
    with env.database.transaction(writing=True, origin=Origin(address=HOME)) as session:
        sign_up(
            session,
            email="carol@example.com",
            password=PASSWORD,
            display_name="Carol",
            tenant_name="Example",
            user_agent=None,
        )
    _log_in(env, email="carol@example.com", address="192.0.2.8")
    assert env.messages() == []
    _log_in(env, email="carol@example.com", address=AWAY)
    assert [recipient for recipient, _ in _mails(env, "new_login")] == ["carol@example.com"]


def test_networks_of_users_are_separate(env, alice, bob):
    """LG-15: a network that another user is known from is new for an attacker's next victim."""
    _log_in(env)
    _log_in(env, email=bob.view.email)
    assert [recipient for recipient, _ in _mails(env, "new_login")] == [
        alice.view.email,
        bob.view.email,
    ]


def test_new_login_is_mailed_to_the_owned_address(env, alice):
    """EM-02, LG-15: a thief may claim another address before."""
    _, secret = env.act(request_email_change, alice.view, "thief@example.org")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    _log_in(env, address=AWAY)
    assert [recipient for recipient, _ in _mails(env, "new_login")] == [EMAIL]


def test_failed_login_makes_no_network_known(env, alice):
    """LG-15."""
    _fail(env)
    _log_in(env, address=AWAY)
    assert len(_mails(env, "new_login")) == 1
    assert alice


def test_login_without_an_address_is_not_mailed(env, alice):
    """There is nothing to tell, as on the command line."""
    _log_in(env, address=None)
    assert env.messages() == []
    assert alice


def test_known_network_stays_known_after_a_rotation(env, alice):
    """LG-15: otherwise a rotation would mail every user."""
    _log_in(env)
    keys = Keyring(b"n" * 32, b"x" * 32)
    rotated = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    with rotated.transaction(writing=True, origin=Origin(address=HOME)) as session:
        log_in(session, email=EMAIL, password=PASSWORD, user_agent=None)
    rotated.close()
    assert len(_mails(env, "new_login")) == 1
    assert alice


# Failed logins


def test_owner_is_told_of_five_failed_logins(env, alice):
    """LG-15, attack finding 11: with the numbers of failures and of networks."""
    _fail(env, 3)
    _fail(env, 1, address="203.0.113.9")
    assert env.act(mail_failed_logins) == 0
    _fail(env, 1, address="198.51.100.200")
    assert env.act(mail_failed_logins) == 1
    assert _failures(env) == [(alice.view.email, "5", "2")]


def test_owner_is_told_at_most_once_a_day(env, alice, clock):
    """LG-15, EM-14: an attacker cannot flood the mailbox."""
    for _ in range(23):
        _fail(env, 5)
        env.act(mail_failed_logins)
        clock.move(hours=1)
    assert len(_failures(env)) == 1
    clock.move(hours=2)
    env.act(delete_old_networks)
    _fail(env, 5)
    env.act(mail_failed_logins)
    assert len(_failures(env)) == 2
    assert alice


def test_failures_of_former_days_are_not_counted(env, alice, clock):
    """LG-15: four failures a day are typing errors."""
    for _ in range(5):
        _fail(env, 4)
        clock.move(days=1)
        assert env.act(mail_failed_logins) == 0
    _fail(env, 4)
    assert env.act(mail_failed_logins) == 0
    assert alice


def test_success_from_the_same_network_forgets_its_failures(env, alice):
    """LG-15: owners who remember their password are not told of themselves."""
    _fail(env, 9, address=HOME)
    _log_in(env, address=HOME)
    assert env.act(mail_failed_logins) == 0
    _fail(env, 9, address=AWAY)
    _log_in(env, address=HOME)
    assert env.act(mail_failed_logins) == 1
    assert _failures(env) == [(alice.view.email, "9", "1")]


def test_failed_logins_are_mailed_to_the_owned_address(env, alice):
    """EM-02, LG-15."""
    _, secret = env.act(request_email_change, alice.view, "thief@example.org")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    _fail(env, 5)
    env.act(mail_failed_logins)
    assert _failures(env) == [(EMAIL, "5", "1")]


def test_disabled_user_is_not_told(env, alice):
    """The owner can do nothing about it."""
    _fail(env, 5)
    env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    assert env.act(mail_failed_logins) == 0


def test_each_owner_is_told_of_their_own(env, alice, bob):
    """LG-15."""
    _fail(env, 5)
    _fail(env, 7, email=bob.view.email)
    assert env.act(mail_failed_logins) == 2
    assert sorted(_failures(env)) == [(alice.view.email, "5", "1"), (bob.view.email, "7", "1")]


def test_wrong_clock_delays_no_mail(env, alice, clock):
    """OP-10: a mail of next year does not keep those of today."""
    clock.move(days=365)
    _fail(env, 5)
    env.act(mail_failed_logins)
    clock.move(days=-365)
    _fail(env, 5, address=HOME)
    assert env.act(mail_failed_logins) == 1
    assert alice


def test_unknown_address_leaves_a_digest_for_a_day(env, clock):
    """LG-02, LG-08: it costs the same statements, and reveals nothing."""
    _fail(env, 5, email="Nobody@example.com")
    [row] = env.rows("login_network")
    assert (row["user_id"], row["failures"]) == (None, 5)
    assert b"nobody" not in env.stored_bytes().lower()
    assert env.act(mail_failed_logins) == 0
    assert env.act(delete_old_networks) == 0
    clock.move(days=1, seconds=1)
    assert env.act(delete_old_networks) == 1
    assert env.count("login_network") == 0


def test_rows_reveal_no_address(env, alice):
    """LO-01: neither of the client, nor of the user."""
    _fail(env, 5)
    _log_in(env, address="203.0.113.9")
    stored = str(env.rows("login_network"))
    assert not any(text in stored for text in (EMAIL, AWAY, "203.0.113"))
    assert alice


def test_networks_are_kept_as_long_as_they_are_known(env, alice, clock):
    """DB-17."""
    _log_in(env)
    clock.now += timedelta(days=30) - timedelta(seconds=1)
    assert env.act(delete_old_networks) == 0
    clock.move(seconds=2)
    assert env.act(delete_old_networks) == 1
    assert alice
