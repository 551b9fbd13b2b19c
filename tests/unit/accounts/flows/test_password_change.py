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
from accounts.flows.email_change import request_email_change, validate_email_change
from accounts.flows.password_change import change_password
from accounts.flows.password_reset import reset_password
from accounts.flows.sessions import log_in, open_session
from accounts.flows.users import disable_user
from accounts.origin import Origin
from accounts.services.one_time_secrets import SecretPurpose, issue_secret
from accounts.services.outbox import open_parameters
from accounts.services.principal import CredentialKind
from accounts.values.email_address import parse_address
from models import User

NEW_PASSWORD = "Silent meadow 83 lantern"


def _change(house, resident, current=None, new=NEW_PASSWORD, *, source=None, **more):
    """Change the password as the service does, from a source of this address."""
    current = resident.password if current is None else current
    with house.database.transaction(writing=True, origin=Origin(address=source)) as session:
        change_password(session, resident.principal, current=current, new=new, **more)


def _log_in(house, resident, password, source):
    with house.database.transaction(writing=True, origin=Origin(address=source)) as session:
        log_in(session, email=resident.person.email, password=password, user_agent=None)


def _events(house, resident):
    """The kinds of what happened to the resident's password."""
    return [
        row["kind"]
        for row in house.rows("security_event")
        if row["user_id"] == resident.user_id and "password" in row["kind"]
    ]


def _is_password(house, resident, password):
    records = {row["user_id"]: row["record"] for row in house.rows("password_record")}
    return password_hashing.verify(password, records[resident.user_id], house.keys, 4)


def test_whoever_knows_the_password_changes_it(house, alice, clock):
    """The new one is good, the old one is not, and when it was done is written down."""
    clock.move(hours=1)
    _change(house, alice)
    assert _is_password(house, alice, NEW_PASSWORD)
    assert not _is_password(house, alice, alice.password)
    assert house.rows("password_record")[0]["changed_at"].startswith("2026-04-05 11:00")


@pytest.mark.parametrize("current", ["Wrong", "", "violet tangent 47 harbour", "\0", "\ud800"])
def test_a_wrong_current_password_changes_nothing(house, alice, current):
    """A stolen session is not enough (PW-11)."""
    with pytest.raises(WrongPassword):
        _change(house, alice, current=current)
    assert _is_password(house, alice, alice.password)


@pytest.mark.parametrize(
    "new", ["short", "Password1", "Alice12345", "a" * 2000, "Tab\tin 1 it all"]
)
def test_a_weak_new_password_is_refused_before_the_current_one_is_judged(house, alice, new):
    """The refusal names the field as the dialect does, and says nothing of the current one."""
    with pytest.raises(WeakPassword) as refused:
        _change(house, alice, current="Wrong", new=new, called="newPassword")
    assert {violation.field for violation in refused.value.violations} == {("newPassword",)}
    assert _is_password(house, alice, alice.password)


def test_the_new_password_must_be_new(house, alice):
    """Only whoever knows the current one is told that it is the same (PW-13)."""
    with pytest.raises(WeakPassword) as refused:
        _change(house, alice, new=alice.password)
    assert [v.rule for v in refused.value.violations] == ["must differ from the current password"]
    with pytest.raises(WrongPassword):
        _change(house, alice, current="Wrong", new=alice.password)


def test_a_password_kept_by_another_provider_cannot_be_changed_here(house):
    """An account of an identity provider has no password to change."""
    resident = house.resident("sso@example.com", provider="oidc")
    with pytest.raises(NotLocalUser):
        _change(house, resident)


def test_a_local_user_without_a_record_has_no_password(house, alice):
    """No password that is entered is the one that there is not (PW-16)."""
    house.execute("DELETE FROM password_record")
    with pytest.raises(WrongPassword):
        _change(house, alice)


def test_a_change_keeps_the_sessions(house, alice):
    """ipto documents that they stay (PW-12)."""
    other = house.act(open_session, alice.user_id).token
    _change(house, alice)
    house.recognise(CredentialKind.SESSION, alice.token)
    house.recognise(CredentialKind.SESSION, other)


def test_a_stricter_rule_ends_the_other_sessions(open_house):
    """The session that made the change stays, and so do other people's (PW-12)."""
    house = open_house(password_change_ends_other_sessions=True)
    alice, bob = house.resident("alice@example.com"), house.resident("bob@example.org")
    other = house.act(open_session, alice.user_id).token
    _change(house, alice)
    house.recognise(CredentialKind.SESSION, alice.token)
    house.recognise(CredentialKind.SESSION, bob.token)
    with pytest.raises(InvalidToken):
        house.recognise(CredentialKind.SESSION, other)


def test_a_change_ends_a_pending_change_of_the_address(house, alice):
    """Whoever began it may be why the password is changed (EM-09)."""
    _, secret = house.act(request_email_change, alice.person, "new@example.com")
    _change(house, alice)
    with pytest.raises(SecretSuperseded):
        house.act(validate_email_change, identity_id=alice.person.identity_id, secret=secret)


def test_a_failed_change_leaves_a_pending_change_of_the_address(house, alice):
    """A refusal changes nothing at all."""
    _, secret = house.act(request_email_change, alice.person, "new@example.com")
    with pytest.raises(WrongPassword):
        _change(house, alice, current="Wrong")
    house.act(validate_email_change, identity_id=alice.person.identity_id, secret=secret)


def test_a_change_ends_a_pending_reset(house, alice):
    """EM-09: a mail that is found later opens nothing."""
    purpose, address = SecretPurpose.PASSWORD_RESET, parse_address(alice.person.email)
    secret = house.act(issue_secret, purpose, alice.user_id, address)
    _change(house, alice)
    with pytest.raises(SecretSuperseded):
        house.act(reset_password, secret=secret, new="Amber compass 19 walnut")


def test_a_change_is_told_by_mail(house, alice):
    """PW-18: at the stored address, and with no password and no secret in it."""
    _change(house, alice)
    (message,) = house.messages()
    assert (message.kind, message.recipient) == ("password_changed", alice.person.email)
    assert house.act(open_parameters, message) == {}


def test_a_change_is_an_event(house, alice, bob):
    """LO-02: once, of the person."""
    _change(house, alice)
    assert _events(house, alice) == ["authn_password_change"]
    assert _events(house, bob) == []


def test_a_failed_change_is_an_event_and_no_mail(house, alice):
    """LO-03: it is kept although the change is refused; what is said of it is no secret."""
    with pytest.raises(WrongPassword):
        _change(house, alice, current="Wrong password 1")
    assert _events(house, alice) == ["authn_password_change_fail"]
    assert "Wrong password 1" not in str(house.rows("security_event"))
    assert house.messages() == []


@pytest.mark.parametrize("new", ["short", None])
def test_a_new_password_that_will_not_do_is_no_attempt(house, alice, new):
    """PW-11: it says nothing about the current one, so it costs no budget and no hash."""
    for _ in range(10):
        with pytest.raises(WeakPassword):
            _change(house, alice, new=alice.password if new is None else new)
    assert house.count("attempt_budget") == 0
    assert _events(house, alice) == []


def test_the_sixth_wrong_password_is_not_judged_and_nor_is_the_right_one(house, alice, clock):
    """PW-11: five attempts in five minutes, from one source; another source is not stopped."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            _change(house, alice, current="Wrong", source="192.0.2.1")
    for current in ("Wrong", alice.password):
        with pytest.raises(TooManyAttempts):
            _change(house, alice, current=current, source="192.0.2.1")
    assert _is_password(house, alice, alice.password)
    _change(house, alice, source="192.0.2.2")
    clock.move(minutes=1)
    _change(house, alice, NEW_PASSWORD, "Amber compass 19 walnut", source="192.0.2.1")


def test_the_login_and_the_change_are_two_doors_to_one_budget(house, alice):
    """PW-11: whoever has tried at the one cannot go on at the other (CVE-2026-43914)."""
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            _log_in(house, alice, "Wrong", "192.0.2.1")
    for _ in range(2):
        with pytest.raises(WrongPassword):
            _change(house, alice, current="Wrong", source="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        _change(house, alice, source="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        _log_in(house, alice, alice.password, "192.0.2.1")


def test_a_change_gives_its_attempt_back(house, alice):
    """LG-17: whoever knows the password can change it as often as they like."""
    passwords = [alice.password, *(f"Silent meadow {number} lantern" for number in range(83, 93))]
    for current, new in pairwise(passwords):
        _change(house, alice, current, new, source="192.0.2.1")


def test_of_many_wrong_passwords_at_once_five_are_judged(house, alice):
    """LG-04: each is counted before its hash (GHSA-7h8m-vrxx-vr4m)."""
    racers = 20
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(30)
        try:
            _change(house, alice, current="Wrong", source="192.0.2.1")
        except (WrongPassword, TooManyAttempts) as refusal:
            return type(refusal)

    with ThreadPoolExecutor(racers) as threads:
        outcomes = list(threads.map(race, range(racers)))
    assert outcomes.count(WrongPassword) == 5
    assert outcomes.count(TooManyAttempts) == racers - 5


def test_a_change_during_the_hash_of_another_wins(house, alice, during_the_hash):
    """The record is compared and swapped, so the later of two changes is refused (DB-02)."""
    during_the_hash(lambda: _change(house, alice, new="Amber compass 19 walnut"))
    with pytest.raises(WrongPassword):
        _change(house, alice)
    assert _is_password(house, alice, "Amber compass 19 walnut")


def test_nothing_is_locked_during_the_hash(house, alice, bob, during_the_hash):
    """Others write while a password is hashed (DB-11)."""
    others = during_the_hash(lambda: house.act(open_session, bob.user_id))
    _change(house, alice)
    house.recognise(CredentialKind.SESSION, others[0].token)


def test_of_two_changes_at_once_exactly_one_wins(house, alice):
    """Whatever the order of their steps, the password is the winner's (DB-02)."""
    racers = 2
    passwords = [alice.password]
    for round_number in range(10):
        ready = threading.Barrier(racers)
        news = [f"Silent meadow {round_number}{racer} lantern" for racer in range(racers)]

        def race(new, ready=ready):
            ready.wait(30)
            try:
                _change(house, alice, current=passwords[-1], new=new)
            except WrongPassword:
                return None
            return new

        with ThreadPoolExecutor(racers) as threads:
            won = [new for new in threads.map(race, news) if new]
        assert len(won) == 1
        assert _is_password(house, alice, won[0])
        passwords.append(won[0])


def test_whoever_is_disabled_during_the_hash_changes_nothing(house, alice, during_the_hash):
    """SE-06: the change is as late as any other request of theirs."""

    def disable():
        house.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))

    during_the_hash(disable)
    with pytest.raises(WrongPassword):
        house.act(change_password, alice.principal, current=alice.password, new=NEW_PASSWORD)
