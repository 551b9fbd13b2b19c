"""Changing the password."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from accounts.crypto import password_hashing
from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    NotLocalUser,
    SecretSuperseded,
    TooManyAttempts,
    WeakPassword,
    WrongPassword,
)
from accounts.flows.administration.users import disable_user
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.password.password_change import change_password
from accounts.flows.password.password_reset import reset_password
from accounts.flows.sign_in.sessions import log_in, open_session
from accounts.origin import Origin
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.outbox import open_parameters
from accounts.services.principal import CredentialKind
from accounts.values.email_address import parse_address
from models import User

NEW_PASSWORD = "Silent meadow 83 lantern"


def _change(env, user, current=None, new=NEW_PASSWORD, *, source=None, **more):
    """Change the password as the service does, from a source of this address."""
    current = user.password if current is None else current
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        change_password(session, user.principal, current=current, new=new, **more)


def _log_in(env, user, password, source):
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        log_in(session, email=user.view.email, password=password, user_agent=None)


def _events(env, user):
    """The kinds of what happened to the resident's password."""
    return [
        row["kind"]
        for row in env.rows("security_event")
        if row["user_id"] == user.user_id and "password" in row["kind"]
    ]


def _is_password(env, user, password):
    records = {row["user_id"]: row["record"] for row in env.rows("password_record")}
    return password_hashing.verify(password, records[user.user_id], env.keys, 4)


def test_whoever_knows_the_password_changes_it(env, alice, clock):
    """The new one is good, the old one is not, and when it was done is written down."""
    clock.move(hours=1)
    _change(env, alice)
    assert _is_password(env, alice, NEW_PASSWORD)
    assert not _is_password(env, alice, alice.password)
    assert env.rows("password_record")[0]["changed_at"].startswith("2026-04-05 11:00")


@pytest.mark.parametrize("current", ["Wrong", "", "violet tangent 47 harbour", "\0", "\ud800"])
def test_a_wrong_current_password_changes_nothing(env, alice, current):
    """A stolen session is not enough (PW-11)."""
    with pytest.raises(WrongPassword):
        _change(env, alice, current=current)
    assert _is_password(env, alice, alice.password)


@pytest.mark.parametrize(
    "new", ["short", "Password1", "Alice12345", "a" * 2000, "Tab\tin 1 it all"]
)
def test_a_weak_new_password_is_refused_before_the_current_one_is_judged(env, alice, new):
    """The refusal names the field, and says nothing of the current one."""
    with pytest.raises(WeakPassword) as refused:
        _change(env, alice, current="Wrong", new=new)
    assert {violation.field for violation in refused.value.violations} == {("new_password",)}
    assert _is_password(env, alice, alice.password)


def test_the_new_password_must_be_new(env, alice):
    """Only whoever knows the current one is told that it is the same (PW-13)."""
    with pytest.raises(WeakPassword) as refused:
        _change(env, alice, new=alice.password)
    assert [v.rule for v in refused.value.violations] == ["must differ from the current password"]
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong", new=alice.password)


def test_a_password_kept_by_another_provider_cannot_be_changed_here(env):
    """An account of an identity provider has no password to change."""
    user = env.user("sso@example.com", provider="oidc")
    with pytest.raises(NotLocalUser):
        _change(env, user)


def test_a_local_user_without_a_record_has_no_password(env, alice):
    """No password that is entered is the one that there is not (PW-16)."""
    env.execute("DELETE FROM password_record")
    with pytest.raises(WrongPassword):
        _change(env, alice)


def test_a_change_keeps_the_sessions(env, alice):
    """ipto documents that they stay (PW-12)."""
    other = env.act(open_session, alice.user_id).token
    _change(env, alice)
    env.recognise(CredentialKind.SESSION, alice.token)
    env.recognise(CredentialKind.SESSION, other)


def test_a_stricter_rule_ends_the_other_sessions(open_house):
    """The session that made the change stays, and so do other people's (PW-12)."""
    env = open_house(password_change_ends_other_sessions=True)
    alice, bob = env.user("alice@example.com"), env.user("bob@example.org")
    other = env.act(open_session, alice.user_id).token
    _change(env, alice)
    env.recognise(CredentialKind.SESSION, alice.token)
    env.recognise(CredentialKind.SESSION, bob.token)
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, other)


def test_a_change_ends_a_pending_change_of_the_address(env, alice):
    """Whoever began it may be why the password is changed (EM-09)."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    _change(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)


def test_a_failed_change_leaves_a_pending_change_of_the_address(env, alice):
    """A refusal changes nothing at all."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)


def test_a_change_ends_a_pending_reset(env, alice):
    """EM-09: a mail that is found later opens nothing."""
    purpose, address = SecretPurpose.PASSWORD_RESET, parse_address(alice.view.email)
    secret = env.act(issue_secret, purpose, alice.user_id, address)
    _change(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(reset_password, secret=secret, new="Amber compass 19 walnut")


def test_a_change_is_told_by_mail(env, alice):
    """PW-18: at the stored address, and with no password and no secret in it."""
    _change(env, alice)
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("password_changed", alice.view.email)
    assert env.act(open_parameters, message) == {}


def test_a_change_is_an_event(env, alice, bob):
    """LO-02: once, of the person."""
    _change(env, alice)
    assert _events(env, alice) == ["authn_password_change"]
    assert _events(env, bob) == []


def test_a_failed_change_is_an_event_and_no_mail(env, alice):
    """LO-03: it is kept although the change is refused; what is said of it is no secret."""
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong password 1")
    assert _events(env, alice) == ["authn_password_change_fail"]
    assert "Wrong password 1" not in str(env.rows("security_event"))
    assert env.messages() == []


@pytest.mark.parametrize("new", ["short", None])
def test_a_new_password_that_will_not_do_is_no_attempt(env, alice, new):
    """PW-11: it says nothing about the current one, so it costs no budget and no hash."""
    for _ in range(10):
        with pytest.raises(WeakPassword):
            _change(env, alice, new=alice.password if new is None else new)
    assert env.count("attempt_budget") == 0
    assert _events(env, alice) == []


def test_the_sixth_wrong_password_is_not_judged_and_nor_is_the_right_one(env, alice, clock):
    """PW-11: five attempts in five minutes, from one source; another source is not stopped."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            _change(env, alice, current="Wrong", source="192.0.2.1")
    for current in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _change(env, alice, current=current, source="192.0.2.1")
    assert _is_password(env, alice, alice.password)
    _change(env, alice, source="192.0.2.2")
    clock.move(minutes=1)
    _change(env, alice, NEW_PASSWORD, "Amber compass 19 walnut", source="192.0.2.1")


def test_the_login_and_the_change_are_two_doors_to_one_budget(env, alice):
    """PW-11: whoever has tried at the one cannot go on at the other (CVE-2026-43914)."""
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            _log_in(env, alice, "Wrong", "192.0.2.1")
    for _ in range(2):
        with pytest.raises(WrongPassword):
            _change(env, alice, current="Wrong", source="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        _change(env, alice, source="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        _log_in(env, alice, alice.password, "192.0.2.1")


def test_a_change_gives_its_attempt_back(env, alice):
    """LG-17: whoever knows the password can change it as often as they like."""
    passwords = [alice.password, *(f"Silent meadow {number} lantern" for number in range(83, 93))]
    for current, new in pairwise(passwords):
        _change(env, alice, current, new, source="192.0.2.1")


def test_of_many_wrong_passwords_at_once_five_are_judged(env, alice):
    """LG-04: each is counted before its hash (GHSA-7h8m-vrxx-vr4m)."""
    racers = 20
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(30)
        try:
            _change(env, alice, current="Wrong", source="192.0.2.1")
        except (WrongPassword, TooManyAttempts) as refusal:
            return type(refusal)

    with ThreadPoolExecutor(racers) as threads:
        outcomes = list(threads.map(race, range(racers)))
    assert outcomes.count(WrongPassword) == 5
    assert outcomes.count(TooManyAttempts) == racers - 5


def test_a_change_during_the_hash_of_another_wins(env, alice, during_the_hash):
    """The record is compared and swapped, so the later of two changes is refused (DB-02)."""
    during_the_hash(lambda: _change(env, alice, new="Amber compass 19 walnut"))
    with pytest.raises(WrongPassword):
        _change(env, alice)
    assert _is_password(env, alice, "Amber compass 19 walnut")


def test_nothing_is_locked_during_the_hash(env, alice, bob, during_the_hash):
    """Others write while a password is hashed (DB-11)."""
    others = during_the_hash(lambda: env.act(open_session, bob.user_id))
    _change(env, alice)
    env.recognise(CredentialKind.SESSION, others[0].token)


def test_of_two_changes_at_once_exactly_one_wins(env, alice):
    """Whatever the order of their steps, the password is the winner's (DB-02)."""
    racers = 2
    passwords = [alice.password]
    for round_number in range(10):
        ready = threading.Barrier(racers)
        news = [f"Silent meadow {round_number}{racer} lantern" for racer in range(racers)]

        def race(new, ready=ready):
            ready.wait(30)
            try:
                _change(env, alice, current=passwords[-1], new=new)
            except WrongPassword:
                return None
            return new

        with ThreadPoolExecutor(racers) as threads:
            won = [new for new in threads.map(race, news) if new]
        assert len(won) == 1
        assert _is_password(env, alice, won[0])
        passwords.append(won[0])


def test_whoever_is_disabled_during_the_hash_changes_nothing(env, alice, during_the_hash):
    """SE-06: the change is as late as any other request of theirs."""

    def disable():
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))

    during_the_hash(disable)
    with pytest.raises(WrongPassword):
        env.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
