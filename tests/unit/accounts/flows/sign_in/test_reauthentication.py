"""Authenticating again within a session."""

import threading
from functools import partial

import pytest

from accounts.crypto import password_hashing
from accounts.errors import (
    InvalidToken,
    NotLocalUser,
    RecentAuthenticationRequired,
    TooManyAttempts,
    WrongPassword,
)
from accounts.flows.sign_in.reauthentication import reauthenticate
from accounts.flows.sign_in.sessions import log_in, log_out
from accounts.origin import Origin
from accounts.services.authentication import authenticate
from accounts.services.principal import Authentication, CredentialKind, Presented
from tests.support.deadlines import patient


@pytest.fixture
def other(env, alice):
    """Return another session of the same user."""
    return env.act(log_in, email=alice.view.email, password=alice.password, user_agent=None).token


def _authentication(env, token):
    return env.authenticate(CredentialKind.SESSION, token).credential.authentication


def _events(env, kind):
    return [row["user_id"] for row in env.rows("security_event") if row["kind"] == kind]


def _try(env, user, password, principal=None, source="192.0.2.1"):
    with env.database.transaction(writing=True, origin=Origin(address=source)) as session:
        reauthenticate(session, principal or user.principal, password=password)


def test_right_password_renews_this_session_only(env, alice, other, clock):
    """SE-12: its token and its end stay."""
    before = env.rows("login_session")[0]["expires_at"]
    login = clock.now
    clock.move(hours=1)
    _try(env, alice, alice.password)
    assert _authentication(env, alice.token) == Authentication(clock.now, ("pwd",))
    assert _authentication(env, other) == Authentication(login, ("pwd",))
    assert env.rows("login_session")[0]["expires_at"] == before
    assert _events(env, "session_renewed") == [alice.user_id]


@pytest.mark.parametrize("password", ["Wrong", "", "\0", "\ud800"])
def test_wrong_password_renews_nothing(env, alice, clock, password):
    """SE-12: a stolen session is not enough; the attempt is an event."""
    before = _authentication(env, alice.token)
    clock.move(hours=1)
    with pytest.raises(WrongPassword):
        _try(env, alice, password)
    assert _authentication(env, alice.token) == before
    assert _events(env, "authn_login_fail") == [alice.user_id]
    assert _events(env, "session_renewed") == []


def test_attempts_count_towards_the_limit_of_logins(env, alice):
    """SE-12: a stolen session gives no second way to guess a password."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            _try(env, alice, "Wrong")
    with pytest.raises(TooManyAttempts):
        _try(env, alice, alice.password)


def test_password_is_not_enough_where_there_is_a_second_factor(env, alice):
    """SE-12: it is not even checked, so that a stolen session cannot try passwords there."""
    principal = alice.principal._replace(user=alice.view._replace(has_second_factor=True))
    for password in ("Wrong", alice.password):
        with pytest.raises(RecentAuthenticationRequired) as caught:
            _try(env, alice, password, principal)
        assert (caught.value.max_age, caught.value.acr) == (0, "aal2")


def test_user_of_an_identity_provider_has_no_password(env, alice):
    """As for a password change."""
    principal = alice.principal._replace(user=alice.view._replace(provider="saml"))
    with pytest.raises(NotLocalUser):
        _try(env, alice, alice.password, principal)


@pytest.mark.parametrize("change", ["password", "log out"])
def test_change_during_the_hash_is_noticed(env, alice, monkeypatch, change):
    """SE-12: a password that was just replaced, and a session that was just ended."""
    verify, done = password_hashing.verify, threading.Event()
    session_of = env.database.transaction

    def change_meanwhile():
        with session_of(writing=True) as session:
            if change == "log out":
                log_out(session, alice.principal)
            else:
                session.connection().exec_driver_sql("UPDATE password_record SET record = 'x'")
        done.set()

    def verify_slowly(*arguments):
        thread = threading.Thread(target=change_meanwhile)
        thread.start()
        assert done.wait(patient(10))
        thread.join()
        return verify(*arguments)

    monkeypatch.setattr(password_hashing, "verify", verify_slowly)
    with session_of(writing=True) as session:
        presented = Presented(CredentialKind.SESSION, alice.token)
        session.authenticate_again = partial(authenticate, session, presented)
        with pytest.raises(InvalidToken if change == "log out" else WrongPassword):
            reauthenticate(session, alice.principal, password=alice.password)
    assert _events(env, "session_renewed") == []
