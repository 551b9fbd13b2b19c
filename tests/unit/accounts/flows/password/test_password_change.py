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
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.principal import CredentialKind
from accounts.values.email_address import parse_address
from models import User
from tests.support.deadlines import patient

NEW_PASSWORD = "Silent meadow 83 lantern"


def _change(env, user, current=None, new=NEW_PASSWORD, *, source=None, **options):
    """Change the password as the service does, from this client address."""
    current = user.password if current is None else current
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        change_password(session, user.principal, current=current, new=new, **options)


def _log_in(env, user, password, source):
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        log_in(session, email=user.view.email, password=password, user_agent=None)


def _events(env, user):
    """Return the kinds of the user's password events."""
    return [
        row["kind"]
        for row in env.rows("security_event")
        if row["user_id"] == user.user_id and "password" in row["kind"]
    ]


def _is_password(env, user, password):
    records = {row["user_id"]: row["record"] for row in env.rows("password_record")}
    return password_hashing.verify(password, records[user.user_id], env.keys, env.limits)


def test_right_password_allows_the_change(env, alice, clock):
    """The time of the change is recorded."""
    clock.move(hours=1)
    _change(env, alice)
    assert _is_password(env, alice, NEW_PASSWORD)
    assert not _is_password(env, alice, alice.password)
    assert env.rows("password_record")[0]["changed_at"].startswith("2026-04-05 11:00")


@pytest.mark.parametrize("current", ["Wrong", "", "violet tangent 47 harbour", "\0", "\ud800"])
def test_wrong_current_password_changes_nothing(env, alice, current):
    """PW-11: a stolen session is not enough."""
    with pytest.raises(WrongPassword):
        _change(env, alice, current=current)
    assert _is_password(env, alice, alice.password)


@pytest.mark.parametrize(
    "new", ["short", "Password1", "Alice12345", "a" * 2000, "Tab\tin 1 it all"]
)
def test_weak_new_password_is_rejected_before_the_current_one_is_checked(env, alice, new):
    """The refusal names the new password's field and reveals nothing about the current one."""
    with pytest.raises(WeakPassword) as caught:
        _change(env, alice, current="Wrong", new=new)
    assert {violation.field for violation in caught.value.violations} == {("new_password",)}
    assert _is_password(env, alice, alice.password)


def test_new_password_must_differ(env, alice):
    """PW-13: only a caller who knows the current password learns that it is the same."""
    with pytest.raises(WeakPassword) as caught:
        _change(env, alice, new=alice.password)
    assert [v.rule for v in caught.value.violations] == ["must differ from the current password"]
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong", new=alice.password)


def test_password_of_another_provider_cannot_be_changed(env):
    """Users of an identity provider have no password here."""
    user = env.user("sso@example.com", provider="oidc")
    with pytest.raises(NotLocalUser):
        _change(env, user)


def test_local_user_without_a_record_cannot_change_the_password(env, alice):
    """PW-16: no password matches a missing record."""
    env.execute("DELETE FROM password_record")
    with pytest.raises(WrongPassword):
        _change(env, alice)


def test_change_keeps_other_sessions_by_default(env, alice):
    """PW-12: ipto documents this."""
    other_token = env.act(open_session, alice.user_id).token
    _change(env, alice)
    env.authenticate(CredentialKind.SESSION, alice.token)
    env.authenticate(CredentialKind.SESSION, other_token)


def test_change_ends_other_sessions_when_configured(make_env):
    """PW-12: except the session of the change, and those of other users."""
    env = make_env(password_change_ends_other_sessions=True)
    alice, bob = env.user("alice@example.com"), env.user("bob@example.org")
    other_token = env.act(open_session, alice.user_id).token
    _change(env, alice)
    env.authenticate(CredentialKind.SESSION, alice.token)
    env.authenticate(CredentialKind.SESSION, bob.token)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, other_token)


def test_change_ends_a_pending_email_change(env, alice):
    """EM-09: the change of the address may be the reason for the new password."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    _change(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)


def test_failed_change_keeps_a_pending_email_change(env, alice):
    """A refusal changes nothing."""
    _, secret = env.act(request_email_change, alice.view, "new@example.com")
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)


def test_change_ends_a_pending_reset(env, alice):
    """EM-09: an old email must not open the account."""
    purpose, address = SecretPurpose.PASSWORD_RESET, parse_address(alice.view.email)
    secret = env.act(issue_secret, purpose, alice.user_id, address)
    _change(env, alice)
    with pytest.raises(SecretSuperseded):
        env.act(reset_password, secret=secret, new="Amber compass 19 walnut")


def test_change_is_reported_by_mail(env, alice):
    """PW-18: to the stored address, without a password or a secret."""
    _change(env, alice)
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("password_changed", alice.view.email)
    assert env.act(unseal_parameters, message) == {}


def test_change_is_an_event(env, alice, bob):
    """LO-02: one event, of this user."""
    _change(env, alice)
    assert _events(env, alice) == ["authn_password_change"]
    assert _events(env, bob) == []


def test_failed_change_is_an_event_and_no_mail(env, alice):
    """LO-03: the event is kept despite the refusal, and contains no secret."""
    with pytest.raises(WrongPassword):
        _change(env, alice, current="Wrong password 1")
    assert _events(env, alice) == ["authn_password_change_fail"]
    assert "Wrong password 1" not in str(env.rows("security_event"))
    assert env.messages() == []


@pytest.mark.parametrize("new", ["short", None])
def test_rejected_new_password_is_no_attempt(env, alice, new):
    """PW-11: it reveals nothing about the current one, so it costs no attempt and no hash."""
    for _ in range(10):
        with pytest.raises(WeakPassword):
            _change(env, alice, new=alice.password if new is None else new)
    assert env.count("attempt_budget") == 0
    assert _events(env, alice) == []


def test_sixth_attempt_is_rejected_unchecked(env, alice, clock):
    """PW-11: five attempts in five minutes, in one session or from one source."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            _change(env, alice, current="Wrong", source="192.0.2.1")
    for current in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _change(env, alice, current=current, source="192.0.2.1")
    assert _is_password(env, alice, alice.password)
    with pytest.raises(TooManyAttempts):
        _change(env, alice, source="192.0.2.2")
    clock.move(minutes=1)
    _change(env, alice, source="192.0.2.2")
    _change(env, alice, NEW_PASSWORD, "Amber compass 19 walnut", source="192.0.2.1")


def test_login_and_change_share_a_rate_limit(env, alice):
    """PW-11: failures at one of them count at the other (CVE-2026-43914)."""
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


def test_successful_change_refunds_its_attempt(env, alice):
    """LG-17: a user who knows the password can change it any number of times."""
    passwords = [alice.password, *(f"Silent meadow {number} lantern" for number in range(83, 93))]
    for current, new in pairwise(passwords):
        _change(env, alice, current, new, source="192.0.2.1")


def test_five_of_many_concurrent_attempts_are_checked(env, alice):
    """LG-04: each attempt is counted before its hash (GHSA-7h8m-vrxx-vr4m)."""
    racers = 20
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(patient(30))
        try:
            _change(env, alice, current="Wrong", source="192.0.2.1")
        except (WrongPassword, TooManyAttempts) as refusal:
            return type(refusal)

    with ThreadPoolExecutor(racers) as threads:
        outcomes = list(threads.map(race, range(racers)))
    assert outcomes.count(WrongPassword) == 5
    assert outcomes.count(TooManyAttempts) == racers - 5


def test_change_during_the_hashing_of_another_wins(env, alice, during_hashing):
    """DB-02: the record is compared and swapped, so the later change is rejected."""
    during_hashing(lambda: _change(env, alice, new="Amber compass 19 walnut"))
    with pytest.raises(WrongPassword):
        _change(env, alice)
    assert _is_password(env, alice, "Amber compass 19 walnut")


def test_nothing_is_locked_during_hashing(env, alice, bob, during_hashing):
    """DB-11: other transactions can write meanwhile."""
    sessions = during_hashing(lambda: env.act(open_session, bob.user_id))
    _change(env, alice)
    env.authenticate(CredentialKind.SESSION, sessions[0].token)


def test_one_of_two_concurrent_changes_wins(env, alice):
    """DB-02: in any order of their steps, the password is that of the winner."""
    racers = 2
    passwords = [alice.password]
    for round_number in range(10):
        ready = threading.Barrier(racers)
        new_passwords = [f"Silent meadow {round_number}{racer} lantern" for racer in range(racers)]

        def race(new, ready=ready):
            ready.wait(patient(30))
            try:
                _change(env, alice, current=passwords[-1], new=new)
            except WrongPassword:
                return None
            return new

        with ThreadPoolExecutor(racers) as threads:
            winners = [new for new in threads.map(race, new_passwords) if new]
        assert len(winners) == 1
        assert _is_password(env, alice, winners[0])
        passwords.append(winners[0])


def test_user_disabled_during_hashing_cannot_change_the_password(env, alice, during_hashing):
    """SE-06: the change is rejected like any later request."""

    def disable():
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))

    during_hashing(disable)
    with pytest.raises(WrongPassword):
        env.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
